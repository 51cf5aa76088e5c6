#include "daemon/base/utf8.h"

#include <cstdint>

namespace goheapd {
namespace {

constexpr std::string_view kReplacement = "\xef\xbf\xbd";
constexpr std::string_view kEllipsis = "\xe2\x80\xa6";

// The length of the well-formed character at the start of `text` (not empty), 0 if there is none: no overlong forms, no
// surrogates, nothing above U+10FFFF (table 3-7 of the Unicode standard).
size_t character_length(std::string_view text) {
  auto byte = [&](size_t i) { return i < text.size() ? static_cast<uint8_t>(text[i]) : uint8_t{0}; };
  auto continues = [&](size_t i) { return (byte(i) & 0xc0) == 0x80; };
  const uint8_t first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xc2 && first <= 0xdf) return continues(1) ? 2 : 0;
  if (first >= 0xe0 && first <= 0xef) {
    if (first == 0xe0 && byte(1) < 0xa0) return 0;
    if (first == 0xed && byte(1) > 0x9f) return 0;
    return continues(1) && continues(2) ? 3 : 0;
  }
  if (first >= 0xf0 && first <= 0xf4) {
    if (first == 0xf0 && byte(1) < 0x90) return 0;
    if (first == 0xf4 && byte(1) > 0x8f) return 0;
    return continues(1) && continues(2) && continues(3) ? 4 : 0;
  }
  return 0;
}

bool is_control(char c, std::string_view allowed) {
  const auto byte = static_cast<uint8_t>(c);
  return (byte < 0x20 || byte == 0x7f) && allowed.find(c) == std::string_view::npos;
}

}  // namespace

std::string clean_utf8(std::string_view text, size_t max_bytes) {
  std::string clean;
  while (!text.empty()) {
    size_t length = character_length(text);
    std::string_view character = text.substr(0, length);
    if (length == 0 || is_control(text.front(), "\n")) {
      length = 1;
      character = kReplacement;
    }
    if (clean.size() + character.size() > max_bytes) return clean.append(kEllipsis);
    clean.append(character);
    text.remove_prefix(length);
  }
  return clean;
}

std::string well_formed_utf8(std::string_view text) {
  std::string well_formed;
  while (!text.empty()) {
    const size_t length = character_length(text);
    well_formed.append(length == 0 ? kReplacement : text.substr(0, length));
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return well_formed;
}

std::optional<size_t> line_of_unprintable(std::string_view text) {
  size_t line = 1;
  while (!text.empty()) {
    const size_t length = character_length(text);
    const char first = text.front();
    if (length == 0 || is_control(first, "\t\n\r")) return line;
    if (first == '\n') ++line;
    text.remove_prefix(length);
  }
  return std::nullopt;
}

}  // namespace goheapd
