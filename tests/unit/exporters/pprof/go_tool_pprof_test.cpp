// The files are for `go tool pprof`: it opens them here, without any binary at hand, and must read what we wrote.
#include <gtest/gtest.h>

#include <cstdlib>

#include "exporters/http/server.h"
#include "exporters/pprof/encoder.h"
#include "exporters/pprof/text.h"
#include "exporters/registry.h"
#include "tests/support/go_toolchain.h"
#include "tests/unit/exporters/fixtures.h"

namespace goheapd::exporters::pprof {
namespace {

class GoToolPprof : public testing::Test {
 protected:
  void SetUp() override {
    const auto minors = test::go_minors();
    ASSERT_FALSE(minors.empty()) << "run tests/tools/fetch-go";
    // The oldest that is there: newer ones would build the tool first.
    const std::string root = test::go_root(minors.front());
    command_ = "env -u GOROOT GOTOOLCHAIN=local PPROF_TMPDIR=" + directory_.path("") +
               " HOME=" + directory_.path("") + " " + root + "/bin/go tool pprof ";
  }

  std::string pprof(const std::string& arguments) {
    auto output = test::output_of(command_ + arguments + " 2>&1");
    EXPECT_TRUE(output) << to_string(output.error());
    return output.value_or("");
  }

  std::string write(const std::string& name, const model::HeapSnapshot& snapshot) {
    return directory_.write(name, encode_gzip(snapshot, Profile::heap));
  }

  fixtures::TemporaryDirectory directory_;
  std::string command_;
};

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST_F(GoToolPprof, TopShowsEveryFunctionWithItsValues) {
  const std::string file = write("heap.pb.gz", fixtures::snapshot());
  const std::string top = pprof("-top -unit=b " + file);
  EXPECT_TRUE(contains(top, "File: shop\n")) << top;
  EXPECT_TRUE(contains(top, "Type: inuse_space\n")) << top;
  EXPECT_TRUE(contains(top, "Duration: 90.50s")) << top;
  EXPECT_TRUE(contains(top, "goheapd: mode sampled, source runtime\n12 events were lost: ring full\n"))
      << top;
  EXPECT_TRUE(contains(top, "1579015B 41.11% ")) << top;
  EXPECT_TRUE(contains(top, "main.fill (inline)")) << top;
  const std::string objects = pprof("-top -sample_index=alloc_objects " + file);
  EXPECT_TRUE(contains(objects, "1542 ")) << objects;
}

TEST_F(GoToolPprof, AllocsOpensWithAllocations) {
  const std::string file =
      directory_.write("allocs.pb.gz", encode_gzip(fixtures::snapshot(), Profile::allocs));
  EXPECT_TRUE(contains(pprof("-top " + file), "Type: alloc_space\n"));
}

TEST_F(GoToolPprof, RawHasWhatWasWritten) {
  const std::string raw = pprof("-raw " + write("heap.pb.gz", fixtures::snapshot()));
  for (const char* line : {
           "PeriodType: space bytes\n",
           "Period: 524288\n",
           "alloc_objects/count alloc_space/bytes inuse_objects/count inuse_space/bytes[dflt]\n",
           "       1542    6316063        385    1579015: 1 2 3 4 \n                bytes:[4096]\n",
           "     1: 0x401233 M=1 main.fill /src/shop/fill.go:14",
           "             main.Grow[go.shape.int,go.shape.string] /src/shop/grow.go:33",
           "1: 0x400000/0x800000/0x0 /usr/bin/shop 5b1e64a3c0ffee [FN][FL][LN][IN]\n",
           "2: 0x7f0000001000/0x7f0000005000/0x1000 /opt/shop/libshop.so  \n",
       }) {
    EXPECT_TRUE(contains(raw, line)) << line << "\nis not in\n" << raw;
  }
}

TEST_F(GoToolPprof, TracesAndPeek) {
  const std::string file = write("heap.pb.gz", fixtures::snapshot());
  const std::string traces = pprof("-traces " + file);
  EXPECT_TRUE(contains(
      traces, "    1.51MB   main.fill (inline)\n             main.Grow[go.shape.int,go.shape.string]\n"))
      << traces;
  EXPECT_TRUE(contains(traces, "       job:  im<port\n      zone:  a\"b\n     bytes:  1MB\n")) << traces;
  EXPECT_TRUE(contains(pprof("-peek 'main\\.Grow' " + file), "main.fill")) << traces;
}

TEST_F(GoToolPprof, DifferenceToABase) {
  const auto base = fixtures::snapshot();
  auto later = base;
  later.samples[0].scaled.inuse_bytes += 1000000;
  later.samples[0].scaled.inuse_objects += 244;
  const std::string top =
      pprof("-top -unit=b -diff_base " + write("base.pb.gz", base) + " " + write("later.pb.gz", later));
  EXPECT_TRUE(contains(top, "1000000B 26.04% 26.04%")) << top;
}

TEST_F(GoToolPprof, ReadsTheTextAsWell) {
  const std::string file = directory_.write("heap.txt", encode_text(fixtures::snapshot()));
  const std::string raw = pprof("-raw " + file);
  EXPECT_TRUE(contains(raw, "Period: 524288\n")) << raw;
  // It scales by itself: the same estimate as we give.
  EXPECT_TRUE(contains(raw, "6316063        385    1579015")) << raw;
}

TEST_F(GoToolPprof, ExactProfilesOpenWithAllocations) {
  fixtures::FixedSource source;
  const std::string top = pprof("-top " + write("exact.pb.gz", **source.heap(102)));
  EXPECT_TRUE(contains(top, "Type: alloc_space\n")) << top;
}

// A fetched profile with an address that has no function makes it ask us for symbols.
TEST_F(GoToolPprof, FetchesFromTheServer) {
  fixtures::FixedSource source;
  const auto server = http::Server::start({{"127.0.0.1:0"}, "", 16}, all_routes(source));
  ASSERT_TRUE(server) << to_string(server.error());
  const std::string base = "http://" + (*server)->addresses().front();
  for (const char* path : {"/targets/101/debug/pprof/heap", "/debug/pprof/heap?pid=101"}) {
    const std::string top = pprof("-top -unit=b '" + base + path + "'");
    EXPECT_TRUE(contains(top, "1579015B 41.11% ")) << top;
  }
  const std::string delta = pprof("-top -seconds 1 " + base + "/targets/101/debug/pprof/allocs");
  EXPECT_TRUE(contains(delta, "Type: alloc_space\n")) << delta;
}

TEST_F(GoToolPprof, LargeProfile) {
  const std::string raw =
      pprof("-top -nodecount=5 " + write("large.pb.gz", fixtures::large_snapshot(2'000, 10)));
  EXPECT_TRUE(contains(raw, "Showing top 5 nodes")) << raw;
}

}  // namespace
}  // namespace goheapd::exporters::pprof
