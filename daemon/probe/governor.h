// Keeps what the probes take from one target inside a budget, by moving it between levels of watching.
//
//      exact      every allocation                        ▲ slowly: after a hold that doubles with each failed try, and
//      sampled    the sampler's births and deaths          │ only when the next level's predicted share is at most half
//      sparse     a sixteenth of the samples (source spans)│ of the budget
//      slices     the same as sampled, now and then       │
//      buckets    the collector's cycles and memory reads │
//      gc         the same without the runtime's records  │
//      none       memory reads only: no probes at all     ▼ at once: over the budget for a second, or twice as much
//                                                           spent sooner; over ten times the budget for a tenth of
//                                                           a second, past levels whose share would be over twice the
//                                                           budget, too; or a storm of hits
//
// What counts as the budget is what allowance.h says of a target that runs as much as this one.
//
// A pure calculation on numbers that others bring: time is what the samples say.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/probe/hit_cost.h"
#include "daemon/probe/program_time.h"
#include "daemon/probe/slices.h"

namespace goheapd::probe {

struct TargetCounters;

// From cheap to dear.
enum class Level : unsigned char { none, gc, buckets, slices, sparse, sampled, exact };
inline constexpr size_t kLevels = 7;
inline constexpr std::array<std::string_view, kLevels> kLevelNames = {
    "none", "gc", "buckets", "slices", "sparse", "sampled", "exact"};
inline std::string_view name_of(Level level) { return kLevelNames[static_cast<size_t>(level)]; }

// CPU nanoseconds of the target that all hits so far have taken: the traps by their kind, and the time of the programs, of
// which `program` keeps count for this target.
uint64_t probe_ns(const TargetCounters& counters, const HitCost& cost, ProgramTime& program);

struct Move {
  Level from = Level::gc;
  Level to = Level::gc;
  double ratio = 0;      // what was measured, as a share of the target's CPU time
  double predicted = 0;  // up only: what is expected of the new level
  std::string why;       // in words, with figures
};

class Governor {
 public:
  struct Options {
    double budget = 0.01;       // share of the target's CPU time
    std::vector<Level> levels;  // that this target can be watched at, from cheap to dear; not empty
    Level start = Level::gc;    // one of them
    double exact_hit_ns = 0;    // what one allocation is expected to cost in exact mode, until it is known
  };
  // `now_ns`: on the clock of the samples.
  Governor(Options options, uint64_t now_ns);

  // Takes the next sample and says where to go, if anywhere; the caller goes there before the next sample. Samples that
  // are not newer than the last are ignored.
  // `allocations` looks up how many objects the program has allocated so far, 0 = unknown; it is called seldom, since that
  // is dearer than the rest.
  std::optional<Move> observe(const CostSample& sample, const std::function<uint64_t()>& allocations);
  // The kernel has seen a storm: one level down, whatever the samples say. Nothing if there is no level below.
  std::optional<Move> storm(uint64_t now_ns);
  // The caller is where it was told to go, since `now_ns`.
  void arrived(uint64_t now_ns) { level_since_ns_ = now_ns; }
  // The caller could not go where it was told to: stay at `actual`, and try that level again much later.
  void failed(Level actual, uint64_t now_ns);

  Level level() const { return level_; }
  uint64_t level_since_ns() const { return level_since_ns_; }
  // Share of the target's CPU time that probes took, over the last second; over up to a minute while it hardly runs or probes
  // take hardly anything.
  double overhead_ratio() const { return ratio_; }
  // That it is more than the target was allowed to pay in that time.
  bool is_over() const { return allowed_ && ratio_ > *allowed_; }
  // What it may be: the budget, or more of a target that ran as little as this one did in that time.
  double limit() const { return allowed_.value_or(options_.budget); }
  // At level slices the caller puts probes in and takes them out as this says. Leaving the level ends no slice.
  SliceSchedule& slices() { return slices_; }
  const SliceSchedule& slices() const { return slices_; }
  void set_budget(double budget) {
    options_.budget = budget;
    allowed_.reset();
    slices_.set_budget(budget);
  }

 private:
  struct Knowledge {
    double ns_per_allocation = -1;  // as measured when the target was last at this level; < 0 = unknown
    uint64_t hold_ns = 0;           // how long to wait below before it is tried again
  };

  struct Mark {
    CostSample sample;
    uint64_t allocations = 0;
  };

  Knowledge& known(Level level) { return knowledge_[static_cast<size_t>(level)]; }
  std::optional<Level> below(Level level) const;
  std::optional<Level> above() const;
  void learn(const CostSample& sample, uint64_t allocations);
  double predicted(Level level) const;
  double price_of(Level level) const;
  double in_storm(Level level, double ratio) const;
  void start_slices(uint64_t now_ns, double ratio);
  Move go(Level to, uint64_t now_ns, double ratio, std::string why);
  // `ratio` is the breach, `latest` what probes took since the last look.
  std::optional<Move> breach(uint64_t now_ns, double ratio, double latest, double allowed,
                             const std::string& what);
  double allowed(const CostSample& begin, const CostSample& end) const;
  bool others_breach(const CostSample& sample);

  Options options_;
  Level level_;
  std::array<Knowledge, kLevels> knowledge_{};
  std::deque<CostSample> window_;           // of this level only, oldest first
  std::optional<CostSample> quiet_;         // of level slices: no slice has begun since
  std::optional<Mark> mark_;                // of this level, the last with allocations
  std::optional<double> allocations_rate_;  // per CPU nanosecond of the program's own
  uint64_t level_since_ns_;
  double ratio_ = 0;
  std::optional<double> allowed_;  // when ratio_ was told; none: not yet under this budget
  SliceSchedule slices_;
};

}  // namespace goheapd::probe
