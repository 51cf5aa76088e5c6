// The state of one Go process as the owner thread keeps it: its books and what users are told about it.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "daemon/gobin/go_binary.h"
#include "daemon/model/event.h"
#include "daemon/model/target.h"
#include "daemon/pod_policy.h"
#include "daemon/probe/attach_request.h"
#include "daemon/probe/governor.h"
#include "daemon/profile/allocation_rate.h"
#include "daemon/profile/bucket_ledger.h"
#include "daemon/profile/exact_ledger.h"
#include "daemon/profile/site_board.h"
#include "daemon/span_source.h"
#include "daemon/target_gc.h"
#include "daemon/target_reader.h"
#include "daemon/target_statistics.h"

namespace goheapd {

// All targets together show at most about so many call sites in metrics, however many targets there are. (At most one more
// for each target beyond.)
inline constexpr size_t kMaxSitesOfAll = 4000;
// How many a new target may show that would like `wanted`, when others show `used`: from a full table on ever fewer. It
// stays so for its life, since a site that leaves the table would make the counter "other" jump.
size_t sites_within(size_t wanted, size_t used);

// One target; owner thread only, except for the shared_ptrs it hands out.
class Target {
 public:
  Target(model::TargetStatus status, size_t top_sites);

  const model::ProcessKey& key() const { return status_.process; }
  pid_t pid() const { return status_.process.pid; }
  model::TargetState state() const { return status_.state; }
  const std::string& reason() const { return status_.reason; }
  model::Mode mode() const { return status_.mode; }
  const std::string& program_path() const { return status_.program_path; }
  const std::string& pod_uid() const { return status_.pod_uid; }
  const std::string& container_id() const { return status_.container_id; }
  size_t most_sites() const { return most_sites_; }
  double overhead_ratio() const { return status_.overhead_ratio; }
  // Every allocation is being counted.
  bool is_exact() const { return exact_ && status_.mode == model::Mode::exact; }
  // What the operator asked for, which in mode auto is not the present mode.
  model::Mode asked_mode() const { return asked_mode_; }
  bool is_live() const { return status_.state == model::TargetState::attached; }

  // The target is being profiled from now on; if it was before, from another source, its counters go on. `reader` may be
  // null in exact mode.
  void start(std::shared_ptr<const gobin::GoBinary> binary, uint64_t load_bias,
             std::shared_ptr<TargetReader> reader, model::Mode mode, bool has_probes, model::Mode asked_mode);
  // The file that it runs: all probes that it gets while it is attached go into this one.
  void keep_program(probe::RunningFile program) { program_ = std::move(program); }
  const probe::RunningFile& program() const { return program_; }
  // Keeps watch over what the probes take; without levels to choose from it only measures.
  void govern(probe::Governor governor) { governor_.emplace(std::move(governor)); }
  // Null: nothing is measured, since there are no probes.
  probe::Governor* governor() { return governor_ ? &*governor_ : nullptr; }
  probe::ProgramTime& program_time() { return program_time_; }
  bool cost_look_due(uint64_t now_ns) const;
  // Both since the probes were put in.
  void note_cost(uint64_t now_ns, uint64_t hits, uint64_t probe_ns);
  // The probes have been changed to this level; `why` in words. What is counted stays right across the change: each
  // allocation counts in the books of the level at which it was made.
  void set_level(probe::Level level, const std::string& why);
  // Mode exact from the start, beside the sampled live heap.
  void begin_counting();
  // Its runtime does not sample: from now on the profile is made of runs of span classes.
  void follow_spans(std::shared_ptr<SpanReader> reader);
  // Null: the profile comes from elsewhere.
  SpanSource* spans() { return spans_ ? &*spans_ : nullptr; }
  const SpanSource* spans() const { return spans_ ? &*spans_ : nullptr; }
  void set_state(model::TargetState state, std::string reason);
  // What a new look at a process that is not attached brought.
  void set_status(model::TargetStatus status);
  void set_pod(const PodContext& pod) { describe_pod(pod, status_); }
  // Not attached, but a later look may find that it can be.
  bool may_change() const {
    return status_.state == model::TargetState::unsupported || status_.state == model::TargetState::failed;
  }
  bool has_profile() const {
    return binary_ != nullptr &&
           (exact_ || (buckets_ && buckets_->has_reading()) || (spans_ && spans_->ledger().has_reading()));
  }
  // Samples whose stacks only the process knows, as its records have not been read since.
  uint64_t unread_samples() const { return buckets_ ? buckets_->unknown_births() : 0; }
  // The runtime's own records are the books, so a profile begins with reading them.
  bool reads_records() const { return buckets_.has_value(); }
  // By the clock that nobody can set: `kernel_ns` is kernel_time_ns().
  uint64_t exited_ns() const { return exited_ns_; }
  // Keeps the books and nothing that refers to the process.
  void mark_exited(int64_t wall_ns, uint64_t kernel_ns);
  // How many stacks the books have, which is what their memory goes to.
  size_t stacks() const;

  // Events of the probes.
  void on(const model::SampledBirth& birth);
  void on(const model::SampledDeath& death);
  void on(const model::GcProfileFlush& flush);
  void on(model::SpanRunOpened run);
  void on(const model::SpanRunCut& cut);
  void on(const model::GcCycleMemory& memory);
  void on(const model::GcLeakCheck& check) { gc_.on(check); }
  void on(const model::WorldStop& stop);
  void on(model::ExactStack stack);

  void apply(TargetReading reading);
  // Pauses that no reading and no event has told of, since this was last asked.
  uint64_t take_lost_pauses() { return gc_.take_lost_pauses(); }
  // Of source spans. In mode exact all counts up to now must have been taken in before.
  void apply(const profile::SpanReading& reading);
  void apply(std::vector<model::ExactCount> counts);
  // Names for stacks of exact mode, found by a worker.
  std::vector<std::pair<uint64_t, profile::StackPtr>> take_unnamed_stacks();
  void name_stack(uint64_t stack_hash, model::AllocationKind kind, const std::string& function);

  // Readings: when the next one is due, by GC cycles, unknown buckets and age.
  bool reading_due(uint64_t now_ns) const;
  void reading_started() { reading_in_flight_ = true; }
  void reading_failed(uint64_t now_ns);

  const std::shared_ptr<const gobin::GoBinary>& binary() const { return binary_; }
  const std::shared_ptr<TargetReader>& reader() const { return reader_; }
  // Null until somebody has asked for statistics.
  const std::shared_ptr<TargetStatistics>& statistics() const { return statistics_; }
  void keep_statistics(std::shared_ptr<TargetStatistics> statistics) { statistics_ = std::move(statistics); }
  uint64_t load_bias() const { return load_bias_; }

  model::GcLog gc_log() const { return gc_.log(); }

  // The profile as of the last reading and the events since.
  std::shared_ptr<const profile::RawSnapshot> snapshot(const std::vector<std::string>& comments) const;
  model::TargetStatus status();
  // Keeps the allocation rate up to date; to be called about every second.
  void tick(uint64_t now_ns);

 private:
  void update_counters();
  void fill_level();
  std::vector<std::string> level_comments() const;
  std::vector<profile::SiteTotals> sites() const;
  void fill_from_buckets(profile::RawSnapshot& snapshot) const;
  void count_elsewhere(bool elsewhere);
  void divide_as_counted();
  void add_counts(profile::RawSnapshot& snapshot) const;
  void leave_alloc_to_counts(profile::RawSnapshot& snapshot) const;
  void fill_from_counts(profile::RawSnapshot& snapshot) const;

  model::TargetStatus status_;
  std::shared_ptr<const gobin::GoBinary> binary_;
  uint64_t load_bias_ = 0;
  uint32_t books_ = 0;          // how often they have been begun
  probe::RunningFile program_;  // empty unless it is attached
  std::shared_ptr<TargetReader> reader_;
  std::shared_ptr<TargetStatistics> statistics_;
  std::optional<profile::BucketLedger> buckets_;
  std::optional<profile::ExactLedger> exact_;
  std::optional<SpanSource> spans_;
  TargetGc gc_;
  size_t most_sites_;
  profile::SiteBoard board_;
  std::array<double, model::kAllocationKinds> shown_bytes_{};  // counters as last shown: they never fall
  std::array<double, model::kAllocationKinds> shown_objects_{};
  std::array<double, model::kAllocationKinds> earlier_bytes_{};  // of them, by the books of an earlier source
  std::array<double, model::kAllocationKinds> earlier_objects_{};
  uint64_t earlier_hits_ = 0;  // the same of probes that were taken out
  uint64_t earlier_probe_ns_ = 0;
  uint64_t earlier_settled_objects_ = 0;

  uint64_t exited_ns_ = 0;
  int64_t attached_boot_ns_ = 0;             // } as status_ tells them by the wall clock
  int64_t exited_boot_ns_ = 0;               // }
  std::vector<std::string> level_comments_;  // the last ones, once it has exited
  bool frozen_ = false;                      // exited, and status_ is its last status
  bool reading_in_flight_ = false;
  bool reading_wanted_ = false;   // a GC cycle ended or a bucket is unknown
  uint64_t next_reading_ns_ = 0;  // not before
  uint64_t last_reading_ns_ = 0;
  uint64_t torn_readings_ = 0;

  model::Mode asked_mode_ = model::Mode::automatic;
  uint64_t counting_since_ns_ = 0;  // in mode exact, beside another source
  uint64_t next_period_ns_ = 0;     // of counting, after which source spans is told of it; not before
  std::optional<probe::Governor> governor_;
  probe::ProgramTime program_time_;
  uint64_t cost_look_ns_ = 0;  // the last one
  profile::AllocationRate rate_;
};

}  // namespace goheapd
