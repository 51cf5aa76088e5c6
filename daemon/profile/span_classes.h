// The runtime's exact counters of one process, class by class, as the measure for what was sampled.
//
//            before we came │ since
//   allocs ─────────────────┼────────────────●──────────● now           allocated since = allocs now - allocs at first
//   frees  ──────────────┬──┼─────────────┬──┘ GC       │               live after a GC = allocs at its end
//                        │  │             └─ swept ─────┘                                 - frees when all is swept
//
// Classes are the size classes; class 0 = large objects. Bytes are those of slots.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "daemon/model/liveness.h"
#include "daemon/model/memory_reading.h"

namespace goheapd::profile {

inline constexpr size_t kSpanSizeClasses = model::kHeapStatsClasses;

struct ClassAmount {
  double objects = 0;
  double bytes = 0;
  ClassAmount& operator+=(const ClassAmount& other) {
    objects += other.objects;
    bytes += other.bytes;
    return *this;
  }
  ClassAmount operator*(double factor) const { return {objects * factor, bytes * factor}; }
};
// Of one object of a size class; 0 = they vary (class 0).
uint64_t class_bytes(size_t size_class);
// Never below zero: counters of two moments, or of samples, may disagree a little.
ClassAmount operator-(const ClassAmount& a, const ClassAmount& b);

class SpanClasses {
 public:
  // A cycle has ended (runtime.mProf_Flush), at this kernel time.
  void on_cycle(uint64_t time_ns) { cycle_ns_ = time_ns; }
  // How many bytes cycle `number` has left alive, as the runtime itself counted them while it marked. It need not be told.
  // Of a cycle that ended before the first reading, this is all that tells its garbage from what was allocated since.
  void on_marked(uint32_t number, uint64_t bytes) {
    marked_cycle_ = number;
    marked_bytes_ = static_cast<double>(bytes);
  }
  // `sweepgen` = of the last completed cycle when the counters were read. `swept`: all its garbage is in the counters.
  void apply(const model::HeapStatsReading& reading, uint32_t sweepgen, bool swept);

  bool has_reading() const { return begin_ns_ != 0; }
  // What was allocated before the first reading.
  const ClassAmount& before(size_t size_class) const { return classes_[size_class].before; }
  // Of that, what was held at the first reading, garbage and all.
  const ClassAmount& held_before(size_t size_class) const { return classes_[size_class].held_before; }
  // Since the first reading.
  ClassAmount allocated(size_t size_class) const;
  // Allocated and not yet swept, garbage and all, now.
  ClassAmount held(size_t size_class) const;

  // What the last cycle has left alive, where a reading after its sweep says so, else of the cycle before. Before the first
  // cycle of a process that is all it has ever allocated, garbage or not, as in Go's own heap profile.
  bool knows_live() const { return live_sweepgen_.has_value(); }
  uint32_t live_sweepgen() const { return live_sweepgen_.value_or(0); }
  bool nothing_was_freed() const { return has_reading() && sweepgen_ == 0; }
  // That cycle ended before the first reading. What has been allocated since, nobody knows by class.
  bool live_is_estimated() const {
    return knows_live() && live_sweepgen_ != 0 && live_sweepgen_ == first_sweepgen_;
  }
  const ClassAmount& live(size_t size_class) const { return classes_[size_class].live; }
  // What the cycle of the last reading can have left alive at most, swept or not.
  ClassAmount most_live(size_t size_class) const {
    return classes_[size_class].after_cycle - classes_[size_class].frees;
  }
  // What all classes together have left alive then.
  std::optional<double> marked() const {
    return marked_cycle_ == sweepgen_ / 2 ? std::optional(marked_bytes_) : std::nullopt;
  }
  // Of what was allocated before the first reading at most so much can be alive: what was ever seen to be.
  const ClassAmount& most_from_before(size_t size_class) const {
    return classes_[size_class].most_from_before;
  }

 private:
  struct Class {
    ClassAmount before;
    ClassAmount held_before;
    ClassAmount allocs;
    ClassAmount frees;
    ClassAmount after_cycle;  // allocs at the first reading after the last cycle's end
    ClassAmount grown;        // of these, since the reading before
    ClassAmount live;
    ClassAmount most_from_before;
  };

  void begin_cycle(const std::array<ClassAmount, kSpanSizeClasses>& allocs,
                   const model::HeapStatsReading& reading);
  ClassAmount at_cycle(const Class& entry) const { return entry.after_cycle - entry.grown * since_cycle_; }
  void fit_to_marked();
  void scale_live_to_marked();

  std::array<Class, kSpanSizeClasses> classes_{};
  uint64_t begin_ns_ = 0;  // of the last reading
  uint64_t cycle_ns_ = 0;
  double since_cycle_ = 0;  // which part of `grown` was allocated after the cycle's end
  uint32_t marked_cycle_ = 0;
  double marked_bytes_ = 0;
  uint32_t sweepgen_ = 0;
  std::optional<uint32_t> live_sweepgen_;
  uint32_t first_sweepgen_ = 0;  // at the first reading
};

}  // namespace goheapd::profile
