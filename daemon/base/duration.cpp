#include "daemon/base/duration.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <utility>

namespace goheapd {

std::optional<std::chrono::nanoseconds> parse_duration(std::string_view text) {
  static constexpr std::array<std::pair<std::string_view, double>, 8> kUnits = {{{"ns", 1},
                                                                                 {"us", 1e3},
                                                                                 {"\xc2\xb5s", 1e3},
                                                                                 {"\xce\xbcs", 1e3},
                                                                                 {"ms", 1e6},
                                                                                 {"s", 1e9},
                                                                                 {"m", 60e9},
                                                                                 {"h", 3600e9}}};
  double sum = 0;
  double sign = 1;
  if (text.starts_with('-') || text.starts_with('+')) {
    sign = text.front() == '-' ? -1 : 1;
    text.remove_prefix(1);
  }
  if (text == "0") return std::chrono::nanoseconds(0);
  if (text.empty()) return std::nullopt;
  while (!text.empty()) {
    const auto digits = std::min(text.find_first_not_of("0123456789."), text.size());
    double number = 0;
    const auto [end, error] =
        std::from_chars(text.data(), text.data() + digits, number, std::chars_format::fixed);
    if (error != std::errc() || end != text.data() + digits) return std::nullopt;
    text.remove_prefix(digits);
    const auto letters = std::min(text.find_first_of("0123456789."), text.size());
    const auto* unit =
        std::find_if(kUnits.begin(), kUnits.end(),
                     [name = text.substr(0, letters)](const auto& row) { return row.first == name; });
    if (unit == kUnits.end()) return std::nullopt;
    text.remove_prefix(letters);
    sum += number * unit->second;
  }
  if (sum >= static_cast<double>(std::numeric_limits<int64_t>::max())) return std::nullopt;
  return std::chrono::nanoseconds(static_cast<int64_t>(sign * sum));
}

}  // namespace goheapd
