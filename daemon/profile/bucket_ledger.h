// The books of one process whose runtime samples for itself.
//
//   readings (the truth, every GC cycle and at least every 10 s)      events (in between, at once)
//        fresh_k ────────────────────────────────────────▶ + births - deaths since ──▶ live now, rates
//        fresh_k - fresh_{k-1}  ==  births, deaths in between ?   no: count it, believe the reading
//
// Buckets are identified by their address in the process: the runtime never frees or changes one.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <string>
#include <unordered_map>
#include <vector>

#include "daemon/model/allocation_kind.h"
#include "daemon/model/event.h"
#include "daemon/model/reading.h"
#include "daemon/profile/raw_snapshot.h"
#include "daemon/profile/site_board.h"

namespace goheapd::profile {

// What the symboliser found out about a bucket that a reading brought for the first time.
struct BucketSite {
  uint64_t bucket = 0;
  model::AllocationKind kind = model::AllocationKind::other;
  std::string function;
};

class BucketLedger {
 public:
  // has_events: probes deliver births and deaths, so that a reading can be checked against them.
  explicit BucketLedger(bool has_events) : has_events_(has_events) {}

  void on_birth(const model::SampledBirth& birth);
  void on_death(const model::SampledDeath& death);

  // Takes over a reading. All events up to reading.end_ns must have been delivered before. A reading older
  // than the last one taken is ignored (two requests may overtake each other).
  void apply(model::BucketReading reading, const std::vector<BucketSite>& new_sites);

  // While another source counts the allocations (exact mode), those of the sampler are left out of every alloc value, so
  // that nothing is counted twice; inuse values go on. Events up to now must have been delivered before.
  void set_alloc_counted_elsewhere(bool elsewhere);
  // Probes come and go.
  void set_has_events(bool has_events) { has_events_ = has_events; }

  bool has_reading() const { return reading_end_ns_ != 0; }
  uint64_t reading_end_ns() const { return reading_end_ns_; }
  uint64_t sample_rate() const { return sample_rate_; }
  bool last_reading_consistent() const { return last_consistent_; }
  uint32_t profile_cycle() const { return profile_cycle_; }
  // A birth named a bucket that no reading has brought yet: a new reading would tell more.
  bool has_unknown_buckets() const { return unknown_births_ != 0; }
  // So many births: their stacks are only in the process's memory.
  uint64_t unknown_births() const { return unknown_births_; }

  // Sum over all buckets, unsampled, as of now (last reading plus events since).
  double live_bytes() const;
  double live_objects() const;
  // Unsampled totals since the first reading, never falling.
  const std::array<double, model::kAllocationKinds>& alloc_bytes() const { return alloc_bytes_; }
  const std::array<double, model::kAllocationKinds>& alloc_objects() const { return alloc_objects_; }

  // Objects by which events and readings disagreed, beyond what their timing explains.
  uint64_t settled_objects() const { return settled_objects_; }

  // Unsampled bytes by the user's function that allocates; allocations since the first reading.
  std::vector<SiteTotals> sites() const;
  size_t stacks() const { return buckets_.size(); }

  // Fills samples, rate and cycle. In-use values are the published ones; allocations "now" include events
  // since the last reading.
  void fill(RawSnapshot& snapshot) const;

 private:
  struct Bucket {
    uint64_t object_size = 0;
    StackPtr stack;
    model::ObjectCounts published;
    model::ObjectCounts fresh;  // at the last reading
    model::ObjectCounts first;  // at the first reading that had it
    model::ObjectCounts since;  // events after the last reading
    model::AllocationKind kind = model::AllocationKind::other;
    uint32_t site = 0;            // index into site_names_
    uint64_t elsewhere_from = 0;  // allocations when another source began to count ...
    uint64_t elsewhere = 0;       // ... and how many such periods that have ended leave out

    uint64_t allocs() const { return fresh.allocs + since.allocs; }
  };
  struct PendingEvent {
    uint64_t time_ns;
    uint64_t bucket;
    bool is_birth;
  };

  void adopt_stack(model::BucketRecord& record);
  void adopt_sites(const std::vector<BucketSite>& sites);
  void settle(const model::BucketReading& reading);
  void count_event(uint64_t bucket, bool is_birth);
  void recompute_totals();
  uint32_t intern_site(const std::string& name);
  // Allocations that count, of all that the sampler took.
  uint64_t counted_allocs(const Bucket& bucket) const;

  bool has_events_;
  std::unordered_map<uint64_t, Bucket> buckets_;
  std::deque<PendingEvent> pending_;  // since the begin of the last reading, for settling
  std::vector<std::string> site_names_{"other"};
  std::unordered_map<std::string, uint32_t> site_ids_;

  uint64_t reading_begin_ns_ = 0;
  uint64_t reading_end_ns_ = 0;
  uint64_t sample_rate_ = 0;
  uint32_t profile_cycle_ = 0;
  bool last_consistent_ = true;
  uint64_t unknown_births_ = 0;
  uint64_t settled_objects_ = 0;
  bool counts_elsewhere_ = false;
  bool ever_elsewhere_ = false;
  // Exported, never falling; truth at the last reading plus events since, or what was shown before if that is
  // more.
  std::array<double, model::kAllocationKinds> alloc_bytes_{};
  std::array<double, model::kAllocationKinds> alloc_objects_{};
  double live_bytes_ = 0;
  double live_objects_ = 0;
};

}  // namespace goheapd::profile
