#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace goheapd::exporters {

// Names of processes and functions are bytes that a hostile program chose; scrapers refuse a whole answer over one
// byte that is not UTF-8. Every such byte, and every control character but a line break, becomes U+FFFD. What is
// longer than `max_bytes` is cut at a character and ends in an ellipsis.
std::string clean_utf8(std::string_view text, size_t max_bytes);

}  // namespace goheapd::exporters
