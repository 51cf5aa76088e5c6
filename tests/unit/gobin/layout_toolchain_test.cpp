// The table of runtime_layout_*.cpp against the DWARF of programs that each toolchain builds now.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <sstream>

#include "daemon/gobin/runtime_layout.h"
#include "tests/support/go_toolchain.h"

namespace goheapd::gobin {
namespace {

struct Extracted {
  uint64_t value = 0;  // offset of a field, size of a struct, value of a constant
  uint64_t size = 0;
  std::string place;  // "runtime/mheap.go#L402"
};

// What the layout extractor says of a program: itself, as `minor` builds it. It runs as built by the newest toolchain.
std::map<std::string, Extracted> extract(int minor, const test::GoBuild& build) {
  std::map<std::string, Extracted> found;
  auto tool = test::build_go_program(test::go_minors().back(), {.program = "layout_extractor"});
  auto subject = test::build_go_program(minor, build);
  EXPECT_TRUE(tool) << to_string(tool.error());
  EXPECT_TRUE(subject) << to_string(subject.error());
  if (!tool || !subject) return found;
  auto text = test::output_of(*tool + " -source " + test::go_root(minor) + "/src " + *subject);
  EXPECT_TRUE(text) << to_string(text.error());
  std::istringstream lines(text.value_or(""));
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string name, rest;
    words >> name;
    if (name == "const") words >> rest, name += " " + rest;
    Extracted& entry = found[name];
    words >> entry.value >> entry.size >> entry.place;
  }
  return found;
}

// "mheap.heapArenas|allArenas" -> whichever of the names this release uses.
const Extracted* look_up(const std::map<std::string, Extracted>& extracted, const std::string& name) {
  const size_t dot = name.find('.');
  const std::string prefix = dot == std::string::npos ? "" : name.substr(0, dot + 1);
  std::istringstream alternatives(dot == std::string::npos ? name : name.substr(dot + 1));
  for (std::string field; std::getline(alternatives, field, '|');) {
    if (auto found = extracted.find(prefix + field); found != extracted.end()) return &found->second;
  }
  return nullptr;
}

void expect_same(const RuntimeLayout& layout, const std::map<std::string, Extracted>& extracted) {
  const auto fields = describe(layout);
  ASSERT_GT(fields.size(), 200u);
  size_t fields_seen = 0;
  for (const FieldDescription& field : fields) {
    std::string name = field.name;
    // Two names of ours for what Go's source calls differently.
    if (name == "const maptype") name = "maptype";
    if (name == "const maxProfStackDepth" && layout.minor < 23) name = "const maxStack";
    const Extracted* found = look_up(extracted, name);
    if (found == nullptr) {
      ADD_FAILURE() << name << " is not in Go 1." << layout.minor;
      continue;
    }
    const bool is_struct = name.find('.') == std::string::npos && name.find(' ') == std::string::npos;
    EXPECT_EQ(is_struct && name != "maptype" ? field.size : field.offset, found->value) << name;
    if (!is_struct) {
      EXPECT_EQ(field.size, found->size) << name;
    }
    // The link names the release in which the group of rows began; there, the place must be the extractor's.
    const std::string release = "/" + std::string(layout.measured_release) + "/src/";
    if (const size_t at = field.link.find(release); at != std::string::npos) {
      EXPECT_EQ(field.link.substr(at + release.size()), found->place) << name;
    }
    ++fields_seen;
  }
  EXPECT_EQ(fields_seen, fields.size());
}

// No field may be missing from the layout although the release has it.
void expect_complete(const RuntimeLayout& layout, const std::map<std::string, Extracted>& extracted) {
  const auto here = describe(layout);
  for (int other = kOldestMinor; other <= kNewestMinor; ++other) {
    auto other_layout = runtime_layout({.minor = other, .text = {}, .experiments = {}}, layout.arch);
    if (!other_layout) continue;
    for (const FieldDescription& field : describe(*other_layout)) {
      const bool described = std::any_of(here.begin(), here.end(),
                                         [&](const FieldDescription& f) { return f.name == field.name; });
      EXPECT_TRUE(described || look_up(extracted, field.name) == nullptr) << field.name;
    }
  }
}

class LayoutOfToolchain : public testing::TestWithParam<Arch> {};

TEST_P(LayoutOfToolchain, EqualsTheTable) {
  const auto minors = test::go_minors();
  ASSERT_GE(minors.size(), 8u) << "run tests/tools/fetch-go";
  for (int minor : minors) {
    SCOPED_TRACE("Go 1." + std::to_string(minor));
    auto layout = runtime_layout({.minor = minor, .text = {}, .experiments = {}}, GetParam());
    ASSERT_TRUE(layout) << to_string(layout.error());
    const auto extracted = extract(
        minor, {.program = "layout_extractor", .arch = GetParam() == Arch::amd64 ? "amd64" : "arm64"});
    expect_same(*layout, extracted);
    expect_complete(*layout, extracted);
  }
}

INSTANTIATE_TEST_SUITE_P(Architectures, LayoutOfToolchain, testing::Values(Arch::amd64, Arch::arm64),
                         [](const auto& param_info) {
                           return param_info.param == Arch::amd64 ? "amd64" : "arm64";
                         });

struct ExperimentCase {
  int minor;
  Arch arch;
  const char* name;
};

class LayoutOfExperiment : public testing::TestWithParam<ExperimentCase> {};

// Each rebuilds the runtime, so only those that move something are here.
TEST_P(LayoutOfExperiment, EqualsTheTable) {
  const auto [minor, arch, name] = GetParam();
  auto layout = runtime_layout({.minor = minor, .text = {}, .experiments = {name}}, arch);
  ASSERT_TRUE(layout) << to_string(layout.error());
  expect_same(*layout, extract(minor, {.program = "layout_extractor",
                                       .arch = arch == Arch::amd64 ? "amd64" : "arm64",
                                       .environment = {std::string("GOEXPERIMENT=") + name}}));
}

INSTANTIATE_TEST_SUITE_P(Measured, LayoutOfExperiment,
                         testing::Values(ExperimentCase{22, Arch::amd64, "noallocheaders"},
                                         ExperimentCase{22, Arch::arm64, "noexectracer2"},
                                         ExperimentCase{24, Arch::amd64, "nospinbitmutex"},
                                         ExperimentCase{24, Arch::amd64, "noswissmap"},
                                         ExperimentCase{25, Arch::arm64, "greenteagc"},
                                         ExperimentCase{26, Arch::amd64, "nogreenteagc"},
                                         ExperimentCase{27, Arch::arm64, "nogreenteagc"}),
                         [](const auto& param_info) {
                           return std::string(param_info.param.name) +
                                  std::to_string(param_info.param.minor) +
                                  (param_info.param.arch == Arch::amd64 ? "amd64" : "arm64");
                         });

}  // namespace
}  // namespace goheapd::gobin
