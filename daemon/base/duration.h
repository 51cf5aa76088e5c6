#pragma once

#include <chrono>
#include <optional>
#include <string_view>

namespace goheapd {

// A time as Go writes it: "300ms", "1m30s", "1.5h"; also "0". Units: ns, us, µs, ms, s, m, h. nullopt: not such a text, or
// beyond 292 years.
std::optional<std::chrono::nanoseconds> parse_duration(std::string_view text);

}  // namespace goheapd
