// Runtime variables and probe sites in programs that each toolchain builds now, in every way of linking.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "daemon/base/mapped_file.h"
#include "daemon/gobin/go_binary.h"
#include "tests/support/go_toolchain.h"

namespace goheapd::gobin {
namespace {

using test::GoBuild;

constexpr const char* kProgram = "allocator";

struct Variant {
  const char* name;
  GoBuild build;
};

std::vector<Variant> variants() {
  return {
      {"plain", {.program = kProgram}},
      {"pie", {.program = kProgram, .flags = {"-buildmode=pie"}}},
      {"cgo",
       {.program = kProgram, .flags = {"-ldflags=-linkmode=external"}, .environment = {"CGO_ENABLED=1"}}},
      {"cgo_pie",
       {.program = kProgram,
        .flags = {"-buildmode=pie", "-ldflags=-linkmode=external"},
        .environment = {"CGO_ENABLED=1"}}},
      {"arm64", {.program = kProgram, .arch = "arm64"}},
      {"arm64_pie", {.program = kProgram, .arch = "arm64", .flags = {"-buildmode=pie"}}},
  };
}

std::shared_ptr<const GoBinary> open_build(int minor, const GoBuild& build) {
  auto path = test::build_go_program(minor, build);
  EXPECT_TRUE(path) << to_string(path.error());
  if (!path) return nullptr;
  auto binary = GoBinary::open(*path);
  EXPECT_TRUE(binary) << to_string(binary.error());
  return binary ? *binary : nullptr;
}

class CodeOfToolchain : public testing::TestWithParam<int> {};

// Without symbols the addresses must be those that the symbol table gave before they were removed.
TEST_P(CodeOfToolchain, VariablesAreWhereTheSymbolTableSays) {
  for (Variant variant : variants()) {
    SCOPED_TRACE(variant.name);
    auto with_symbols = open_build(GetParam(), variant.build);
    ASSERT_TRUE(with_symbols);
    ASSERT_FALSE(with_symbols->info().stripped);
    for (const GlobalVariable& variable : with_symbols->globals().variables()) {
      EXPECT_TRUE(variable.in_symbol_table) << variable.name;
      EXPECT_TRUE(variable.vaddr) << variable.name << ": " << variable.reason;
      EXPECT_GT(variable.votes, 0u) << variable.name;
      EXPECT_EQ(variable.dissenting_votes, 0u) << variable.name;
    }
    EXPECT_EQ(with_symbols->global("runtime.firstmoduledata").value_or(0), with_symbols->module_data().vaddr);
    if (variant.build.arch != "amd64") continue;  // no strip for it here

    variant.build.strip = true;
    auto stripped = open_build(GetParam(), variant.build);
    ASSERT_TRUE(stripped);
    ASSERT_TRUE(stripped->info().stripped);
    for (const GlobalVariable& variable : with_symbols->globals().variables()) {
      EXPECT_EQ(stripped->global(variable.name).value_or(0), *variable.vaddr) << variable.name;
    }
  }
}

void expect_sound(const GoBinary& binary, const MappedFile& file, const ProbePoint& point) {
  SCOPED_TRACE(point.function);
  const auto function = binary.function(point.function);
  ASSERT_TRUE(function);
  ASSERT_FALSE(point.candidates.empty());
  EXPECT_NE(point.candidates.front().cost, HitCost::single_step)
      << "a better site than the entry exists everywhere";
  for (const SiteCandidate& site : point.candidates) {
    EXPECT_EQ(site.vaddr, function->entry + site.function_offset);
    EXPECT_LE(site.vaddr + site.size, function->end);
    // The bytes that are claimed are in the file where the kernel will put its breakpoint.
    auto in_file = file.bytes().slice(site.file_offset, site.size);
    ASSERT_TRUE(in_file);
    EXPECT_TRUE(std::equal(site.bytes.begin(), site.bytes.begin() + site.size,
                           reinterpret_cast<const uint8_t*>(in_file->data())));
    EXPECT_EQ(site.kind == SiteKind::entry, site.function_offset == 0);
    if (site.kind == SiteKind::push_frame_pointer) {
      EXPECT_EQ(site.bytes[0], 0x55);
    }
  }
}

// Each of the calls is made in one place, however a default build is linked.
void expect_span_points(const std::vector<ProbePoint>& points) {
  ASSERT_EQ(points.size(), 4u);
  EXPECT_EQ(points[3].function, "runtime.mProf_Flush");
  EXPECT_EQ(points[0].function, "runtime.(*mcache).refill");
  EXPECT_EQ(points[1].function, "runtime.(*mcache).releaseAll");
  EXPECT_EQ(points[2].function, "runtime.(*mcache).allocLarge");
  for (const size_t i : {size_t{0}, size_t{2}}) {
    EXPECT_EQ(points[i].candidates.front().kind, SiteKind::result_branch);
    EXPECT_EQ(points[i].candidates.front().caller, CallerPlace::own_frame);
  }
}

TEST_P(CodeOfToolchain, EveryProbeHasASite) {
  for (const Variant& variant : variants()) {
    SCOPED_TRACE(variant.name);
    auto path = test::build_go_program(GetParam(), variant.build);
    ASSERT_TRUE(path) << to_string(path.error());
    auto file = MappedFile::open(*path);
    auto binary = GoBinary::open(*path);
    ASSERT_TRUE(file && binary);
    const auto& sampled = (*binary)->probe_sites().sampled();
    const auto& exact = (*binary)->probe_sites().exact();
    const auto& spans = (*binary)->probe_sites().spans();
    ASSERT_TRUE(spans) << to_string(spans.error());
    expect_span_points(*spans);
    for (const ProbePoint& point : *spans) expect_sound(**binary, *file, point);
    ASSERT_TRUE(sampled) << to_string(sampled.error());
    ASSERT_TRUE(exact) << to_string(exact.error());
    EXPECT_EQ(sampled->size(), 5u);
    for (const ProbePoint& point : *sampled) expect_sound(**binary, *file, point);
    for (const ProbePoint& point : *exact) expect_sound(**binary, *file, point);

    // Go 1.27 has 14 functions beside mallocgc, which sees the sizes above theirs.
    EXPECT_EQ(exact->size(), GetParam() >= 27 ? 15u : 1u);
    EXPECT_EQ(exact->front().function, "runtime.mallocgc");
    EXPECT_EQ(exact->front().min_size, GetParam() >= 27 ? 81u : 1u);
    EXPECT_FALSE(exact->back().ignored_caller) << "no profile-guided build";
  }
}

// Measured by hand with another disassembler: offsets of the sites F, P, J in two functions.
TEST_P(CodeOfToolchain, SitesAreWhereTheyWereMeasured) {
  const std::map<int, std::array<const char*, 2>> measured = {
      {19, {"F1f J4", "F1f J4"}},       {21, {"F19 Pa J4", "Pa F1c J4"}}, {22, {"F19 Pa J4", "Pa F1c J4"}},
      {23, {"F21 Pf J9", "Pa F1c J4"}}, {24, {"F15 Pa J4", "Pa F1c J4"}}, {26, {"F15 Pa J4", "Pa F1c J4"}},
      {27, {"F15 Pa J4", "Pa F1c J4"}}};
  auto expected = measured.find(GetParam());
  if (expected == measured.end()) expected = measured.find(24);  // 1.25 has the code of its neighbours
  auto binary = open_build(GetParam(), {.program = kProgram});
  ASSERT_TRUE(binary);
  const auto summary = [](const ProbePoint& point) {
    std::string text;
    for (const SiteCandidate& site : point.candidates) {
      if (site.kind == SiteKind::entry) continue;
      char word[16];
      std::snprintf(word, sizeof word, "%s%c%x", text.empty() ? "" : " ",
                    "FPJ"[static_cast<size_t>(site.kind)], site.function_offset);
      text += word;
    }
    return text;
  };
  EXPECT_EQ(summary(binary->probe_sites().exact()->front()), expected->second[0]);
  EXPECT_EQ(summary(binary->probe_sites().sampled()->front()), expected->second[1]);
}

INSTANTIATE_TEST_SUITE_P(Go1, CodeOfToolchain, testing::ValuesIn(test::go_minors()),
                         [](const auto& minor) { return std::to_string(minor.param); });
// No toolchain, no tests: that must not look like success.
TEST(CodeOfToolchains, AreThere) { EXPECT_GE(test::go_minors().size(), 8u) << "run tests/tools/fetch-go"; }
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(CodeOfToolchain);

// The compiler is built with a profile: functions are inlined where the default build keeps calls.
TEST(ProfileGuidedBuild, VariablesAndSitesAreFound) {
  for (int minor : test::go_minors()) {
    if (minor < 21) continue;
    SCOPED_TRACE("Go 1." + std::to_string(minor));
    auto binary = GoBinary::open(test::go_root(minor) + "/pkg/tool/linux_amd64/compile");
    ASSERT_TRUE(binary) << to_string(binary.error());
    for (const GlobalVariable& variable : (*binary)->globals().variables()) {
      EXPECT_TRUE(variable.vaddr) << variable.name << ": " << variable.reason;
    }
    EXPECT_TRUE((*binary)->probe_sites().sampled());
    const auto& spans = (*binary)->probe_sites().spans();
    ASSERT_TRUE(spans) << to_string(spans.error());
    const auto has = [&](ProbeRole role) {
      return std::any_of(spans->begin(), spans->end(),
                         [role](const ProbePoint& point) { return point.role == role; });
    };
    EXPECT_TRUE(has(ProbeRole::span_refill));
    EXPECT_TRUE(has(ProbeRole::span_large));
    EXPECT_NE(has(ProbeRole::span_release), has(ProbeRole::span_uncache)) << "runs must not be cut twice";
    // releaseAll was copied into prepareForSweep by these; another disassembler says so.
    EXPECT_EQ(has(ProbeRole::span_uncache), minor == 21 || minor == 23 || minor == 27);
    const auto& exact = (*binary)->probe_sites().exact();
    ASSERT_TRUE(exact);
    for (const ProbePoint& point : *exact) EXPECT_EQ(point.min_size, 1u) << point.function;
    if (minor == 26) {
      // mallocgc is copied into its callers: its parts are probed instead.
      EXPECT_EQ(exact->size(), 5u);
      EXPECT_EQ(exact->front().function, "runtime.mallocgcTiny");
    } else {
      EXPECT_EQ(exact->front().function, "runtime.mallocgc");
    }
    // In 1.27 specialised functions are copied into mallocgc, which counts every size.
    EXPECT_EQ(exact->back().ignored_caller.has_value(), minor == 27);
  }
}

}  // namespace
}  // namespace goheapd::gobin
