#pragma once

#include <string>

namespace goheapd {

// What is said of a profile whose time was over before it was over: "ended early, after 3.2 s of 10.0 s: WHY".
std::string ended_early(double lasted_seconds, double asked_seconds, const std::string& why);

// The usual WHY.
std::string process_has_ended(int pid);

}  // namespace goheapd
