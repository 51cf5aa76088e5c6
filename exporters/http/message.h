// What goes over one HTTP connection, as plain values: a parsed request head and a finished response.
// goheapd answers GET and HEAD only, never reads a body, and has each answer in memory before it sends it.
#pragma once

#include <cstddef>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>
#include <vector>

namespace goheapd::exporters::http {

using Fields = std::vector<std::pair<std::string, std::string>>;

// Limits on what a client may send. A head that is larger is answered 431 or 414, never stored.
inline constexpr size_t kMaxHeadBytes = 16 * 1024;
inline constexpr size_t kMaxTargetBytes = 4 * 1024;
inline constexpr size_t kMaxHeaders = 100;

struct Request {
  std::string method;  // as sent, upper case: "GET"
  std::string path;    // percent-decoded, starts with '/'
  Fields query;        // percent-decoded, in the order sent
  Fields headers;      // names in lower case
  Fields captures;     // what the route's {name} segments matched
  bool keep_alive = true;
  bool has_body = false;  // we do not read bodies: the connection ends after the answer
  bool secure = false;    // came through TLS
  std::stop_token stop;   // the server stops or the client went away: give up waiting

  // The first value of that name.
  std::optional<std::string_view> parameter(std::string_view name) const;
  std::optional<std::string_view> header(std::string_view lower_case_name) const;
  std::string_view capture(std::string_view name) const;
};

struct Response {
  int status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::string body;
  Fields headers;
};

// {"error": "..."}; `message` says what is wrong and what to do. Bytes that are not UTF-8 are replaced.
Response error_response(int status, std::string_view message);

struct BadRequest {
  int status = 400;
  std::string message;
};

// `head` is everything up to and including the empty line.
tl::expected<Request, BadRequest> parse_head(std::string_view head);

// Status line and headers, ready to send; the body follows unless the request was HEAD.
std::string serialize_head(const Response& response, bool keep_alive);

// nullopt: '%' without two hex digits, or a NUL. `plus_is_space` as in query strings.
std::optional<std::string> percent_decode(std::string_view text, bool plus_is_space);

}  // namespace goheapd::exporters::http
