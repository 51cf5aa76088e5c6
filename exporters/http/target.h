// The path and the query of a request, as RFC 3986 and HTML forms write them.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "exporters/http/message.h"

namespace goheapd::exporters::http {

// nullopt: '%' without two hex digits, or a NUL. `plus_is_space` as in query strings.
std::optional<std::string> percent_decode(std::string_view text, bool plus_is_space);

struct Target {
  std::string path;  // percent-decoded, starts with '/'
  Fields query;      // percent-decoded, in the order sent; a name without '=' has an empty value
};

// Of "/path?query" or "http://host/path?query"; a fragment is left out. nullopt: neither of these, or wrongly
// percent-encoded.
std::optional<Target> parse_target(std::string_view text);

}  // namespace goheapd::exporters::http
