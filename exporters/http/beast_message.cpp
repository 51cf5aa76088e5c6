#include "exporters/http/beast_message.h"

#include <spdlog/fmt/chrono.h>
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/field.hpp>
#include <boost/beast/http/write.hpp>
#include <ctime>
#include <sstream>
#include <utility>

#include "exporters/http/limits.h"
#include "exporters/http/target.h"

namespace goheapd::exporters::http {
namespace {

namespace beast_http = boost::beast::http;
using HttpError = beast_http::error;

// Boost's string_view is another type than ours, and which one depends on Boost's version.
template <typename BoostView>
std::string_view view_of(const BoostView& text) {
  return {text.data(), text.size()};
}

std::string lower_case(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return lower;
}

// Header values are ours or from the web config file; a line break in one would be a header of its own.
std::string one_line(std::string text) {
  std::erase_if(text, [](char c) { return c == '\r' || c == '\n'; });
  return text;
}

tl::unexpected<Response> refuse(int status, std::string_view message) {
  return tl::unexpected<Response>(error_response(status, message));
}

// RFC 9110 5.6.7.
std::string http_date() {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  ::gmtime_r(&now, &utc);
  return fmt::format("{:%a, %d %b %Y %H:%M:%S} GMT", utc);
}

}  // namespace

std::optional<Response> answer_to_bad_head(const boost::system::error_code& error) {
  if (error.category() != beast_http::make_error_code(HttpError::bad_target).category()) return std::nullopt;
  switch (static_cast<HttpError>(error.value())) {
    case HttpError::end_of_stream:
    case HttpError::partial_message:
      return std::nullopt;
    case HttpError::header_limit:
    case HttpError::buffer_overflow:
      return error_response(431, "the request head is too large");
    case HttpError::bad_version:
      return error_response(505, "only HTTP/1.0 and HTTP/1.1 are spoken here");
    default:
      return error_response(400, "this is not an HTTP request: " + error.message());
  }
}

tl::expected<Request, Response> to_request(const BeastRequest& message) {
  const std::string_view target_text = view_of(message.target());
  if (target_text.size() > kMaxTargetBytes) return refuse(414, "the request target is too long");
  auto target = parse_target(target_text);
  if (!target) return refuse(400, "the request target is not a valid path and query");

  Request request;
  request.method = view_of(message.method_string());
  request.path = std::move(target->path);
  request.query = std::move(target->query);
  for (const auto& field : message) {
    request.headers.emplace_back(lower_case(view_of(field.name_string())), view_of(field.value()));
  }
  const auto hosts = std::count_if(request.headers.begin(), request.headers.end(),
                                   [](const auto& field) { return field.first == "host"; });
  if (hosts > 1 || (message.version() >= 11 && hosts == 0))
    return refuse(400, "exactly one Host header is needed");
  return request;
}

std::string serialize_head(const Response& response, unsigned request_version, bool keep_alive) {
  beast_http::response<beast_http::empty_body> message;
  message.version(11);
  message.result(static_cast<unsigned>(response.status));
  message.set(beast_http::field::date, http_date());
  message.set(beast_http::field::content_type, one_line(response.content_type));
  for (const auto& [name, value] : response.headers) message.insert(name, one_line(value));
  message.content_length(response.body.size());
  message.keep_alive(keep_alive);
  // What a newer client takes for granted.
  if (keep_alive && request_version < 11) message.set(beast_http::field::connection, "keep-alive");
  std::ostringstream text;
  text << message.base();
  return text.str();
}

}  // namespace goheapd::exporters::http
