// What handlers see of HTTP, as plain values: a request and a finished response. goheapd never reads a
// request's body, and has each answer in memory before it sends it.
#pragma once

#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace goheapd::exporters::http {

using Fields = std::vector<std::pair<std::string, std::string>>;

struct Request {
  std::string method;    // as sent, upper case: "GET"
  std::string path;      // percent-decoded, starts with '/'
  Fields query;          // percent-decoded, in the order sent
  Fields headers;        // names in lower case
  Fields captures;       // what the route's {name} segments matched
  bool secure = false;   // came through TLS
  std::stop_token stop;  // the server stops or the client went away: give up waiting

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
  // Lives until the body is sent or given up (AnswerBudget); null: the body is small.
  std::shared_ptr<const void> held = nullptr;
};

// {"error": "..."}; `message` says what is wrong and what to do. Bytes that are not UTF-8 are replaced.
Response error_response(int status, std::string_view message);

}  // namespace goheapd::exporters::http
