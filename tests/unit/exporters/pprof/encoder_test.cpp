#include "exporters/pprof/encoder.h"

#include <gtest/gtest.h>

#include "daemon/base/gzip.h"
#include "tests/unit/exporters/fixtures.h"
#include "tests/unit/exporters/pprof/decode.h"

namespace goheapd::exporters::pprof {
namespace {

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(PprofEncoder, SameSnapshotGivesTheSameBytes) {
  const auto snapshot = fixtures::snapshot();
  EXPECT_EQ(encode_gzip(snapshot, Profile::heap), encode_gzip(snapshot, Profile::heap));
}

TEST(PprofEncoder, GzipHasNoTimeAndUnpacksToTheMessage) {
  const auto snapshot = fixtures::snapshot();
  const std::string packed = encode_gzip(snapshot, Profile::heap);
  EXPECT_EQ(packed.substr(0, 8), std::string("\x1f\x8b\x08\0\0\0\0\0", 8));
  EXPECT_EQ(gunzip(packed), encode(snapshot, Profile::heap));
}

TEST(PprofEncoder, AllocsDiffersInItsDefaultOnly) {
  const auto snapshot = fixtures::snapshot();
  std::string heap = decode_to_text(encode(snapshot, Profile::heap));
  const std::string allocs = decode_to_text(encode(snapshot, Profile::allocs));
  const std::string heap_default = "default sample type inuse_space";
  ASSERT_TRUE(contains(heap, heap_default));
  heap.replace(heap.find(heap_default), heap_default.size(), "default sample type alloc_space");
  EXPECT_EQ(heap, allocs);
}

TEST(PprofEncoder, SaysWhenInuseIsUnknownAndOpensWithAllocations) {
  auto snapshot = fixtures::snapshot();
  snapshot.has_inuse = false;
  const std::string text = decode_to_text(encode(snapshot, Profile::heap));
  EXPECT_TRUE(contains(text, "comment goheapd: inuse is not known in this mode"));
  EXPECT_TRUE(contains(text, "default sample type alloc_space"));
  EXPECT_TRUE(contains(text, "sample type inuse_space/bytes"));
}

TEST(PprofEncoder, EmptySnapshotIsAProfile) {
  const std::string text = decode_to_text(encode(model::HeapSnapshot{}, Profile::heap));
  EXPECT_TRUE(contains(text,
                       "sample type alloc_objects/count\nsample type alloc_space/bytes\n"
                       "sample type inuse_objects/count\nsample type inuse_space/bytes\n"));
  EXPECT_FALSE(contains(text, "error"));
  EXPECT_FALSE(contains(text, "comment"));
}

TEST(PprofEncoder, IndicesThatPointNowhereAreLeftOut) {
  auto snapshot = fixtures::snapshot();
  snapshot.samples[0].locations.push_back(1000);
  snapshot.locations[0].lines.push_back({1000, 1});
  snapshot.locations[1].mapping = 77;
  EXPECT_FALSE(contains(decode_to_text(encode(snapshot, Profile::heap)), "error"));
}

TEST(PprofEncoder, MappingClaimsOnlyWhatEveryLocationHas) {
  auto snapshot = fixtures::snapshot();
  EXPECT_TRUE(contains(decode_to_text(encode(snapshot, Profile::heap)),
                       "5b1e64a3c0ffee has functions filenames lines inlined\n"));
  snapshot.functions[0].file.clear();
  EXPECT_TRUE(contains(decode_to_text(encode(snapshot, Profile::heap)),
                       "5b1e64a3c0ffee has functions lines inlined\n"));
}

TEST(PprofEncoder, BytesThatAreNotUtf8AreReplaced) {
  auto snapshot = fixtures::snapshot();
  snapshot.functions[0].name =
      "main.\xff"
      "fill";
  EXPECT_TRUE(contains(decode_to_text(encode(snapshot, Profile::heap)),
                       "main.\xef\xbf\xbd"
                       "fill "));
}

TEST(PprofEncoder, LargeProfileSurvives) {
  const auto snapshot = fixtures::large_snapshot(10'000, 20);
  const std::string plain = encode(snapshot, Profile::heap);
  EXPECT_EQ(gunzip(gzip(plain)), plain);
  const std::string text = decode_to_text(plain);
  EXPECT_FALSE(contains(text, "error"));
}

TEST(PprofGzip, EmptyInputIsOneWholeMember) { EXPECT_EQ(gunzip(gzip("")), ""); }

}  // namespace
}  // namespace goheapd::exporters::pprof
