#include "exporters/http/message.h"

#include <nlohmann/json.hpp>

namespace goheapd::exporters::http {
namespace {

std::optional<std::string_view> find(const Fields& fields, std::string_view name) {
  for (const auto& [key, value] : fields) {
    if (key == name) return value;
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::string_view> Request::parameter(std::string_view name) const { return find(query, name); }
std::optional<std::string_view> Request::header(std::string_view lower_case_name) const {
  return find(headers, lower_case_name);
}
std::string_view Request::capture(std::string_view name) const {
  return find(captures, name).value_or(std::string_view{});
}

Response error_response(int status, std::string_view message) {
  const nlohmann::json body = {{"error", message}};
  Response response;
  response.status = status;
  response.content_type = "application/json";
  response.body = body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  response.headers = {{"X-Content-Type-Options", "nosniff"}};
  return response;
}

}  // namespace goheapd::exporters::http
