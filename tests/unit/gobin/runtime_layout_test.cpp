#include "daemon/gobin/runtime_layout.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace goheapd::gobin {
namespace {

GoVersion version(int minor, std::vector<std::string> experiments = {}) {
  return GoVersion{minor, 0, "go1." + std::to_string(minor), std::move(experiments)};
}

const FieldDescription* find(const std::vector<FieldDescription>& all, std::string_view name) {
  auto found = std::find_if(all.begin(), all.end(), [&](const auto& field) { return field.name == name; });
  return found == all.end() ? nullptr : &*found;
}

TEST(RuntimeLayout, RefusesVersionsWithoutMeasuredStructs) {
  for (int minor : {0, 18, 20, 28, 99}) {
    auto layout = runtime_layout(version(minor), Arch::amd64);
    ASSERT_FALSE(layout) << minor;
    const char* const advice = minor > 27 ? "use a newer goheapd" : "rebuild it with one of these";
    EXPECT_EQ(to_string(layout.error()), "built by go1." + std::to_string(minor) +
                                             ", but goheapd knows Go 1.19 and 1.21 to 1.27: " + advice);
  }
}

TEST(RuntimeLayout, RefusesExperimentsThatWereNotMeasured) {
  EXPECT_FALSE(runtime_layout(version(24, {"staticlockranking"}), Arch::amd64));
  EXPECT_FALSE(runtime_layout(version(24, {"fieldtrack", "tomorrow"}), Arch::amd64));
  EXPECT_FALSE(runtime_layout(version(23, {"noswissmap"}), Arch::amd64)) << "not an experiment of 1.23";
  EXPECT_TRUE(runtime_layout(version(24, {"fieldtrack", "boringcrypto"}), Arch::amd64));
}

TEST(RuntimeLayout, FieldsMoveBetweenVersions) {
  auto go121 = runtime_layout(version(21), Arch::amd64);
  auto go124 = runtime_layout(version(24), Arch::amd64);
  auto go127 = runtime_layout(version(27), Arch::amd64);
  ASSERT_TRUE(go121 && go124 && go127);
  EXPECT_EQ(go121->mspan.nelems.size, 8u);
  EXPECT_EQ(go124->mspan.nelems.size, 2u);
  EXPECT_FALSE(go121->mspan.large_type.present());
  EXPECT_TRUE(go124->mem_record_cycle.alloc_bytes.present());
  EXPECT_FALSE(go127->mem_record_cycle.alloc_bytes.present());
  EXPECT_EQ(go121->special_kinds.profile, 2);
  EXPECT_EQ(go124->special_kinds.profile, 3);
  EXPECT_EQ(go127->special_kinds.profile, 4);
  EXPECT_EQ(go121->max_small_size, 32768u);
  EXPECT_EQ(go124->max_small_size, 32760u);
  EXPECT_FALSE(go124->uses_inline_mark_bits(64));
  EXPECT_TRUE(go127->uses_inline_mark_bits(64));
  EXPECT_FALSE(go127->uses_inline_mark_bits(8));
  EXPECT_FALSE(go127->uses_inline_mark_bits(513));
}

TEST(RuntimeLayout, ArchitecturesDifferBehindCacheLinePadding) {
  auto amd64 = runtime_layout(version(24), Arch::amd64);
  auto arm64 = runtime_layout(version(24), Arch::arm64);
  ASSERT_TRUE(amd64 && arm64);
  EXPECT_EQ(amd64->mheap.arenas.offset, 66008u);
  EXPECT_EQ(arm64->mheap.arenas.offset, 66072u);
  EXPECT_EQ(amd64->mheap.sweepgen.offset, arm64->mheap.sweepgen.offset);
  EXPECT_EQ(amd64->arena_base, 0xffff800000000000);
  EXPECT_EQ(arm64->arena_base, 0u);
}

TEST(RuntimeLayout, EveryFieldHasALinkToALineOfItsRelease) {
  for (int minor : {19, 21, 22, 23, 24, 25, 26, 27}) {
    auto layout = runtime_layout(version(minor), Arch::amd64);
    ASSERT_TRUE(layout);
    auto fields = describe(*layout);
    EXPECT_GT(fields.size(), 200u);
    for (const auto& field : fields) {
      EXPECT_EQ(field.link.find("https://github.com/golang/go/blob/go1."), 0u) << field.name;
      const size_t line = field.link.find("#L");
      ASSERT_NE(line, std::string::npos) << field.name;
      EXPECT_GT(std::stoi(field.link.substr(line + 2)), 0) << field.name;
    }
  }
}

TEST(RuntimeLayout, DescribesWhatAnExperimentMoved) {
  auto layout = runtime_layout(version(22, {"noallocheaders"}), Arch::amd64);
  ASSERT_TRUE(layout);
  EXPECT_EQ(layout->max_small_size, 32768u);
  const auto fields = describe(*layout);
  const FieldDescription* spans = find(fields, "heapArena.spans");
  ASSERT_NE(spans, nullptr);
  EXPECT_EQ(spans->offset, 1064960u);
  EXPECT_EQ(find(fields, "const mallocHeaderSize"), nullptr);
}

TEST(ReadField, ReadsEachWidthAndNothingBeyondTheBytes) {
  const unsigned char bytes[] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
  const ByteView view(bytes, sizeof bytes);
  EXPECT_EQ(read_field(view, {1, 1}), 2u);
  EXPECT_EQ(read_field(view, {0, 2}), 0x0201u);
  EXPECT_EQ(read_field(view, {0, 4}, 1), 0x05040302u);
  EXPECT_EQ(read_field(view, {1, 8}), 0x0908070605040302u);
  EXPECT_EQ(read_field(view, {1, 24}), 0x0908070605040302u) << "first word of a slice";
  EXPECT_EQ(read_field(view, {2, 8}), std::nullopt);
  EXPECT_EQ(read_field(view, {0, 0}), std::nullopt) << "absent";
  EXPECT_EQ(read_field(view, {0, 3}), std::nullopt) << "no integer is three bytes wide";
  EXPECT_EQ(read_field(view, {8, 1}, UINT64_MAX - 7), std::nullopt) << "overflow";
}

}  // namespace
}  // namespace goheapd::gobin
