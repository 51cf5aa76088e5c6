#include "exporters/http/target.h"

#include <utility>

namespace goheapd::exporters::http {
namespace {

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

}  // namespace

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

std::optional<Target> parse_target(std::string_view text) {
  if (const auto scheme = text.find("://"); !text.starts_with('/') && scheme != std::string_view::npos) {
    text.remove_prefix(scheme + 3);
    const auto end_of_host = text.find_first_of("/?#");
    text.remove_prefix(end_of_host == std::string_view::npos ? text.size() : end_of_host);
    if (!text.starts_with('/')) return parse_target("/" + std::string(text));
  }
  if (!text.starts_with('/')) return std::nullopt;
  std::string_view rest = text.substr(0, text.find('#'));
  auto path = percent_decode(cut(rest, '?'), false);
  if (!path) return std::nullopt;
  Target target{std::move(*path), {}};
  while (!rest.empty()) {
    std::string_view value = cut(rest, '&');
    auto name = percent_decode(cut(value, '='), true);
    auto decoded = percent_decode(value, true);
    if (!name || !decoded) return std::nullopt;
    if (!name->empty()) target.query.emplace_back(std::move(*name), std::move(*decoded));
  }
  return target;
}

}  // namespace goheapd::exporters::http
