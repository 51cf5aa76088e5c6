// What each exporter makes of fixed values, against text in this folder that people can read and review. When a change
// is meant, the failing test says which file to copy where.
#include <gtest/gtest.h>
#include <prometheus/text_serializer.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "exporters/api/target_json.h"
#include "exporters/pprof/encoder.h"
#include "exporters/pprof/text.h"
#include "exporters/prometheus/open_metrics.h"
#include "exporters/prometheus/target_collector.h"
#include "exporters/registry.h"
#include "tests/unit/exporters/fixtures.h"
#include "tests/unit/exporters/pprof/decode.h"

namespace goheapd::exporters {
namespace {

void expect_golden(const std::string& name, const std::string& actual) {
  const std::string golden = std::string(GOHEAPD_GOLDEN_DIR) + "/" + name;
  if (fixtures::read_file(golden) == actual) return;
  const std::string written = (std::filesystem::current_path() / ("actual-" + name)).string();
  std::ofstream(written, std::ios::binary) << actual;
  ADD_FAILURE() << "differs from the golden file; look at it and, if it is meant:\n  diff " << golden << " "
                << written << "\n  cp " << written << " " << golden;
}

std::string answer(const std::string& path, const std::string& accept = "*/*",
                   const http::Fields& query = {}) {
  fixtures::FixedSource source;
  http::Request request;
  request.method = "GET";
  request.path = path;
  request.query = query;
  request.headers = {{"host", "node7:9786"}, {"accept", accept}};
  return all_routes(source).route(request).body;
}

std::string pretty(const std::string& json) { return nlohmann::ordered_json::parse(json).dump(2) + "\n"; }

TEST(Golden, HeapProfile) {
  expect_golden("heap.pprof.txt",
                pprof::decode_to_text(pprof::encode(fixtures::snapshot(), pprof::Profile::heap)));
}

TEST(Golden, ExactProfileWithoutInuse) {
  fixtures::FixedSource source;
  const auto snapshot = source.heap(102);
  ASSERT_TRUE(snapshot);
  expect_golden("exact.pprof.txt", pprof::decode_to_text(pprof::encode(**snapshot, pprof::Profile::heap)));
}

TEST(Golden, HeapText) {
  expect_golden("heap.debug1.txt", answer("/targets/101/debug/pprof/heap", "*/*", {{"debug", "1"}}));
}

TEST(Golden, Metrics) {
  fixtures::FixedSource source;
  const auto families = prometheus_text::TargetCollector(source).Collect();
  expect_golden("metrics.txt", prometheus::TextSerializer().Serialize(families));
  expect_golden("metrics.openmetrics.txt", prometheus_text::OpenMetricsSerializer().Serialize(families));
}

TEST(Golden, GoMetrics) {
  expect_golden("go_metrics.txt", answer("/targets/101/metrics"));
  expect_golden("go_metrics.openmetrics.txt",
                answer("/targets/101/metrics", "application/openmetrics-text;version=1.0.0"));
}

TEST(Golden, Gctrace) { expect_golden("gctrace.txt", answer("/targets/101/gctrace")); }

TEST(Golden, TargetsJson) { expect_golden("targets.json", pretty(answer("/api/v1/targets"))); }

TEST(Golden, DiscoveryJson) { expect_golden("sd.json", pretty(answer("/api/v1/sd"))); }

TEST(Golden, LandingPage) { expect_golden("index.html", answer("/")); }

TEST(Golden, TargetPage) { expect_golden("target.html", answer("/targets/101")); }

TEST(Golden, TargetIndexPage) { expect_golden("target_index.html", answer("/targets/101/debug/pprof/")); }

}  // namespace
}  // namespace goheapd::exporters
