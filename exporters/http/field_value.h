// What header fields have inside of them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace goheapd::exporters::http {

// ASCII only, as names of fields and of what is in them are.
std::string lower_case(std::string_view text);
// Without the spaces and tabs around it.
std::string_view trimmed(std::string_view text);

// One element of a header field by which a client says what it likes (RFC 9110 12.4.2).
struct Preference {
  std::string name;  // lower case, without parameters
  double quality = 1;
};
// In the order sent; a quality that is no number is 0. Any text is taken: what is in no order is just not liked.
std::vector<Preference> preferences(std::string_view field);

}  // namespace goheapd::exporters::http
