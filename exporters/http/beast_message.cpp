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

#include "exporters/http/field_value.h"
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

// Header values are ours or from the web config file; a line break in one would be a header of its own.
std::string one_line(std::string text) {
  std::erase_if(text, [](char c) { return c == '\r' || c == '\n'; });
  return text;
}

// RFC 9112 6.3: the end of a body is known where exactly the last of its codings is `chunked`. Beast takes a request
// with others for one without a body, and would go on with that body as the next request. No coding of today has
// parameters, so quotation marks, in which there may be commas, are not looked into.
bool end_is_known(const std::string& codings) {
  if (codings.find('"') != std::string::npos) return false;
  int chunked = 0;
  bool is_last = false;
  for (size_t begin = 0; begin <= codings.size();) {
    const size_t end = std::min(codings.find(',', begin), codings.size());
    const std::string coding = lower_case(trimmed(std::string_view(codings).substr(begin, end - begin)));
    begin = end + 1;
    if (coding.empty()) continue;  // an element of a list may be
    is_last = coding == "chunked";
    if (is_last) ++chunked;
  }
  return is_last && chunked == 1;
}

std::optional<Response> refuse_transfer_encoding(const Request& request, unsigned version) {
  std::optional<std::string> codings;  // of all such headers together, as RFC 9110 5.3 has it
  for (const auto& [name, value] : request.headers) {
    if (name == "transfer-encoding") codings = codings ? *codings + "," + value : value;
  }
  if (!codings) return std::nullopt;
  if (version < 11) return error_response(400, "HTTP/1.0 has no Transfer-Encoding");
  if (!end_is_known(*codings))
    return error_response(400, "the last coding of Transfer-Encoding, and only that, must be chunked");
  return std::nullopt;
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
  if (auto refused = refuse_transfer_encoding(request, message.version()))
    return tl::unexpected<Response>(std::move(*refused));
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
