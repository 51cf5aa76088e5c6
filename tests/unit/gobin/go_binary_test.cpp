#include "daemon/gobin/go_binary.h"

#include <gtest/gtest.h>

#include <random>

#include "daemon/gobin/go_marks.h"
#include "tests/unit/gobin/synthetic_binary.h"

namespace goheapd::gobin {
namespace {

using test::SyntheticBinary;
using test::view_of;

std::string refusal(const SyntheticBinary& binary) {
  const auto bytes = binary.build();
  auto opened = GoBinary::recognize(view_of(bytes));
  return opened ? "" : opened.error().what;
}

TEST(GoBinary, RecognisesEveryForm) {
  for (bool position_independent : {false, true}) {
    for (bool section_headers : {false, true}) {
      auto binary = SyntheticBinary::ordinary();
      binary.position_independent = position_independent;
      binary.section_headers = section_headers;
      const auto bytes = binary.build();
      auto opened = GoBinary::recognize(view_of(bytes));
      ASSERT_TRUE(opened) << opened.error().what;
      const BinaryInfo& info = (*opened)->info();
      EXPECT_EQ(info.version.minor, 24);
      EXPECT_EQ(info.main_package, "example.com/cmd");
      EXPECT_EQ(info.module, "example.com");
      EXPECT_EQ(info.module_version, "v1.2.3");
      EXPECT_EQ(info.pie, position_independent);
      EXPECT_EQ(info.has_section_headers, section_headers);
      EXPECT_TRUE(info.stripped);
      EXPECT_FALSE(info.external_link);
      EXPECT_TRUE(info.has_build_info);
      EXPECT_EQ(info.gnu_build_id, "deadbeef");
      EXPECT_EQ((*opened)->load_base(), SyntheticBinary::kBase);
      EXPECT_EQ((*opened)->module_data().text, SyntheticBinary::kText);
    }
  }
}

TEST(GoBinary, FindsFunctions) {
  auto binary = SyntheticBinary::ordinary();
  binary.functions[4].code = {0x90, 0xc3};
  const auto bytes = binary.build();
  auto opened = GoBinary::recognize(view_of(bytes));
  ASSERT_TRUE(opened);
  auto mallocgc = (*opened)->function("runtime.mallocgc");
  ASSERT_TRUE(mallocgc);
  EXPECT_EQ(mallocgc->entry, SyntheticBinary::entry(4));
  EXPECT_EQ(mallocgc->end, SyntheticBinary::entry(5));
  EXPECT_EQ(mallocgc->code.size(), SyntheticBinary::kFunctionBytes);
  EXPECT_EQ(mallocgc->code.read<uint16_t>(0), 0xc390);
  EXPECT_TRUE((*opened)->function("main.main"));
  EXPECT_TRUE((*opened)->function("internal/runtime/maps.newTable"));
  EXPECT_FALSE((*opened)->function("runtime.mallocg"));
  EXPECT_FALSE((*opened)->function("runtime."));
  EXPECT_FALSE((*opened)->function("main.leaf"));
  EXPECT_EQ((*opened)->function_at(SyntheticBinary::entry(1) + 3)->name, "main.main");
  EXPECT_FALSE((*opened)->function_at(1));
}

TEST(GoBinary, KnowsWhetherProfilesAreLinked) {
  auto binary = SyntheticBinary::ordinary();
  for (const char* name : {"main.other", "runtime.memProfileInternal"}) {
    binary.functions.push_back({.name = name});
    const auto bytes = binary.build();
    auto opened = GoBinary::recognize(view_of(bytes));
    ASSERT_TRUE(opened);
    EXPECT_EQ((*opened)->links_memory_profile(), std::string_view(name).starts_with("runtime."));
  }
}

TEST(GoBinary, RefusesWithAReason) {
  auto binary = SyntheticBinary::ordinary();
  for (const char* version : {"go1.18.10", "go1.20.14", "go1.28.0", "go1.17"}) {
    binary.version = version;
    // Also where the tables are such as only newer or older ones have.
    for (const uint32_t magic : {0xfffffff1, 0xfffffffa}) {
      binary.functab_magic = magic;
      EXPECT_NE(refusal(binary).find(std::string("built by ") + version + ", but goheapd knows"),
                std::string::npos)
          << refusal(binary);
    }
  }
  binary = SyntheticBinary::ordinary();
  binary.version = "devel go1.25-0123456";
  EXPECT_NE(refusal(binary).find("development version"), std::string::npos);
  binary = SyntheticBinary::ordinary();
  binary.machine = 3;
  EXPECT_EQ(refusal(binary), "only amd64 and arm64 programs are supported");
  binary = SyntheticBinary::ordinary();
  binary.module_data = false;
  EXPECT_NE(refusal(binary).find("module data"), std::string::npos);
  binary = SyntheticBinary::ordinary();
  binary.functab_magic = 0xfffffffa;
  EXPECT_NE(refusal(binary).find("older than 1.18"), std::string::npos);
  binary = SyntheticBinary::ordinary();
  binary.functions.erase(binary.functions.begin() + 5);  // no runtime.schedinit
  EXPECT_NE(refusal(binary).find("shared library"), std::string::npos);
  binary.version.clear();
  EXPECT_NE(refusal(binary), "");
}

TEST(GoBinary, RefusesOrdinaryPrograms) {
  auto opened = GoBinary::open("/bin/sh");
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().what, "not a Go program");
  EXPECT_EQ(opened.error().subject, "/bin/sh");
  EXPECT_FALSE(GoBinary::open("/proc/self/no-such-file"));
  EXPECT_FALSE(GoBinary::open("/proc"));
}

TEST(GoMarks, AnyOfThemWillDo) {
  auto binary = SyntheticBinary::ordinary();
  for (bool section_headers : {true, false}) {
    for (const char* version : {"go1.24.4", "go1.15", ""}) {
      binary.section_headers = section_headers;
      binary.version = version;
      const auto bytes = binary.build();
      EXPECT_TRUE(may_be_go(*ElfFile::parse(view_of(bytes)))) << section_headers << version;
    }
  }
  // Without headers and build info the function table must be real.
  binary.module_data = false;
  const auto bytes = binary.build();
  EXPECT_FALSE(may_be_go(*ElfFile::parse(view_of(bytes))));
  EXPECT_FALSE(may_be_go(std::string("/bin/sh")));
  // A process that has just exited is no verdict on its file.
  EXPECT_TRUE(may_be_go(std::string("/proc/self/missing")));
}

// What everything else does with a binary: nothing of it may leave the file's bytes.
void use(const GoBinary& binary) {
  (void)binary.links_memory_profile();
  for (const char* name : {"runtime.mallocgc", "main.main", "nothing"}) (void)binary.function(name);
  std::vector<uint64_t> pcs;
  for (uint64_t pc = SyntheticBinary::kText; pc < SyntheticBinary::entry(10); pc += 5) pcs.push_back(pc);
  (void)binary.symbolizer().locations_of_return_addresses(pcs);
  (void)binary.symbolizer().locations_of_logical_stack(pcs);
  for (uint64_t pc : pcs) (void)binary.symbolizer().callee_before(pc);
}

TEST(GoBinary, EveryTruncationIsAnErrorOrAWorkingBinary) {
  const auto good = SyntheticBinary::ordinary().build();
  for (size_t size = 0; size < good.size(); size += 509) {
    const std::vector<std::byte> bytes(good.begin(), good.begin() + static_cast<ptrdiff_t>(size));
    if (auto opened = GoBinary::recognize(view_of(bytes))) use(**opened);
  }
}

TEST(GoBinary, DamagedBytesAreAnErrorOrAWorkingBinary) {
  std::mt19937 random(20240607);
  const uint64_t interesting[] = {
      0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x7fffffff, 0xffffffff, ~uint64_t{0} >> 1, ~uint64_t{0}};
  size_t opened_count = 0;
  for (bool position_independent : {false, true}) {
    auto binary = SyntheticBinary::ordinary();
    binary.position_independent = position_independent;
    const auto good = binary.build();
    // Only where there is something: most of the file is zeros.
    std::vector<size_t> places;
    for (size_t i = 0; i < good.size(); ++i) {
      if (good[i] != std::byte{0}) places.push_back(i);
    }
    for (int round = 0; round < 300; ++round) {
      auto bytes = good;
      for (unsigned damage = 0; damage <= random() % 3; ++damage) {
        const size_t place = places[random() % places.size()];
        const uint64_t value = interesting[random() % std::size(interesting)];
        std::memcpy(bytes.data() + place, &value, std::min<size_t>(1u << random() % 4, bytes.size() - place));
      }
      if (auto opened = GoBinary::recognize(view_of(bytes))) {
        ++opened_count;
        use(**opened);
      }
    }
  }
  EXPECT_GT(opened_count, 50u);
}

}  // namespace
}  // namespace goheapd::gobin
