#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>

namespace goheapd {

// Nanoseconds. kernel_time is CLOCK_MONOTONIC, what bpf_ktime_get_ns() stamps on events.
uint64_t kernel_time_ns();
// CPU time that all threads of a process have used; nothing if it is gone.
std::optional<uint64_t> process_cpu_time_ns(pid_t pid);
// CLOCK_REALTIME, for what users see.
int64_t wall_time_ns();
// The wall time at which kernel_time_ns() said `kernel_ns`, by the clocks' present distance.
int64_t wall_time_of(uint64_t kernel_ns);
// CLOCK_BOOTTIME, for how long something took or is ago: nobody sets it, and it counts while the machine sleeps.
int64_t boot_time_ns();
// Of a moment given in clock ticks, as /proc/PID/stat gives a process's start.
int64_t boot_time_of_ticks(uint64_t ticks);
// The wall time at which boot_time_ns() said `boot_ns`, by the clocks' present distance.
int64_t wall_time_of_boot(int64_t boot_ns);
// RFC 3339 in UTC with milliseconds, e.g. "2026-11-21T04:11:51.250Z".
std::string rfc3339(int64_t wall_ns);

}  // namespace goheapd
