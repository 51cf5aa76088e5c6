#include "daemon/gobin/build_info.h"

#include <gtest/gtest.h>

#include "tests/unit/gobin/synthetic_binary.h"

namespace goheapd::gobin {
namespace {

using test::SyntheticBinary;

TEST(GoVersionText, ReleasesAndExperiments) {
  auto plain = parse_go_version("go1.24.4");
  ASSERT_TRUE(plain);
  EXPECT_EQ(plain->minor, 24);
  EXPECT_EQ(plain->patch, 4);
  EXPECT_TRUE(plain->experiments.empty());

  auto spaced = parse_go_version("go1.24.4 X:noswissmap,nospinbitmutex");
  ASSERT_TRUE(spaced);
  EXPECT_EQ(spaced->experiments, (std::vector<std::string>{"noswissmap", "nospinbitmutex"}));
  EXPECT_EQ(spaced->text, "go1.24.4 X:noswissmap,nospinbitmutex");

  auto dashed = parse_go_version("go1.26.10-X:nogreenteagc");
  ASSERT_TRUE(dashed);
  EXPECT_EQ(dashed->patch, 10);
  EXPECT_EQ(dashed->experiments, std::vector<std::string>{"nogreenteagc"});

  auto first = parse_go_version("go1.21");
  ASSERT_TRUE(first);
  EXPECT_EQ(first->minor, 21);
  EXPECT_EQ(first->patch, 0);
}

TEST(GoVersionText, DistributorSuffixes) {
  for (const char* text :
       {"go1.22.3-fips", "go1.22.3 (Red Hat 1.22.3-1.el9)", "go1.22.3+auto", "go1.22.3-1"}) {
    auto version = parse_go_version(text);
    ASSERT_TRUE(version) << text;
    EXPECT_EQ(version->minor, 22) << text;
    EXPECT_EQ(version->patch, 3) << text;
    EXPECT_TRUE(version->experiments.empty()) << text;
  }
  auto both = parse_go_version("go1.25.1-1 X:boringcrypto (vendor)");
  ASSERT_TRUE(both);
  EXPECT_EQ(both->experiments, std::vector<std::string>{"boringcrypto"});
}

TEST(GoVersionText, RefusesWhatIsNoRelease) {
  for (const char* text :
       {"devel go1.24-abcdef Tue Jan", "go1.27-devel_0123456", "go1.26rc1", "go1.26beta2", "go1.26.0rc2",
        "go2.1", "go1", "go1.", "go1.x", "go1.24.", "1.24.4", "", "unknown", "go1.99999999999999999999"}) {
    EXPECT_FALSE(parse_go_version(text)) << text;
  }
}

TEST(ModuleInfoText, ReadsPathModuleAndSettings) {
  const auto info = parse_module_info(
      "path\texample.com/cmd/tool\nmod\texample.com\tv1.2.3\th1:sum=\ndep\tother.org/x\tv0.1.0\t\n"
      "=>\t./x\t\t\nbuild\t-buildmode=pie\nbuild\tCGO_ENABLED=0\nbuild\tvcs=git\n");
  EXPECT_EQ(info.main_package, "example.com/cmd/tool");
  EXPECT_EQ(info.module, "example.com");
  EXPECT_EQ(info.module_version, "v1.2.3");
  ASSERT_EQ(info.settings.size(), 3u);
  EXPECT_EQ(info.settings[0], (std::pair<std::string, std::string>("-buildmode", "pie")));
}

TEST(ModuleInfoText, StripsTheLinkersGuards) {
  const std::string start("\x30\x77\xaf\x0c\x92\x74\x08\x02\x41\xe1\xc1\x07\xe6\xd6\x18\xe6", 16);
  const std::string end("\xf9\x32\x43\x31\x86\x18\x20\x72\x00\x82\x42\x10\x41\x16\xd8\xf2", 16);
  EXPECT_EQ(parse_module_info(start + "path\tcmd\n" + end).main_package, "cmd");
  EXPECT_EQ(parse_module_info("").main_package, "");
  EXPECT_EQ(parse_module_info("path").main_package, "");
}

TEST(BuildInfoOfFile, FoundBySectionAndByMagic) {
  for (bool section_headers : {true, false}) {
    auto binary = SyntheticBinary::ordinary();
    binary.section_headers = section_headers;
    const auto bytes = binary.build();
    auto elf = ElfFile::parse(test::view_of(bytes));
    ASSERT_TRUE(elf);
    auto info = read_build_info(*elf);
    ASSERT_TRUE(info) << info.error().what;
    EXPECT_EQ(info->version.text, "go1.24.4");
    EXPECT_EQ(info->module.module, "example.com");
    EXPECT_EQ(info->module.settings[0].second, "\"-s -w\"");
  }
}

// As up to Go 1.17: the build info points at a string variable, here at `variable`.
std::vector<std::byte> in_pointer_format(const SyntheticBinary& binary, uint64_t variable) {
  auto bytes = binary.build();
  const auto text = std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const size_t info = text.find("\xff Go buildinf:");
  bytes[info + 15] = std::byte{0};  // flags: no inline strings
  std::memcpy(bytes.data() + info + 16, &variable, sizeof variable);
  return bytes;
}

TEST(BuildInfoOfFile, FollowsThePointersOfOldGo) {
  for (bool position_independent : {false, true}) {
    auto binary = SyntheticBinary::ordinary();
    binary.position_independent = position_independent;
    binary.string_variables = {"something else", "go1.17.13"};
    const auto bytes = in_pointer_format(binary, SyntheticBinary::variable(1));
    auto elf = ElfFile::parse(test::view_of(bytes));
    ASSERT_TRUE(elf);
    auto info = read_build_info(*elf);
    ASSERT_TRUE(info) << info.error().what;
    EXPECT_EQ(info->version.text, "go1.17.13");
  }
}

TEST(BuildInfoOfFile, PointersOfOldGoThatLeadNowhere) {
  auto binary = SyntheticBinary::ordinary();
  binary.string_variables = {std::string(2000, 'x')};
  for (const uint64_t variable :
       {uint64_t{0}, uint64_t{1} << 40, UINT64_MAX - 4, SyntheticBinary::variable(0)}) {
    const auto bytes = in_pointer_format(binary, variable);
    auto elf = ElfFile::parse(test::view_of(bytes));
    ASSERT_TRUE(elf);
    auto info = read_build_info(*elf);
    ASSERT_FALSE(info) << variable;
    EXPECT_NE(info.error().what.find("older than 1.18"), std::string::npos);
  }
}

TEST(BuildInfoOfFile, RefusesLengthsBeyondTheFile) {
  const auto binary = SyntheticBinary::ordinary();
  auto bytes = binary.build();
  const auto text = std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const size_t length = text.find("Go buildinf:") + 30;  // of the version
  for (size_t i = 0; i < 9; ++i) bytes[length + i] = std::byte{0xff};
  auto elf = ElfFile::parse(test::view_of(bytes));
  ASSERT_TRUE(elf);
  EXPECT_FALSE(read_build_info(*elf));
}

// cmpq $0, 8+disp(%rip) as schedinit has it for `buildVersion == ""`.
std::vector<uint8_t> compare_length(uint64_t instruction, uint64_t variable) {
  const auto displacement = static_cast<uint32_t>(variable + 8 - (instruction + 8));
  return {0x48,
          0x83,
          0x3d,
          static_cast<uint8_t>(displacement),
          static_cast<uint8_t>(displacement >> 8),
          static_cast<uint8_t>(displacement >> 16),
          static_cast<uint8_t>(displacement >> 24),
          0};
}

SyntheticBinary without_build_info(std::vector<std::string> variables) {
  auto binary = SyntheticBinary::ordinary();
  binary.version.clear();
  binary.string_variables = std::move(variables);
  auto& code = binary.functions[5].code;  // runtime.schedinit
  for (size_t i = 0; i < binary.string_variables.size(); ++i) {
    auto next = compare_length(SyntheticBinary::entry(5) + code.size(), SyntheticBinary::variable(i));
    code.insert(code.end(), next.begin(), next.end());
  }
  return binary;
}

Expected<BuildInfo> info_from_code(const SyntheticBinary& binary) {
  const auto bytes = binary.build();
  auto elf = ElfFile::parse(test::view_of(bytes));
  if (!elf) return Unexpected(elf.error());
  const uint64_t entry = SyntheticBinary::entry(5);
  const FunctionCode schedinit{"runtime.schedinit", entry, entry + 0x40, *elf->bytes(entry, 0x40)};
  return build_info_from_code(*elf, schedinit);
}

TEST(BuildInfoFromCode, FindsTheVersionBehindSchedinit) {
  for (bool position_independent : {false, true}) {
    auto binary = without_build_info({"something else", "go1.24.4"});
    binary.position_independent = position_independent;
    auto info = info_from_code(binary);
    ASSERT_TRUE(info) << info.error().what;
    EXPECT_EQ(info->version.text, "go1.24.4");
  }
}

TEST(BuildInfoFromCode, ReadsArm64AddressPairs) {
  auto binary = without_build_info({"go1.24.4"});
  binary.machine = ElfFile::kMachineArm64;
  const uint64_t entry = SyntheticBinary::entry(5);
  const uint64_t variable = SyntheticBinary::variable(0);
  const auto pages = static_cast<uint32_t>((variable >> 12) - (entry >> 12));
  const uint32_t adrp = 0x90000000 | (pages & 3) << 29 | ((pages >> 2) & 0x7ffff) << 5 | 27;
  const uint32_t load = 0xf9400000 | static_cast<uint32_t>((variable & 0xfff) / 8 + 1) << 10 | 27 << 5 | 2;
  auto& code = binary.functions[5].code;
  code.clear();
  for (uint32_t word : {adrp, load}) {
    for (int shift = 0; shift < 32; shift += 8) code.push_back(static_cast<uint8_t>(word >> shift));
  }
  auto info = info_from_code(binary);
  ASSERT_TRUE(info) << info.error().what;
  EXPECT_EQ(info->version.minor, 24);
}

TEST(BuildInfoFromCode, RefusesWithoutProof) {
  EXPECT_FALSE(info_from_code(without_build_info({})));
  EXPECT_FALSE(info_from_code(without_build_info({"unknown"})));
  // Two answers are none.
  auto two = info_from_code(without_build_info({"go1.24.4", "go1.23.5"}));
  ASSERT_FALSE(two);
  EXPECT_NE(two.error().what.find("more than one"), std::string::npos);
  // The string is in the file, but schedinit does not look at it.
  auto unreferenced = without_build_info({"go1.24.4"});
  unreferenced.functions[5].code.clear();
  EXPECT_FALSE(info_from_code(unreferenced));
  EXPECT_FALSE(info_from_code(without_build_info({"devel go1.28-abc"})));
}

}  // namespace
}  // namespace goheapd::gobin
