#include "daemon/early_end.h"

#include <array>
#include <cstdio>

namespace goheapd {

std::string ended_early(double lasted_seconds, double asked_seconds, const std::string& why) {
  std::array<char, 96> times{};
  std::snprintf(times.data(), times.size(), "ended early, after %.1f s of %.1f s: ", lasted_seconds,
                asked_seconds);
  return times.data() + why;
}

std::string process_has_ended(int pid) { return "process " + std::to_string(pid) + " has ended"; }

}  // namespace goheapd
