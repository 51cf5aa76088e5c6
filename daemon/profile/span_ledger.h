// The books of one process whose runtime does not sample: runs of span classes, as the probes sample them, measured by
// the runtime's exact counters.
//
//   SpanRunOpened ─▶ account of (stack, span class): weight x used objects allocated      x factor of the size class:
//   SpanRunCut    ─▶   "        takes back what was planned and not used                    what the runtime counted
//                    live run {address, birth} ◀── LivenessReading: dead?                   / what the samples add up to
//                                  │
//                                  └─▶ account: weight x used objects in use              x factor of what is alive
//
// Scaled so, the totals of each size class are the runtime's own; sampling decides only how they are divided among
// the stacks. What cannot be divided, since it was allocated before the first reading or nothing of its class was
// sampled, is shown without a stack and with a note that says so.
//
// In-use values are those that the last garbage collection has left whose garbage is swept, as in Go's own heap profile.
// Where samples are taken in slices, objects that live for less than the time between two slices are sampled all or not at
// all: then who holds what of a class's total is the mean of many collections, see sum_in_use().
//
// Large objects differ in size, and so in how much a sample of them stands for. Those that were sampled are there for
// certain; only the rest of what they stand for is scaled to what the counters leave for it.
//
// Stacks that take turns within a class open runs for each other. Where windows have counted such a class (add_window()),
// what was sampled in it is divided by what they saw, see class_mixture.h: once for what came before the first window,
// then as it settles. Where mode exact counts every allocation beside us, all its counts are such windows (add_period()).
// In use is
//
//   of a stack in its own runs     own part of the run, while the first object lives, which is its own
//   in runs that others opened     its part of what they opened, at each time x how much lives of what it opened itself
//                                  shortly before and after (see class_timeline.h and survival.h);
//                                  of a stack that hardly ever opened a run, what the others leave of the class's total
//
// scaled to what is in use of the class. Where a stack has opened nothing before or after what others have opened, or its
// objects before have another fate than those after, nobody knows when that has changed, and it is said.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "daemon/model/allocation_kind.h"
#include "daemon/model/event.h"
#include "daemon/model/gc_cycle.h"
#include "daemon/model/liveness.h"
#include "daemon/profile/class_mixture.h"
#include "daemon/profile/class_timeline.h"
#include "daemon/profile/exact_window.h"
#include "daemon/profile/old_objects.h"
#include "daemon/profile/raw_snapshot.h"
#include "daemon/profile/sampling_reach.h"
#include "daemon/profile/site_board.h"
#include "daemon/profile/slice_shares.h"
#include "daemon/profile/span_classes.h"
#include "daemon/profile/survival.h"

namespace goheapd::profile {

// What one look into the memory of a process brings, when its runtime does not sample.
struct SpanReading {
  model::LivenessReading liveness;
  model::HeapStatsReading counters;
  // Bytes that the cycle of `liveness` has found alive, as the runtime itself counted them; nullopt: it does not say.
  std::optional<uint64_t> heap_marked;
  std::optional<model::HeapCensus> census;  // of the first reading: what was there then
  bool swept = false;  // the counters hold all the garbage of the cycle that `liveness` judges
};

// What mode exact has counted of a process beside source spans: these allocations are in its books, not in ours.
struct CountedElsewhere {
  std::array<ClassAmount, kSpanSizeClasses> amounts{};  // cumulative, by size class
  bool all = false;                                     // everything since the last reading
};

class SpanLedger {
 public:
  // Of one process, with the bounds that keep a hostile one from eating our memory.
  static constexpr size_t kMaxLiveRuns = size_t{1} << 18;
  static constexpr size_t kMaxAccounts = size_t{1} << 16;

  // `times`: so often as much was opened as was looked at, where samples are taken for part of the time only.
  void on_opened(model::SpanRunOpened run, double times = 1);
  void on_cut(const model::SpanRunCut& cut);
  // Samples are taken from then on, or no more, by the kernel's clock; at first they are. Events up to then must have been
  // delivered before.
  void set_recording(bool on, uint64_t time_ns) {
    reach_.set_recording(on, time_ns);
    if (!on && samples_all_the_time()) keep_holders();
    recording_ = on;
    if (on)
      ++stretches_;
    else
      was_paused_ = true;
  }
  void on_cycle(const model::GcProfileFlush& flush);
  void on_marked(const model::GcCycle& cycle) { classes_.on_marked(cycle.number, cycle.heap_marked); }

  // The objects to ask for, in no order.
  std::vector<model::TrackedObject> tracked() const;
  // Takes over a reading. All events up to its end must have been delivered before. `counted`: up to now.
  void apply(const SpanReading& reading, const CountedElsewhere& counted = {});

  // The process has ended at `end_ns`, so that no reading will come but one that is under way: what was sampled since the
  // last one counts as it weighs. All events must have been delivered before.
  void finish(uint64_t end_ns);

  // While another source counts the allocations (mode exact), they are left out of every alloc value, so that nothing is
  // counted twice; inuse values go on, and samples with them. Events up to now must have been delivered before.
  void set_alloc_counted_elsewhere(bool elsewhere);
  // End of the last reading.
  uint64_t reading_ns() const { return reading_ns_; }

  bool has_reading() const { return classes_.has_reading(); }
  uint32_t sweepgen() const { return sweepgen_; }
  uint64_t sample_rate() const { return mean_distance_; }

  // Bytes in the runtime's heap now, with the garbage that it has not swept; exact as of the last reading.
  double live_bytes() const;
  double live_objects() const;
  // Since the first reading, as of the last one: a sample that has come since stands for more than it may turn out to
  // have been.
  std::array<double, model::kAllocationKinds> alloc_bytes() const;
  std::array<double, model::kAllocationKinds> alloc_objects() const;
  std::vector<SiteTotals> sites() const;
  size_t stacks() const { return accounts_.size(); }

  // Stacks that no one has classified yet; the caller symbolises them and answers with name_stack().
  std::vector<std::pair<uint64_t, StackPtr>> take_unnamed_stacks();
  void name_stack(uint64_t stack_hash, model::AllocationKind kind, const std::string& function);

  // Stacks that take turns in a span class can get each other's objects. A class is known to be shared when the second
  // largest of its stacks has more than a twentieth of its bytes; ascending.
  std::vector<uint32_t> shared_classes() const;
  // Takes over a window in which every allocation was counted. True: it divides the classes that matter as those before
  // did.
  bool add_window(const ExactWindow& window);
  // The same, of all that was allocated since the last period or since counting began.
  void add_period(const ExactWindow& period);
  // Of the classes that are shared, or have a hundredth of what was allocated or is in use, and so matter: those whose
  // division nobody has measured lately, or not for all of their large stacks; ascending. In perfect lockstep one stack
  // opens all runs, so that before a window has looked a class with a single stack is as doubtful as others.
  std::vector<uint32_t> unresolved_classes() const;
  // There is a class that matters.
  bool wants_windows() const;
  // All of these are resolved.
  bool is_divided() const;
  // Functions that have much of a class that matters and is unresolved, or whose bytes in use are doubtful; ascending.
  std::vector<std::string> uncertain_sites() const;

  // True: of more than 1 % of the verdicts of late we do not know what they would have been, so that dead objects may
  // be shown as in use.
  bool inuse_is_unreliable() const;
  uint64_t missed_cycles() const { return missed_cycles_; }
  uint64_t lost_verdicts() const { return lost_verdicts_; }
  // Runs and stacks beyond the bounds.
  uint64_t untracked_runs() const { return untracked_runs_; }
  // Those since the last call.
  uint64_t take_untracked_runs() {
    return untracked_runs_ - std::exchange(reported_untracked_runs_, untracked_runs_);
  }
  uint64_t truncated_stacks() const { return truncated_stacks_; }
  uint64_t births() const { return births_; }
  // Those that are tracked.
  size_t live_samples() const { return live_.size(); }
  uint64_t deaths() const { return deaths_; }

  // Fills samples, rate, cycle and comments. Alloc values are those of the last reading, as those of alloc_bytes() are;
  // their sum never falls. Returns how many classes are unresolved, if they have a hundredth of anything together.
  size_t fill(RawSnapshot& snapshot) const;

 private:
  // What was sampled of something.
  struct Sampled {
    ClassAmount weighed;  // with what the samples stand for
    ClassAmount alone;    // the samples themselves
    Sampled& operator+=(const Sampled& other) {
      weighed += other.weighed;
      alone += other.alone;
      return *this;
    }
  };
  // One stack and one span class.
  struct Account {
    uint64_t stack_hash = 0;
    uint32_t span_class = 0;
    uint32_t place = 0;         // among the accounts of its class
    uint64_t object_bytes = 0;  // 0 = they vary
    StackPtr stack;
    std::optional<OriginId> origin;  // nullopt: no window has counted it
    ClassAmount divided;             // allocated, scaled and divided for good
    ClassAmount settled;             // opened before, scaled for good, not divided
    Sampled open;                    // opened since
    Sampled in_use;                  // opened, as of the last cycle
    ClassAmount in_use_before;       // as of the cycle before, as the samples weigh
    Holder holder;            // where samples are taken in slices: mean of some cycles, as the samples weigh
    ClassAmount young;        // of runs that are not in `in_use` yet
    double opened_bytes = 0;  // all, as the samples weigh
    size_t size_class() const { return span_class >> 1; }
  };
  struct Run {
    uint64_t birth_ns = 0;
    uint32_t sweepgen = 0;
    uint32_t account = 0;
    uint32_t planned = 0;
    uint32_t used = 0;
    double weight = 0;  // objects that one used object stands for
    uint64_t object_bytes = 0;
    bool counts = true;     // as allocated; else another source has counted it
    uint64_t id = 0;        // of those that count, ascending
    uint32_t stretch = 0;   // slice in which it was opened; 0: none
    uint64_t place_ns = 0;  // in the timeline of its class
    // So many of its objects.
    Sampled amount_of(double objects) const {
      const ClassAmount alone{objects, objects * static_cast<double>(object_bytes)};
      return {alone * weight, alone};
    }
    Sampled amount() const { return amount_of(used); }
  };
  // How samples are scaled to a total.
  struct Scale {
    double sampled = 1;  // themselves
    double rest = 1;     // of what they stand for
    ClassAmount left;    // of the total, that no sample can stand for
    ClassAmount of(const Sampled& amount) const {
      if (sampled == rest) return amount.weighed * rest;
      ClassAmount scaled = amount.alone * sampled;
      scaled += (amount.weighed - amount.alone) * rest;
      return scaled;
    }
  };
  // `most`: bytes that the samples can stand for.
  static Scale scale_to(const ClassAmount& total, const Sampled& amount, size_t size_class, double most);
  struct ClassBook {
    ClassAmount settled;  // of the runtime's counters, what settled accounts have
    Sampled open;         // sum of the accounts
    Sampled in_use;
    SliceShares slices_in_use;
    double squares_open =
        0;               // sum of squares of what open samples stand for that vary by themselves, in bytes
    uint32_t slice = 0;  // in which the last of that was sampled; 0: in none
    double slice_bytes = 0;  // of what is open, sampled in it
    uint32_t open_runs = 0;
    uint64_t full_ns = 0;         // when these were enough to be settled; 0: they are not
    uint64_t first_open_run = 0;  // id of it: all before are settled
    Scale scale;                  // of open amounts
    Scale in_use_scale;
    ClassAmount ours;           // in use, of what was allocated since the first reading
    ClassAmount from_before;    // in use
    ClassAmount unsampled;      // in use, of ours: without any sample
    ClassAmount unseen_in_use;  // of that, what no stack of the class has allocated, with or without samples
  };
  // A run whose end no reading has seen yet: what the counters say is of a moment before.
  struct FreshRun {
    uint64_t birth_ns = 0;
    uint32_t account = 0;
    double times = 1;  // what it stands for outside of the stretch, too
    uint32_t stretch = 0;
    Sampled amount;
  };
  struct Name {
    model::AllocationKind kind = model::AllocationKind::other;
    std::string function = kOtherSite;
  };
  // What windows say of a span class.
  struct Measured {
    ClassMixture mixture;
    double opened_bytes = 0;     // of the class, when the last window came
    double averaged_cycles = 0;  // of slices, in the holders of its accounts; 0: these say nothing
  };
  using Runs = std::unordered_map<uint64_t, Run>;  // by address

  uint32_t account_of(model::SpanRunOpened& run);
  uint32_t new_account(uint64_t stack_hash, uint32_t span_class, uint64_t object_bytes);
  std::optional<uint32_t> owner_of(uint32_t span_class, OriginId origin);
  void match_stacks();
  bool take_in(const ExactWindow& window, bool is_period);
  void count_openers(uint32_t span_class, const OriginAmounts& company);
  // Null: what was opened in the class is not divided.
  const ClassMixture* mixture_of(uint32_t span_class) const;
  static uint64_t owner_key(OriginId origin, uint32_t span_class) {
    return uint64_t{origin} << 32 | span_class;
  }
  bool is_counted(size_t size_class) const;  // some of its span classes by windows
  // By place in the class: what each account has of the bytes that all of them have opened.
  template <typename Bytes>
  std::vector<double> divide_class(uint32_t span_class, const ClassMixture& mixture,
                                   const Bytes& opened) const;
  // By place in the class: what each account has of it.
  std::vector<double> parts_of(uint32_t span_class) const;
  // The account that shows what `id` has allocated, when windows divide its class.
  uint32_t shown_at(uint32_t id) const;
  double factor_of_all(size_t size_class) const;
  void admit(uint64_t until_ns);
  void admit_oldest();
  void correct(Run& run, uint32_t used, bool is_alive);
  void bury(const Run& run);
  void leave_out(const CountedElsewhere& counted);
  // Since the first reading, without what another source has counted.
  ClassAmount to_divide(size_t size_class) const {
    return classes_.allocated(size_class) - elsewhere_[size_class];
  }
  // Bytes: of what is not settled, samples can stand for at most so much, by when they were taken.
  double most_within_reach(size_t size_class) const {
    return std::max(0.0, reach_.most(size_class) - books_[size_class].settled.bytes);
  }
  double most_to_divide(size_t size_class) const;
  void note_growth();
  void judge(const model::LivenessReading& reading);
  void update_in_use();
  void sum_in_use();
  void begin_cycle_of_mean();
  double measure_from_before(size_t size_class) const;
  double guess_from_before(size_t size_class, double most) const;
  void measure_allocations();
  void divide_counted();
  void count_allocations();
  void measure_in_use();
  void estimate_in_use();
  // `live`: of the class. Bytes of it that are `from_before`.
  void divide_book(size_t size_class, const ClassAmount& live, double from_before);
  bool samples_in_slices() const { return slice_weight_ > 1; }
  bool samples_all_the_time() const { return recording_ && !was_paused_; }
  void keep_holders();
  void average_holders();
  // Of each account.
  std::vector<ClassAmount> allocations() const;
  struct InUse {
    std::vector<ClassAmount> amounts;   // of each account
    std::set<size_t> doubtful_classes;  // size classes in which two ways to divide them differ
    // Of each size class: what no stack can be given.
    std::array<ClassAmount, kSpanSizeClasses> unsampled{};
  };
  InUse in_use() const;
  // Both, as of the last event: several questions are asked of one moment, and each answer takes all accounts.
  struct Division {
    std::vector<ClassAmount> allocated;  // of each account
    std::array<ClassAmount, kSpanSizeClasses>
        unsampled{};  // allocated, of each size class: what no stack is given
    InUse held;
  };
  void reconcile(Division& division) const;
  const Division& division() const;
  // What is known of one holder in a class that windows have counted.
  struct LivingHolder {
    Holder holder;
    std::optional<double>
        own_part;  // of what it has opened, as windows have it; nullopt: they know nothing of it
    std::vector<Moment> moments;
  };
  // What each holder has opened and allocated in a segment of the timeline, and how much lives of that in its own runs.
  void add_moments(uint32_t span_class, const ClassTimeline::Segment& segment, const ClassMixture& mixture,
                   std::vector<LivingHolder>& holders) const;
  // By place in the class, of the account that shows what the holder has.
  std::vector<LivingHolder> holders_of(uint32_t span_class, const ClassMixture& mixture) const;
  double divide_in_use_of(size_t size_class, std::vector<ClassAmount>& in_use) const;
  bool is_resolved(uint32_t span_class) const;
  // Of all classes: allocated since the first reading, and of that in use.
  double allocated_bytes() const;
  double held_bytes() const;
  std::map<uint32_t, double> weights_of_classes() const;
  // Together they have a hundredth of what was allocated, or of what is in use.
  bool matter(const std::vector<uint32_t>& span_classes) const;
  // Allocated since the first reading: what no stack is given.
  ClassAmount unsampled(size_t size_class) const;
  // Of that, what no sample will ever stand for.
  ClassAmount out_of_reach(size_t size_class) const;
  std::array<ClassAmount, model::kAllocationKinds> by_kind() const;
  std::vector<uint32_t> unresolved_among(const std::vector<uint32_t>& shared) const;
  void add_comments(RawSnapshot& snapshot, size_t shared_classes, size_t unresolved_classes,
                    size_t doubtful_classes) const;
  void comment_on_division(RawSnapshot& snapshot) const;

  SpanClasses classes_;
  OldObjects old_;
  SamplingReach reach_;
  std::array<double, kSpanSizeClasses> divisible_before_{};  // to_divide() at the last reading, bytes
  std::deque<FreshRun> fresh_;
  uint64_t admitted_ = 0;  // id of the first of these
  uint32_t stretches_ = 0;
  bool recording_ = true;
  bool was_paused_ = false;  // and no sample has said since that none of the time is left out
  std::array<ClassBook, kSpanSizeClasses> books_{};
  // What another source has counted since the first reading, and what it and the runtime had counted at the last one.
  std::array<ClassAmount, kSpanSizeClasses> elsewhere_{};
  std::array<ClassAmount, kSpanSizeClasses> counted_before_{};
  std::array<ClassAmount, kSpanSizeClasses> allocated_before_{};
  bool counts_elsewhere_ = false;
  bool all_counted_ = false;  // from before the first reading on
  // As of the last reading: allocated by account, and in classes without samples.
  std::vector<ClassAmount> counted_;
  std::array<ClassAmount, kSpanSizeClasses> counted_unsampled_{};
  std::vector<Account> accounts_;
  std::unordered_map<uint64_t, uint32_t> account_ids_;  // by hash of stack and span class
  std::map<uint32_t, std::vector<uint32_t>> class_accounts_;
  StackOrigins origins_;
  std::map<uint32_t, Measured> measured_;          // by span class
  std::unordered_map<uint64_t, uint32_t> owners_;  // accounts by owner_key()
  std::unordered_map<uint64_t, Name> names_;       // by hash of the stack
  std::vector<std::pair<uint64_t, StackPtr>> unnamed_;
  std::map<uint32_t, ClassTimeline> timelines_;  // by span class
  struct Death {
    uint32_t account = 0;
    uint64_t place_ns = 0;
    double bytes = 0;
  };
  std::vector<Death> unsummed_deaths_;  // since in-use values are what they are
  Runs live_;
  Runs dying_;                                // found dead by the last reading: a cut may still be on its way
  mutable std::optional<Division> division_;  // none: something has changed since it was asked for
  uint64_t mean_distance_ = 0;
  uint32_t sweepgen_ = 0;
  uint32_t in_use_sweepgen_ = 0;  // of the cycle whose in-use values the accounts have
  double slice_weight_ = 1;       // how many times its own time the last sample stands for
  double mean_cycles_ = 0;        // so many cycles are in what the accounts have in use
  double part_of_mean_ = 1;       // of them, the last
  uint64_t mean_ns_ = 0;          // when it was the last's
  uint64_t finished_ns_ = 0;      // 0: the process lives
  bool in_use_measured_ = false;  // ever, by the counters
  bool from_before_measured_ = false;
  uint64_t reading_ns_ = 0;  // end of the last one

  uint64_t windows_ = 0;
  uint64_t periods_ = 0;
  double unmatched_window_objects_ = 0;
  uint64_t births_ = 0;
  uint64_t deaths_ = 0;
  uint64_t missed_cycles_ = 0;
  uint64_t lost_verdicts_ = 0;
  double recent_due_ = 0;
  double recent_lost_ = 0;
  uint64_t untracked_runs_ = 0;
  uint64_t reported_untracked_runs_ = 0;
  uint64_t truncated_stacks_ = 0;
};

}  // namespace goheapd::profile
