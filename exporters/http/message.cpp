#include "exporters/http/message.h"

#include <algorithm>
#include <array>
#include <ctime>
#include <nlohmann/json.hpp>

namespace goheapd::exporters::http {
namespace {

std::optional<std::string_view> find(const Fields& fields, std::string_view name) {
  for (const auto& [key, value] : fields) {
    if (key == name) return value;
  }
  return std::nullopt;
}

tl::unexpected<BadRequest> bad(int status, std::string message) {
  return tl::unexpected<BadRequest>(BadRequest{status, std::move(message)});
}

bool is_alphanumeric(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

// RFC 9110 5.6.2: what methods and header names are made of.
bool is_token(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return is_alphanumeric(c) || std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
  });
}

bool has_control_characters(std::string_view text) {
  return std::any_of(text.begin(), text.end(),
                     [](char c) { return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f; });
}

std::string lower_case(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return lower;
}

std::string_view trim(std::string_view text) {
  const auto first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

// Cuts the part before `separator` off `rest`; all of it when there is none.
std::string_view cut(std::string_view& rest, char separator) {
  const auto end = rest.find(separator);
  const auto part = rest.substr(0, end);
  rest = end == std::string_view::npos ? std::string_view{} : rest.substr(end + 1);
  return part;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// The path and query of an origin-form ("/x?y") or absolute-form ("http://host/x?y") target.
bool parse_target(std::string_view target, Request& request) {
  if (const auto scheme = target.find("://"); !target.starts_with('/') && scheme != std::string_view::npos) {
    target.remove_prefix(scheme + 3);
    const auto slash = target.find('/');
    target = slash == std::string_view::npos ? std::string_view("/") : target.substr(slash);
  }
  std::string_view rest = target.substr(0, target.find('#'));
  auto path = percent_decode(cut(rest, '?'), false);
  if (!path || !path->starts_with('/')) return false;
  request.path = std::move(*path);
  while (!rest.empty()) {
    std::string_view value = cut(rest, '&');
    auto name = percent_decode(cut(value, '='), true);
    auto decoded = percent_decode(value, true);
    if (!name || !decoded) return false;
    if (!name->empty()) request.query.emplace_back(std::move(*name), std::move(*decoded));
  }
  return true;
}

bool mentions(std::string_view list, std::string_view option) {
  while (!list.empty()) {
    if (lower_case(trim(cut(list, ','))) == option) return true;
  }
  return false;
}

std::string_view reason_of(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 409:
      return "Conflict";
    case 410:
      return "Gone";
    case 414:
      return "URI Too Long";
    case 431:
      return "Request Header Fields Too Large";
    case 501:
      return "Not Implemented";
    case 503:
      return "Service Unavailable";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return status < 500 ? "Error" : "Internal Server Error";
  }
}

// RFC 9110 5.6.7, always in English whatever the locale is.
std::string http_date() {
  static constexpr std::array kDays = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr std::array kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  ::gmtime_r(&now, &utc);
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "%s, %02d %s %04d %02d:%02d:%02d GMT",
                kDays[static_cast<size_t>(utc.tm_wday)], utc.tm_mday,
                kMonths[static_cast<size_t>(utc.tm_mon)], utc.tm_year + 1900, utc.tm_hour, utc.tm_min,
                utc.tm_sec);
  return text.data();
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

std::optional<std::string> percent_decode(std::string_view text, bool plus_is_space) {
  std::string decoded;
  decoded.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '%') {
      if (text.size() - i < 3) return std::nullopt;
      const int high = hex_digit(text[i + 1]);
      const int low = hex_digit(text[i + 2]);
      if (high < 0 || low < 0) return std::nullopt;
      c = static_cast<char>(high * 16 + low);
      i += 2;
    } else if (c == '+' && plus_is_space) {
      c = ' ';
    }
    if (c == '\0') return std::nullopt;
    decoded.push_back(c);
  }
  return decoded;
}

tl::expected<Request, BadRequest> parse_head(std::string_view head) {
  auto next_line = [&head] {
    std::string_view line = cut(head, '\n');
    if (line.ends_with('\r')) line.remove_suffix(1);
    return line;
  };

  std::string_view line = next_line();
  if (has_control_characters(line)) return bad(400, "control character in the request line");
  Request request;
  request.method = cut(line, ' ');
  const std::string_view target = cut(line, ' ');
  if (!is_token(request.method) || target.empty()) return bad(400, "this is not an HTTP request line");
  if (line != "HTTP/1.1" && line != "HTTP/1.0") return bad(505, "only HTTP/1.0 and HTTP/1.1 are spoken here");
  const bool is_1_1 = line == "HTTP/1.1";
  if (target.size() > kMaxTargetBytes) return bad(414, "the request target is too long");
  if (!parse_target(target, request)) return bad(400, "the request target is not a valid path and query");

  for (line = next_line(); !line.empty(); line = next_line()) {
    if (request.headers.size() == kMaxHeaders) return bad(431, "too many headers");
    const auto colon = line.find(':');
    // A space before the colon and folded lines are how request smuggling starts: both fail is_token.
    if (colon == std::string_view::npos || !is_token(line.substr(0, colon)))
      return bad(400, "malformed header");
    const std::string_view value = trim(line.substr(colon + 1));
    if (has_control_characters(value)) return bad(400, "control character in a header");
    request.headers.emplace_back(lower_case(line.substr(0, colon)), value);
  }
  const auto hosts = std::count_if(request.headers.begin(), request.headers.end(),
                                   [](const auto& field) { return field.first == "host"; });
  if (hosts > 1 || (is_1_1 && hosts == 0)) return bad(400, "exactly one Host header is needed");

  const auto connection = request.header("connection").value_or("");
  request.keep_alive = is_1_1 ? !mentions(connection, "close") : mentions(connection, "keep-alive");
  request.has_body = request.header("transfer-encoding").has_value() ||
                     request.header("content-length").value_or("0") != "0";
  return request;
}

std::string serialize_head(const Response& response, bool keep_alive) {
  std::string head;
  head.reserve(512);
  auto add = [&head](std::string_view name, std::string_view value) {
    head.append(name).append(": ");
    // Header values are ours or from the web config file; a line break in one would be a header of its own.
    std::copy_if(value.begin(), value.end(), std::back_inserter(head),
                 [](char c) { return c != '\r' && c != '\n'; });
    head.append("\r\n");
  };
  head.append("HTTP/1.1 ").append(std::to_string(response.status)).append(" ");
  head.append(reason_of(response.status)).append("\r\n");
  add("Date", http_date());
  add("Content-Type", response.content_type);
  add("Content-Length", std::to_string(response.body.size()));
  for (const auto& [name, value] : response.headers) add(name, value);
  if (!keep_alive) add("Connection", "close");
  head.append("\r\n");
  return head;
}

}  // namespace goheapd::exporters::http
