#include "daemon/base/clock.h"

#include <unistd.h>

#include <array>
#include <cstdio>
#include <ctime>

namespace goheapd {
namespace {

int64_t read_clock(clockid_t id) {
  timespec now{};
  clock_gettime(id, &now);
  return static_cast<int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec;
}

}  // namespace

uint64_t kernel_time_ns() { return static_cast<uint64_t>(read_clock(CLOCK_MONOTONIC)); }

std::optional<uint64_t> process_cpu_time_ns(pid_t pid) {
  clockid_t clock{};
  timespec used{};
  if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &used) != 0) return std::nullopt;
  return static_cast<uint64_t>(used.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(used.tv_nsec);
}

int64_t wall_time_ns() { return read_clock(CLOCK_REALTIME); }

int64_t wall_time_of(uint64_t kernel_ns) {
  return wall_time_ns() - (read_clock(CLOCK_MONOTONIC) - static_cast<int64_t>(kernel_ns));
}

int64_t boot_time_ns() { return read_clock(CLOCK_BOOTTIME); }

int64_t boot_time_of_ticks(uint64_t ticks) {
  static const int64_t ticks_per_second = ::sysconf(_SC_CLK_TCK);
  return static_cast<int64_t>(ticks) * (1'000'000'000 / ticks_per_second);
}

int64_t wall_time_of_boot(int64_t boot_ns) { return wall_time_ns() - (boot_time_ns() - boot_ns); }

std::string rfc3339(int64_t wall_ns) {
  int64_t seconds = wall_ns / 1'000'000'000;
  int64_t rest = wall_ns % 1'000'000'000;
  if (rest < 0) {
    rest += 1'000'000'000;
    --seconds;
  }
  const std::time_t time = seconds;
  std::tm utc{};
  ::gmtime_r(&time, &utc);
  std::array<char, 96> text{};
  std::snprintf(text.data(), text.size(), "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", utc.tm_year + 1900,
                utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec,
                static_cast<int>(rest / 1'000'000));
  return text.data();
}

}  // namespace goheapd
