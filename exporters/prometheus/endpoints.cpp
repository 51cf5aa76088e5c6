#include "exporters/prometheus/endpoints.h"

#include <prometheus/text_serializer.h>

#include <chrono>
#include <iterator>
#include <utility>

#include "exporters/prometheus/open_metrics.h"
#include "exporters/prometheus/self_collector.h"
#include "exporters/prometheus/target_collector.h"

namespace goheapd::exporters::prometheus_text {
namespace {

http::Response serve_metrics(ProfileSource& source, const http::Request& request) {
  const auto start = std::chrono::steady_clock::now();
  auto families = TargetCollector(source).Collect();
  auto own = SelfCollector().Collect();
  std::move(own.begin(), own.end(), std::back_inserter(families));

  prometheus::MetricFamily duration;
  duration.name = "goheapd_scrape_duration_seconds";
  duration.help = "How long it took to collect the values of this answer.";
  duration.type = prometheus::MetricType::Gauge;
  duration.metric.emplace_back().gauge.value =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  families.push_back(std::move(duration));

  const Format format = negotiate(request.header("accept").value_or(""));
  http::Response response;
  response.content_type = content_type_of(format);
  response.body = format == Format::open_metrics ? OpenMetricsSerializer().Serialize(families)
                                                 : prometheus::TextSerializer().Serialize(families);
  return response;
}

}  // namespace

void add_routes(http::Router& router, ProfileSource& source) {
  router.get("/metrics", [&source](const http::Request& request) { return serve_metrics(source, request); });
}

}  // namespace goheapd::exporters::prometheus_text
