#include "daemon/runtime/stop_reasons.h"

#include <array>

namespace goheapd::runtime {
namespace {

constexpr std::string_view kMarkTermination = "GC mark termination";
constexpr std::string_view kSweepTermination = "GC sweep termination";
constexpr std::string_view kUnknown = "unknown";

// stwReason by its value; the same in all versions that have it.
// https://github.com/golang/go/blob/go1.21.13/src/runtime/proc.go#L1225
// https://github.com/golang/go/blob/go1.27.3/src/runtime/proc.go#L1494
constexpr std::array<std::string_view, 17> kReasons = {
    kUnknown,
    kMarkTermination,
    kSweepTermination,
    "write heap dump",
    "goroutine profile",
    "goroutine profile cleanup",
    "all goroutines stack trace",
    "read mem stats",
    "AllThreadsSyscall",
    "GOMAXPROCS",
    "start trace",
    "stop trace",
    "CountPagesInUse (test)",
    "ReadMetricsSlow (test)",
    "ReadMemStatsSlow (test)",
    "PageCachePagesLeaked (test)",
    "ResetDebugLog (test)",
};

// Before, the reason was a string, kept as m.preemptoff. Of the collector's two stops one has none, the other says only
// who stops.
struct NotedReason {
  std::string_view noted;
  std::string_view reason;
};
constexpr NotedReason kNoted[] = {
    // https://github.com/golang/go/blob/go1.19.8/src/runtime/mgc.go#L665
    {"", kSweepTermination},
    // https://github.com/golang/go/blob/go1.19.8/src/runtime/mgc.go#L851
    {"gcing", kMarkTermination},
    // https://github.com/golang/go/blob/go1.19.8/src/runtime/debug.go#L28
    {"GOMAXPROCS", "GOMAXPROCS"},
    // https://github.com/golang/go/blob/go1.19.8/src/runtime/heapdump.go#L21
    {"write heap dump", "write heap dump"},
    // https://github.com/golang/go/blob/go1.19.8/src/runtime/mprof.go#L911
    {"profile", "profile"},
    // https://github.com/golang/go/blob/go1.19.8/src/runtime/mprof.go#L976
    {"profile cleanup", "profile cleanup"},
    // https://github.com/golang/go/blob/go1.19.8/src/runtime/mprof.go#L1195
    {"stack trace", "stack trace"},
    // https://github.com/golang/go/blob/go1.19.8/src/runtime/mstats.go#L356
    {"read mem stats", "read mem stats"},
    // https://github.com/golang/go/blob/go1.19.8/src/runtime/os_linux.go#L729
    {"doAllThreadsSyscall", "doAllThreadsSyscall"},
    // https://github.com/golang/go/blob/go1.19.8/src/runtime/trace.go#L209
    {"start tracing", "start tracing"},
    // https://github.com/golang/go/blob/go1.19.8/src/runtime/trace.go#L319
    {"stop tracing", "stop tracing"},
};
constexpr int kFirstMinorWithReasons = 21;

std::string_view reason_text(int minor, const model::WorldStop& stop) {
  if (minor >= kFirstMinorWithReasons) {
    return stop.reason && *stop.reason < kReasons.size() ? kReasons[*stop.reason] : kUnknown;
  }
  for (const NotedReason& known : kNoted) {
    if (!stop.reason && stop.text == known.noted) return known.reason;
  }
  return kUnknown;
}

StopReason reason_of(std::string_view text) {
  return {text, text == kMarkTermination || text == kSweepTermination};
}

}  // namespace

StopReason stop_reason(int minor, const model::WorldStop& stop) {
  return reason_of(reason_text(minor, stop));
}

std::vector<StopReason> stop_reasons(int minor) {
  std::vector<StopReason> reasons;
  if (minor >= kFirstMinorWithReasons) {
    for (const std::string_view text : kReasons) {
      if (!text.ends_with("(test)")) reasons.push_back(reason_of(text));
    }
    return reasons;
  }
  reasons.push_back(reason_of(kUnknown));
  for (const NotedReason& known : kNoted) reasons.push_back(reason_of(known.reason));
  return reasons;
}

}  // namespace goheapd::runtime
