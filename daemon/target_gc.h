// What is known of one target's garbage collector: cycles as events tell them, pauses and times as readings do.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "daemon/gobin/runtime_layout.h"
#include "daemon/model/event.h"
#include "daemon/model/gc_cycle.h"
#include "daemon/model/program_stop.h"
#include "daemon/model/reading.h"
#include "daemon/model/target.h"
#include "daemon/profile/gc_history.h"
#include "daemon/profile/stop_history.h"

namespace goheapd {

class TargetGc {
 public:
  // True: history() has one cycle more.
  bool on(const model::GcCycleMemory& memory, const gobin::RuntimeLayout& layout);
  void on(const model::GcLeakCheck&) { leak_check_ = true; }
  void on(const model::GcProfileFlush& flush);
  // So many cycles there have been by now; where no events come, this is all that is known of them.
  void note_cycles(uint32_t cycles) { cycles_ = std::max(cycles_, cycles); }
  // Apply events up to the reading's end first: what both tell of is counted once.
  void apply(const model::GcReading& reading);

  void on(const model::WorldStop& stop, const gobin::RuntimeLayout& layout);
  // Stops of Go 1.`minor` will be seen: fill() has each of its reasons from now on.
  void expect_stops(int minor) { expected_minor_ = minor; }

  // Probes tell of cycles, or there are none.
  void set_events_come(bool come) { events_come_ = come; }
  // Pauses that were overwritten before a reading came, since this was last asked.
  uint64_t take_lost_pauses() { return std::exchange(lost_pauses_, 0); }

  const profile::GcHistory& history() const { return history_; }
  model::GcLog log() const;
  void fill(model::TargetStatus& status) const;

  // The cycle that inuse of the runtime's published profile stands for when its profile cycle is `profile_cycle`:
  // objects that cycle has left alive. 0 = none yet. A cycle's frees are published by the end of the next one, or, after
  // runtime.GC(), at once.
  uint32_t published_cycle(uint32_t profile_cycle) const;
  // "inuse as of GC cycle 12, which ended at 2026-11-21T08:00:00.123Z"; the time only where it is known.
  std::string inuse_comment(uint32_t cycle) const;

 private:
  void count_pause(int64_t nanoseconds);

  profile::GcHistory history_;
  profile::StopHistory stops_;
  std::optional<int> expected_minor_;
  bool leak_check_ = false;  // in the cycle that has not ended yet
  uint32_t post_swept_ = 0;  // the last cycle whose frees were published at once
  uint32_t cycles_ = 0;
  uint32_t pauses_counted_ = 0;  // up to this cycle
  bool events_come_ = true;
  bool has_reading_ = false;
  uint64_t lost_pauses_ = 0;
  std::array<uint64_t, model::kGcPauseBoundsSeconds.size() + 1> pause_buckets_{};  // cumulative
  double pause_sum_seconds_ = 0;
  std::vector<std::pair<uint32_t, int64_t>> ends_;  // of the latest cycles by readings: number, wall time
};

}  // namespace goheapd
