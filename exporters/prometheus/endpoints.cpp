#include "exporters/prometheus/endpoints.h"

#include <chrono>
#include <iterator>
#include <utility>

#include "exporters/prometheus/answer.h"
#include "exporters/prometheus/self_collector.h"
#include "exporters/prometheus/single_family.h"
#include "exporters/prometheus/target_collector.h"

namespace goheapd::exporters::prometheus_text {
namespace {

http::Response serve_metrics(ProfileSource& source, const http::Request& request) {
  const auto start = std::chrono::steady_clock::now();
  auto families = TargetCollector(source).Collect();
  auto own = SelfCollector().Collect();
  std::move(own.begin(), own.end(), std::back_inserter(families));

  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
  families.push_back(single_family("goheapd_scrape_duration_seconds",
                                   "How long it took to collect the values of this answer.",
                                   prometheus::MetricType::Gauge, taken.count()));

  return metrics_response(request, families);
}

}  // namespace

void add_routes(http::Router& router, ProfileSource& source) {
  router.get("/metrics", [&source](const http::Request& request) { return serve_metrics(source, request); });
}

}  // namespace goheapd::exporters::prometheus_text
