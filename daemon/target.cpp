#include "daemon/target.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "daemon/base/clock.h"

namespace goheapd {
namespace {

constexpr uint64_t kMillisecond = 1'000'000;
// Buckets are read again at least this often ...
constexpr uint64_t kMaxReadingAge = 10'000 * kMillisecond;
// ... and at most this often, however fast the program collects: a reading of many buckets costs us milliseconds,
// and every request for a profile reads afresh anyway.
constexpr uint64_t kMinReadingGap = 100 * kMillisecond;
// A reading may keep us busy for at most 1/50 of the time.
constexpr uint64_t kReadingDutyFactor = 50;
constexpr uint64_t kRateWindow = 2'000 * kMillisecond;
constexpr uint64_t kMinCostCpuNs = 100 * kMillisecond;

}  // namespace

Target::Target(model::TargetStatus status, size_t top_sites)
    : status_(std::move(status)), board_(top_sites) {}

void Target::start(std::shared_ptr<const gobin::GoBinary> binary, uint64_t load_bias,
                   std::shared_ptr<TargetReader> reader, model::Mode mode, bool has_probes) {
  binary_ = std::move(binary);
  load_bias_ = load_bias;
  reader_ = std::move(reader);
  status_.mode = mode;
  status_.state = model::TargetState::attached;
  status_.attached_wall_ns = wall_time_ns();
  // A target may have been profiled in another mode before.
  buckets_.reset();
  exact_.reset();
  if (mode == model::Mode::exact) {
    exact_.emplace();
    status_.sample_rate = 1;
  } else {
    buckets_.emplace(has_probes);
    status_.has_live = true;
    if (mode == model::Mode::sampled) status_.source = "runtime";
  }
}

void Target::set_state(model::TargetState state, std::string reason) {
  status_.state = state;
  status_.reason = std::move(reason);
}

void Target::mark_exited(int64_t wall_ns) {
  set_state(model::TargetState::exited, "the process has exited; its last profile is kept for 10 minutes");
  status_.exited_wall_ns = wall_ns;
  reader_.reset();
  statistics_.reset();
}

void Target::on(const model::SampledBirth& birth) {
  ++status_.samples;
  if (!buckets_) return;
  buckets_->on_birth(birth);
  if (buckets_->has_unknown_buckets()) reading_wanted_ = true;
}

void Target::on(const model::SampledDeath& death) {
  ++status_.samples;
  if (buckets_) buckets_->on_death(death);
}

void Target::on(const model::GcProfileFlush&) { reading_wanted_ = true; }

void Target::on(model::ExactStack stack) {
  if (exact_) exact_->on_stack(std::move(stack));
}

void Target::apply(TargetReading reading) {
  reading_in_flight_ = false;
  if (!buckets_) return;
  const uint64_t duration = reading.buckets.end_ns - reading.buckets.begin_ns;
  last_reading_ns_ = std::max(last_reading_ns_, reading.buckets.end_ns);
  next_reading_ns_ = last_reading_ns_ + std::max(kMinReadingGap, kReadingDutyFactor * duration);
  reading_wanted_ = false;
  if (!reading.buckets.consistent) ++torn_readings_;
  status_.sample_rate = reading.buckets.sample_rate;
  for (const uint64_t pause : reading.gc.new_pauses_ns) {
    const double seconds = static_cast<double>(pause) * 1e-9;
    const auto bound =
        std::lower_bound(model::kGcPauseBoundsSeconds.begin(), model::kGcPauseBoundsSeconds.end(), seconds);
    for (auto i = static_cast<size_t>(bound - model::kGcPauseBoundsSeconds.begin());
         i < status_.gc_pause_buckets.size(); ++i) {
      ++status_.gc_pause_buckets[i];
    }
    status_.gc_pause_sum_seconds += seconds;
  }
  status_.gc_cycles = std::max<uint64_t>(status_.gc_cycles, reading.gc.cycles);
  buckets_->apply(std::move(reading.buckets), reading.new_sites);
}

void Target::apply(const model::LiveSampleReading& reading) {
  if (buckets_) buckets_->apply(reading);
}

void Target::apply(std::vector<model::ExactCount> counts) {
  if (!exact_) return;
  exact_->apply(std::move(counts));
  status_.samples = exact_->objects();
}

void Target::note_cost(uint64_t hits, uint64_t cpu_ns, double hit_cost_ns) {
  status_.probe_hits = hits;
  // CPU time comes in ticks of 10 ms: below a tenth of a second the ratio would be noise.
  if (cpu_ns < cost_cpu_ns_ + kMinCostCpuNs) return;
  status_.overhead_ratio =
      static_cast<double>(hits - cost_hits_) * hit_cost_ns / static_cast<double>(cpu_ns - cost_cpu_ns_);
  cost_hits_ = hits;
  cost_cpu_ns_ = cpu_ns;
}

std::vector<std::pair<uint64_t, profile::StackPtr>> Target::take_unnamed_stacks() {
  return exact_ ? exact_->take_unnamed_stacks() : std::vector<std::pair<uint64_t, profile::StackPtr>>{};
}

void Target::name_stack(uint64_t stack_hash, model::AllocationKind kind, const std::string& function) {
  if (exact_) exact_->name_stack(stack_hash, kind, function);
}

bool Target::reading_due(uint64_t now_ns) const {
  if (!is_live() || !buckets_ || !reader_ || reading_in_flight_ || now_ns < next_reading_ns_) return false;
  return reading_wanted_ || now_ns >= last_reading_ns_ + kMaxReadingAge;
}

void Target::reading_failed(uint64_t now_ns) {
  reading_in_flight_ = false;
  next_reading_ns_ = now_ns + kMinReadingGap;
}

std::shared_ptr<const profile::RawSnapshot> Target::snapshot(const std::vector<std::string>& comments) const {
  auto snapshot = std::make_shared<profile::RawSnapshot>();
  snapshot->process = status_.process;
  snapshot->comm = status_.comm;
  snapshot->exe = status_.exe;
  snapshot->mode = model::name_of(status_.mode);
  snapshot->source = status_.source;
  snapshot->end_wall_ns = status_.exited_wall_ns != 0 ? status_.exited_wall_ns : wall_time_ns();
  if (exact_) {
    snapshot->start_wall_ns = status_.attached_wall_ns;
    exact_->fill(*snapshot);
    snapshot->comments.emplace_back("counts every allocation since goheapd attached");
    if (const uint64_t objects = exact_->objects_without_stack(); objects != 0) {
      snapshot->comments.push_back(std::to_string(objects) + " objects have no stack: its record was lost");
    }
    if (exact_->truncated_stacks() != 0) {
      snapshot->comments.push_back(std::to_string(exact_->truncated_stacks()) +
                                   " stacks are truncated at 127 frames");
    }
  } else if (buckets_) {
    snapshot->start_wall_ns = status_.started_wall_ns;
    buckets_->fill(*snapshot);
    if (!buckets_->last_reading_consistent()) {
      snapshot->comments.emplace_back(
          "the runtime changed its records while they were read; a few may be one GC cycle apart");
    }
    if (!is_live()) {
      // No GC will publish any more what was allocated last.
      for (profile::RawSample& sample : snapshot->samples) {
        sample.published.alloc_objects = sample.now_alloc_objects;
        sample.published.alloc_bytes = sample.now_alloc_bytes;
      }
      snapshot->comments.emplace_back(
          "the process has exited; inuse as of its last completed GC cycle that was read");
    }
    if (buckets_->settled_objects() != 0) {
      snapshot->comments.push_back(
          std::to_string(buckets_->settled_objects()) +
          " sampled objects where events and the runtime's records differed were settled for the records");
    }
  }
  if (!status_.pod.empty()) {
    std::string where = "pod " + status_.namespace_name + "/" + status_.pod;
    if (!status_.container.empty()) where += ", container " + status_.container;
    if (const auto& facts = status_.pod_facts; facts && !facts->workload.name.empty()) {
      where += ", " + facts->workload.kind + " " + facts->workload.name;
    }
    snapshot->comments.push_back(std::move(where));
  }
  snapshot->comments.insert(snapshot->comments.end(), comments.begin(), comments.end());
  return snapshot;
}

void Target::update_counters() {
  const auto bytes = buckets_ ? buckets_->alloc_bytes() : exact_ ? exact_->alloc_bytes() : shown_bytes_;
  const auto objects = buckets_ ? buckets_->alloc_objects()
                       : exact_ ? exact_->alloc_objects()
                                : shown_objects_;
  for (size_t kind = 0; kind < model::kAllocationKinds; ++kind) {
    shown_bytes_[kind] = std::max(shown_bytes_[kind], bytes[kind]);
    shown_objects_[kind] = std::max(shown_objects_[kind], objects[kind]);
  }
}

void Target::tick(uint64_t now_ns) {
  if (!is_live()) {
    status_.alloc_bytes_per_second = 0;
    return;
  }
  if (rate_time_ns_ != 0 && now_ns - rate_time_ns_ < kRateWindow) return;
  update_counters();
  const double total = std::accumulate(shown_bytes_.begin(), shown_bytes_.end(), 0.0);
  if (rate_time_ns_ != 0) {
    status_.alloc_bytes_per_second =
        (total - rate_total_) / (static_cast<double>(now_ns - rate_time_ns_) * 1e-9);
  }
  rate_time_ns_ = now_ns;
  rate_total_ = total;
}

model::TargetStatus Target::status() {
  update_counters();
  status_.alloc_bytes = shown_bytes_;
  status_.alloc_objects = shown_objects_;
  if (buckets_) {
    status_.live_bytes = buckets_->live_bytes();
    status_.live_objects = buckets_->live_objects();
    status_.settled_objects = buckets_->settled_objects();
    status_.top_sites = board_.update(buckets_->sites());
  } else if (exact_) {
    status_.top_sites = board_.update(exact_->sites());
  }
  return status_;
}

}  // namespace goheapd
