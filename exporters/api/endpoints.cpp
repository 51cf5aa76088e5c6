#include "exporters/api/endpoints.h"

#include <algorithm>
#include <string>
#include <string_view>

#include "exporters/api/target_json.h"

namespace goheapd::exporters::api {
namespace {

using nlohmann::ordered_json;

http::Response json_response(const ordered_json& json) {
  http::Response response;
  response.content_type = "application/json";
  response.headers.emplace_back("X-Content-Type-Options", "nosniff");
  // Names are bytes that targets choose: what is not UTF-8 becomes U+FFFD.
  response.body = json.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + "\n";
  return response;
}

http::Response serve_targets(ProfileSource& source) {
  ordered_json rows = ordered_json::array();
  for (const auto& target : source.targets()) rows.push_back(target_json(target));
  return json_response({{"targets", std::move(rows)}});
}

// Only what can be scraped now: memory statistics come from programs that are not profiled, too. Where we are is what the asker called us: behind ":9786" or a proxy nothing else
// would be right.
http::Response serve_discovery(ProfileSource& source, const http::Request& request) {
  const std::string address(request.header("host").value_or("localhost"));
  ordered_json groups = ordered_json::array();
  for (const auto& target : source.targets()) {
    const bool unprofiled = target.state == model::TargetState::unsupported && target.runtime_readable;
    if (target.state == model::TargetState::attached || unprofiled)
      groups.push_back(discovery_json(target, address, request.secure));
  }
  return json_response(groups);
}

http::Response serve_healthy() {
  http::Response response;
  response.body = "goheapd is healthy\n";
  return response;
}

http::Response serve_ready(ProfileSource& source) {
  const auto status = source.status();
  if (status.not_ready) return http::error_response(503, "not ready: " + *status.not_ready);
  http::Response response;
  response.body = "goheapd is ready\n";
  return response;
}

}  // namespace

void add_routes(http::Router& router, ProfileSource& source) {
  router.get("/api/v1/targets", [&source](const http::Request&) { return serve_targets(source); }, {});
  router.get("/api/v1/sd",
             [&source](const http::Request& request) { return serve_discovery(source, request); }, {});
  for (const std::string_view path : {"/-/healthy", "/healthz"}) {
    router.get(path, [](const http::Request&) { return serve_healthy(); });
  }
  for (const std::string_view path : {"/-/ready", "/readyz"}) {
    router.get(path, [&source](const http::Request&) { return serve_ready(source); });
  }
}

}  // namespace goheapd::exporters::api
