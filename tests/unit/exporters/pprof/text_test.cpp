#include "exporters/pprof/text.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/unit/exporters/fixtures.h"

namespace goheapd::exporters::pprof {
namespace {

TEST(PprofText, NamesOfGenericsAreShortened) {
  EXPECT_EQ(name_for_print("main.F[go.shape.int]"), "main.F[...]");
  EXPECT_EQ(name_for_print("main.(*T[go.shape.[]int]).M"), "main.(*T[...]).M");
  EXPECT_EQ(name_for_print("main.F"), "main.F");
  EXPECT_EQ(name_for_print("odd]["), "odd][");
}

TEST(PprofText, TotalsThatAreEqualAreKeptApart) {
  model::HeapSnapshot snapshot;
  snapshot.sample_rate = 1;
  snapshot.samples.push_back({{}, {2, 32, 2, 32}, {}, 16, {}});
  EXPECT_EQ(encode_text(snapshot), "heap profile: 2: 32 [2: 33] @ heap/2\n2: 32 [2: 32] @\n\n");
}

TEST(PprofText, EmptySnapshotHasItsHeaderOnly) {
  model::HeapSnapshot snapshot;
  snapshot.sample_rate = 524288;
  EXPECT_EQ(encode_text(snapshot), "heap profile: 0: 0 [0: 1] @ heap/1048576\n");
}

// As in what Go prints: its address, but no frame.
TEST(PprofText, TheEndOfAStackIsAnAddressOnly) {
  model::HeapSnapshot snapshot;
  snapshot.functions = {{"main.a", "/a.go", 1}};
  snapshot.locations = {{0x11, 0, {{0, 3}}, 0x10}};
  snapshot.samples = {{{0}, {}, {}, 0, {}, 0x46b521}};
  EXPECT_EQ(
      encode_text(snapshot),
      "heap profile: 0: 0 [0: 1] @ heap/0\n0: 0 [0: 0] @ 0x12 0x46b521\n#\t0x11\tmain.a+0x1\t/a.go:3\n\n");
}

// What Go's %v makes of these, checked with Go.
TEST(PprofText, SharesAreWrittenAsGoWritesThem) {
  for (const auto& [value, text] :
       {std::pair(0.0, "0"), std::pair(0.25, "0.25"), std::pair(0.0001, "0.0001"),
        std::pair(0.00001, "1e-05"), std::pair(0.0000625, "6.25e-05"), std::pair(0.0123, "0.0123")}) {
    model::MemStatsReading memory;
    memory.gc_cpu_fraction = value;
    EXPECT_TRUE(encode_text({}, &memory).ends_with(std::string("\n# GCCPUFraction = ") + text + "\n"))
        << text;
  }
}

// A name with line breaks and tabs in it must not pass for a record of its own.
TEST(PprofText, NamesStayOnTheirLine) {
  model::HeapSnapshot snapshot;
  snapshot.functions = {{"main.a\n9: 9 [9: 9] @ 0x9\n#\t0x9\tmain.b", "/a\n/b\t\x1b[2J\xff.go", 1}};
  snapshot.locations = {{0x11, 0, {{0, 3}}, 0}};
  snapshot.samples = {{{0}, {1, 8, 1, 8}, {}, 0, {}}};
  const std::string text = encode_text(snapshot);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 4) << text;
  EXPECT_EQ(text.find("\n9: 9"), std::string::npos) << text;
  EXPECT_EQ(text.find('\x1b'), std::string::npos) << text;
  EXPECT_EQ(text.find('\xff'), std::string::npos) << text;
}

// What text/tabwriter (1, 8, 1, tab) makes of these cells, checked with Go: "main.a+0x1" and "main.abcdefg+0x1" in one
// column.
TEST(PprofText, ColumnsAreAlignedWithTabs) {
  model::HeapSnapshot snapshot;
  snapshot.functions = {{"main.a", "/a.go", 1}, {"main.abcdefg", "/b.go", 1}};
  snapshot.locations = {{0x11, 0, {{0, 3}}, 0x10}, {0x1111111, 0, {{1, 4}}, 0x1111110}};
  snapshot.samples = {{{0, 1}, {}, {}, 0, {}}};
  EXPECT_EQ(encode_text(snapshot),
            "heap profile: 0: 0 [0: 1] @ heap/0\n"
            "0: 0 [0: 0] @ 0x12 0x1111112\n"
            "#\t0x11\t\tmain.a+0x1\t\t/a.go:3\n"
            "#\t0x1111111\tmain.abcdefg+0x1\t/b.go:4\n\n");
}

}  // namespace
}  // namespace goheapd::exporters::pprof
