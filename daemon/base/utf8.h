#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace goheapd {

// Names of processes and functions are bytes that a hostile program chose; scrapers refuse a whole answer over one
// byte that is not UTF-8. Every such byte, and every control character but a line break, becomes U+FFFD. What is
// longer than `max_bytes` is cut at a character and ends in an ellipsis.
std::string clean_utf8(std::string_view text, size_t max_bytes);

// Every byte that is no part of a UTF-8 character becomes U+FFFD; all else stays, control characters too.
std::string well_formed_utf8(std::string_view text);

// The line (from 1) of the first byte that no text file has: what is not UTF-8, and control characters but tab and line
// ends. YAML forbids them, and its parser here does not end on some: it is for its callers to ask first.
std::optional<size_t> line_of_unprintable(std::string_view text);

}  // namespace goheapd
