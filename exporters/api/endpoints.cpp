#include "exporters/api/endpoints.h"

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

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

// What a daemon that hangs has published last is not true any more.
std::optional<http::Response> refuse_unhealthy(const ProfileSource& source) {
  const auto health = source.health();
  if (!health.unhealthy) return std::nullopt;
  return http::error_response(503, "not healthy: " + *health.unhealthy);
}

http::Response serve_targets(ProfileSource& source) {
  if (auto refused = refuse_unhealthy(source)) return std::move(*refused);
  ordered_json rows = ordered_json::array();
  for (const auto& target : source.targets()) rows.push_back(target_json(target));
  return json_response({{"targets", std::move(rows)}});
}

// Only what can be scraped now: memory statistics come from programs that are not profiled, too. Where we are is what the asker called us: behind ":9786" or a proxy nothing else
// would be right.
http::Response serve_discovery(ProfileSource& source, const http::Request& request) {
  // To an error, Prometheus keeps to the list that it has.
  if (auto refused = refuse_unhealthy(source)) return std::move(*refused);
  const std::string address(request.header("host").value_or("localhost"));
  ordered_json groups = ordered_json::array();
  for (const auto& target : source.targets()) {
    const bool unprofiled = target.state == model::TargetState::unsupported && target.runtime_readable;
    if (target.state == model::TargetState::attached || unprofiled)
      groups.push_back(discovery_json(target, address, request.secure));
  }
  return json_response(groups);
}

http::Response serve_healthy(const ProfileSource& source) {
  if (auto refused = refuse_unhealthy(source)) return std::move(*refused);
  http::Response response;
  response.body = "goheapd is healthy\n";
  return response;
}

http::Response serve_ready(const ProfileSource& source) {
  const auto health = source.health();
  if (health.not_ready) return http::error_response(503, "not ready: " + *health.not_ready);
  http::Response response;
  response.body = "goheapd is ready\n";
  return response;
}

}  // namespace

void add_routes(http::Router& router, ProfileSource& source) {
  using Kind = http::AnswerBudget::Kind;
  router.get("/api/v1/targets",
             router.limited(Kind::table, [&source](const http::Request&) { return serve_targets(source); }),
             {});
  router.get(
      "/api/v1/sd",
      router.limited(Kind::table,
                     [&source](const http::Request& request) { return serve_discovery(source, request); }),
      {});
  for (const std::string_view path : {"/-/healthy", "/healthz"}) {
    router.get(path, [&source](const http::Request&) { return serve_healthy(source); });
  }
  for (const std::string_view path : {"/-/ready", "/readyz"}) {
    router.get(path, [&source](const http::Request&) { return serve_ready(source); });
  }
}

}  // namespace goheapd::exporters::api
