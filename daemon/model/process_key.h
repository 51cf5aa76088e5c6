#pragma once

#include <sys/types.h>

#include <compare>
#include <cstdint>
#include <functional>

namespace goheapd::model {

// One life of one process. A pid alone is reused; with the start time (clock ticks since boot, field 22 of
// /proc/PID/stat) it names one process. exec keeps both, so `exec_count` separates the programs it ran.
struct ProcessKey {
  pid_t pid = 0;
  uint64_t start_time = 0;
  uint32_t exec_count = 0;
  auto operator<=>(const ProcessKey&) const = default;
};

}  // namespace goheapd::model

template <>
struct std::hash<goheapd::model::ProcessKey> {
  size_t operator()(const goheapd::model::ProcessKey& key) const noexcept {
    return std::hash<uint64_t>()(key.start_time * 1000003u + static_cast<uint64_t>(key.pid) * 31u +
                                 key.exec_count);
  }
};
