#include "exporters/go_metrics/endpoints.h"

#include <iterator>
#include <string>
#include <utility>

#include "exporters/go_metrics/collectors.h"
#include "exporters/prometheus/answer.h"
#include "exporters/target_request.h"

namespace goheapd::exporters::go_metrics {
namespace {

http::Response serve_metrics(ProfileSource& source, const http::Request& request) {
  const auto pid = parse_pid(request.capture("pid"));
  if (!pid) return pid.error();
  const auto statistics = source.statistics(*pid);
  if (!statistics) return refusal_response(statistics.error());
  auto families = go_families(*statistics);
  if (statistics->usage) {
    auto more = process_families(*statistics->usage);
    std::move(more.begin(), more.end(), std::back_inserter(families));
  }
  return prometheus_text::metrics_response(request, families);
}

}  // namespace

void add_routes(http::Router& router, ProfileSource& source) {
  router.get("/targets/{pid}/metrics",
             [&source](const http::Request& request) { return serve_metrics(source, request); });
}

}  // namespace goheapd::exporters::go_metrics
