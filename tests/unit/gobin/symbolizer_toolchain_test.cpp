// The symbolizer against the runtimes of real programs, as every toolchain builds them now.
#include <elf.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

#include "daemon/gobin/go_binary.h"
#include "tests/support/go_toolchain.h"
#include "tests/support/long_tests.h"
#include "tests/unit/gobin/symbolizer_comparison.h"

namespace goheapd::gobin {
namespace {

constexpr int kMinors[] = {19, 21, 22, 23, 24, 25, 26, 27};

struct Variant {
  const char* name;
  std::vector<std::string> flags;
  bool cgo = false;
  bool strip = false;
  bool pie = false;
};

const Variant kVariants[] = {
    {.name = "plain", .flags = {}},
    {.name = "stripped", .flags = {"-ldflags=-s -w"}},
    {.name = "pie", .flags = {"-buildmode=pie"}, .pie = true},
    {.name = "stripped_pie", .flags = {"-buildmode=pie", "-ldflags=-s -w"}, .pie = true},
    {.name = "external", .flags = {"-ldflags=-linkmode=external"}, .cgo = true},
    {.name = "stripped_external_pie",
     .flags = {"-buildmode=pie", "-ldflags=-linkmode=external"},
     .cgo = true,
     .strip = true,
     .pie = true},
};

std::vector<std::byte> content_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  const std::string text(std::istreambuf_iterator<char>(in), {});
  const auto* bytes = reinterpret_cast<const std::byte*>(text.data());
  return {bytes, bytes + text.size()};
}

void expect_equal(const GoBinary& binary, const std::string& answers) {
  test::SymbolizerComparison comparison(binary);
  for (std::string_view rest = answers; !rest.empty();) {
    const size_t end = rest.find('\n');
    comparison.line(rest.substr(0, end));
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
  }
  comparison.finish();
  EXPECT_EQ(comparison.differences(), 0u) << comparison.report();
}

class SymbolizerOfProgram : public testing::TestWithParam<std::tuple<int, Variant>> {};

TEST_P(SymbolizerOfProgram, AgreesWithItsRuntime) {
  const auto& [minor, variant] = GetParam();
  test::GoBuild build{.program = "symbolizer_oracle", .flags = variant.flags, .strip = variant.strip};
  if (variant.cgo) build.environment = {"CGO_ENABLED=1"};
  auto program = test::build_go_program(minor, build);
  ASSERT_TRUE(program) << to_string(program.error());
  // Every 23rd address; the long tests take all, some seconds per program.
  const char* stride = test::wants_long_tests() ? "1" : "23";
  auto answers = test::output_of("timeout 120 " + *program + " " + stride);
  ASSERT_TRUE(answers) << to_string(answers.error());

  auto binary = GoBinary::open(*program);
  ASSERT_TRUE(binary) << to_string(binary.error());
  const BinaryInfo& info = (*binary)->info();
  EXPECT_EQ(info.version.minor, minor);
  EXPECT_EQ(info.main_package, "symbolizer_oracle");
  EXPECT_EQ(info.pie, variant.pie);
  EXPECT_EQ(info.external_link, variant.cgo);
  EXPECT_EQ(info.stripped, variant.strip || std::string_view(variant.name).starts_with("stripped"));
  EXPECT_TRUE((*binary)->links_memory_profile());
  EXPECT_NE(info.go_build_id, "");
  expect_equal(**binary, *answers);
}

// The same file after somebody took away all that helps to read it.
TEST_P(SymbolizerOfProgram, NeedsNeitherSectionHeadersNorBuildInfo) {
  const auto& [minor, variant] = GetParam();
  test::GoBuild build{.program = "symbolizer_oracle", .flags = variant.flags, .strip = variant.strip};
  if (variant.cgo) build.environment = {"CGO_ENABLED=1"};
  auto program = test::build_go_program(minor, build);
  ASSERT_TRUE(program) << to_string(program.error());
  auto whole = GoBinary::open(*program);
  ASSERT_TRUE(whole) << to_string(whole.error());

  std::vector<std::byte> bytes = content_of(*program);
  Elf64_Ehdr header;
  std::memcpy(&header, bytes.data(), sizeof(header));
  header.e_shoff = 0;
  header.e_shnum = header.e_shstrndx = 0;
  std::memcpy(bytes.data(), &header, sizeof(header));
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const std::string_view magic("\xff Go buildinf:", 14);
  size_t found = 0;
  for (size_t at = text.find(magic); at != std::string_view::npos; at = text.find(magic, at + 1), ++found) {
    bytes[at] = std::byte{0};
  }
  ASSERT_GE(found, 1u);
  auto bare = GoBinary::recognize(ByteView(bytes.data(), bytes.size()));
  ASSERT_TRUE(bare) << to_string(bare.error());
  EXPECT_FALSE((*bare)->info().has_section_headers);
  EXPECT_FALSE((*bare)->info().has_build_info);
  EXPECT_EQ((*bare)->info().version.text, (*whole)->info().version.text);
  EXPECT_EQ((*bare)->info().main_package, (*whole)->info().main_package);
  EXPECT_EQ((*bare)->info().go_build_id, (*whole)->info().go_build_id);
  EXPECT_EQ((*bare)->pclntab().vaddr(), (*whole)->pclntab().vaddr());
  EXPECT_EQ((*bare)->module_data().vaddr, (*whole)->module_data().vaddr);
}

std::string case_name(const testing::TestParamInfo<std::tuple<int, Variant>>& param_info) {
  return "Go" + std::to_string(std::get<0>(param_info.param)) + "_" + std::get<1>(param_info.param).name;
}

INSTANTIATE_TEST_SUITE_P(Matrix, SymbolizerOfProgram,
                         testing::Combine(testing::ValuesIn(kMinors), testing::ValuesIn(kVariants)),
                         case_name);

// There is no arm64 machine here to run a program on, but Go's own addr2line reads its tables.
class SymbolizerOfArm64 : public testing::TestWithParam<std::tuple<int, bool>> {};

TEST_P(SymbolizerOfArm64, AgreesWithAddr2line) {
  const auto [minor, pie] = GetParam();
  test::GoBuild build{.program = "symbolizer_oracle", .arch = "arm64"};
  if (pie) build.flags = {"-buildmode=pie"};
  auto program = test::build_go_program(minor, build);
  ASSERT_TRUE(program) << to_string(program.error());
  auto binary = GoBinary::open(*program);
  ASSERT_TRUE(binary) << to_string(binary.error());
  EXPECT_EQ((*binary)->info().arch, Arch::arm64);
  EXPECT_EQ((*binary)->info().pie, pie);

  const std::string list = std::filesystem::temp_directory_path() /
                           ("goheapd-addresses-" + std::to_string(::getpid()) + "-" + std::to_string(minor));
  std::vector<uint64_t> pcs;
  {
    std::ofstream out(list);
    const Pclntab& table = (*binary)->pclntab();
    for (uint64_t pc = table.lowest_pc(); pc < table.end_pc(); pc += 4 * 97) {
      pcs.push_back(pc);
      out << std::hex << "0x" << pc << "\n";
    }
  }
  // The addr2line of Go 1.19 does not know where the text of a PIE starts; that of 1.21 reads its files.
  auto answers = test::output_of("env GOTOOLCHAIN=local " + test::go_root(std::max(minor, 21)) +
                                 "/bin/go tool addr2line " + *program + " < " + list);
  std::filesystem::remove(list);
  ASSERT_TRUE(answers) << to_string(answers.error());
  ASSERT_GT(pcs.size(), 1000u);
  std::istringstream lines(*answers);
  size_t inlined = 0;
  for (uint64_t pc : pcs) {
    std::string function, place;
    std::getline(lines, function);
    std::getline(lines, place);
    auto frame = (*binary)->symbolizer().frame_of(pc + 1);
    ASSERT_TRUE(frame);
    // addr2line knows machine functions only, and the line of the innermost inlined code.
    EXPECT_EQ(std::string((*binary)->function_at(pc)->name), function) << std::hex << pc;
    EXPECT_EQ(std::string(frame->source.file) + ":" + std::to_string(frame->source.line), place)
        << std::hex << pc;
    inlined += frame->inlined;
    // The expansion of a pc ends in its machine function.
    const auto locations = (*binary)->symbolizer().locations_of_return_addresses(std::vector{pc}, true);
    if (!locations.empty() && !frame->source.function.empty()) {
      EXPECT_EQ(locations[0].entry, frame->entry);
    }
  }
  EXPECT_GT(inlined, pcs.size() / 20);
}

INSTANTIATE_TEST_SUITE_P(Matrix, SymbolizerOfArm64,
                         testing::Combine(testing::ValuesIn(kMinors), testing::Bool()),
                         [](const auto& param_info) {
                           return "Go" + std::to_string(std::get<0>(param_info.param)) +
                                  (std::get<1>(param_info.param) ? "_pie" : "_plain");
                         });

}  // namespace
}  // namespace goheapd::gobin
