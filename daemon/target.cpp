#include "daemon/target.h"

#include <algorithm>
#include <cstdlib>
#include <numeric>
#include <unordered_map>
#include <utility>

#include "daemon/base/clock.h"
#include "daemon/growing_counters.h"

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
// What the probes take is looked at so often; where every allocation or every span hits one, it can become too much in no
// time.
constexpr uint64_t kCostLook = 500 * kMillisecond;
constexpr uint64_t kCostLookWhenSpans = 100 * kMillisecond;
constexpr uint64_t kCostLookWhenExact = 40 * kMillisecond;

// A period of counting: long enough to be worth while, short beside the phases of a program.
constexpr uint64_t kCountingPeriod = 100 * kMillisecond;
// Of thousands of stacks it takes us milliseconds: at most 1/20 of the time.
constexpr uint64_t kCountingDutyFactor = 20;

// The clock may have been set: then a moment has another name than it had, and its neighbours in logs have, too. What is
// less than a second is the distance of two looks at two clocks.
void follow_wall_clock(int64_t& wall_ns, int64_t boot_ns) {
  const int64_t now_called = wall_time_of_boot(boot_ns);
  if (std::abs(now_called - wall_ns) > static_cast<int64_t>(1000 * kMillisecond)) wall_ns = now_called;
}

}  // namespace

size_t sites_within(size_t wanted, size_t used) {
  constexpr size_t kShare = 20;  // of what is left
  const size_t left = kMaxSitesOfAll - std::min(used, kMaxSitesOfAll);
  return std::min(wanted, std::max<size_t>(1, left / kShare));
}

Target::Target(model::TargetStatus status, size_t top_sites)
    : status_(std::move(status)), most_sites_(top_sites), board_(top_sites) {}

void Target::start(std::shared_ptr<const gobin::GoBinary> binary, uint64_t load_bias,
                   std::shared_ptr<TargetReader> reader, model::Mode mode, bool has_probes,
                   model::Mode asked_mode) {
  asked_mode_ = asked_mode;
  binary_ = std::move(binary);
  load_bias_ = load_bias;
  reader_ = std::move(reader);
  status_.mode = mode;
  status_.state = model::TargetState::attached;
  attached_boot_ns_ = boot_time_ns();
  status_.attached_wall_ns = wall_time_of_boot(attached_boot_ns_);
  if (has_probes && binary_) gc_.expect_stops(binary_->layout().minor);
  // A target may have been profiled in another mode or from another source before.
  update_counters();
  earlier_bytes_ = shown_bytes_;
  earlier_objects_ = shown_objects_;
  static_cast<void>(board_.update(sites()));  // what the old books have taken in since they were last asked
  board_.begin_books();
  earlier_hits_ = status_.probe_hits;
  earlier_probe_ns_ = status_.probe_cpu_ns;
  if (buckets_) earlier_settled_objects_ += buckets_->settled_objects();
  ++books_;
  buckets_.reset();
  exact_.reset();
  spans_.reset();
  governor_.reset();
  gc_.set_events_come(has_probes);
  if (mode == model::Mode::exact) {
    exact_.emplace();
    status_.sample_rate = 1;
  } else {
    buckets_.emplace(has_probes);
    status_.has_live = true;
    if (mode == model::Mode::sampled && status_.source.empty()) status_.source = "runtime";
  }
}

void Target::follow_spans(std::shared_ptr<SpanReader> reader) {
  buckets_.reset();
  spans_.emplace(std::move(reader));
  status_.source = "spans";
}

void Target::on(model::SpanRunOpened run) {
  ++status_.samples;
  if (!spans_) return;
  const bool in_slices = governor_ && governor_->level() == probe::Level::slices;
  spans_->ledger().on_opened(std::move(run), in_slices ? governor_->slices().weight() : 1);
}

void Target::on(const model::SpanRunCut& cut) {
  if (spans_) spans_->ledger().on_cut(cut);
}

void Target::set_state(model::TargetState state, std::string reason) {
  status_.state = state;
  status_.reason = std::move(reason);
  if (!is_live()) program_ = {};  // an open file keeps its file system busy
}

void Target::set_status(model::TargetStatus status) {
  status.samples = status_.samples;
  status.mode_changes = status_.mode_changes;
  status.probe_hits = status_.probe_hits;
  status.probe_cpu_ns = status_.probe_cpu_ns;
  status_ = std::move(status);
  if (!is_live()) program_ = {};
}

void Target::mark_exited(int64_t wall_ns, uint64_t kernel_ns) {
  fill_level();
  level_comments_ = level_comments();
  set_state(model::TargetState::exited,
            "the process has exited; its last profile is kept for as long as exited-retention says");
  status_.exited_wall_ns = wall_ns;
  exited_boot_ns_ = boot_time_ns();
  exited_ns_ = kernel_ns;
  status_.alloc_bytes_per_second = 0;
  reader_.reset();
  statistics_.reset();
  if (!spans_) return;
  spans_->release_reader();
  spans_->ledger().finish(kernel_ns);
}

size_t Target::stacks() const {
  return (buckets_ ? buckets_->stacks() : 0) + (spans_ ? spans_->ledger().stacks() : 0) +
         (exact_ ? exact_->stacks() : 0);
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

void Target::on(const model::GcProfileFlush& flush) {
  reading_wanted_ = true;
  if (spans_) spans_->on(flush);
  gc_.on(flush);
}

void Target::on(const model::GcCycleMemory& memory) {
  if (!binary_ || !gc_.on(memory, binary_->layout())) return;
  if (spans_) spans_->ledger().on_marked(gc_.history().cycles().back());
}

void Target::on(const model::WorldStop& stop) {
  if (binary_) gc_.on(stop, binary_->layout());
}

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
  const uint32_t cycles = reading.gc.cycles;
  gc_.apply(reading.gc);
  buckets_->apply(std::move(reading.buckets), reading.new_sites);
  if (reader_) reader_->adopted(reading.described_buckets, cycles);
}

void Target::apply(const profile::SpanReading& reading) {
  profile::CountedElsewhere counted;
  if (exact_) counted.amounts = exact_->by_size_class();
  counted.all = is_exact() && counting_since_ns_ <= spans_->ledger().reading_ns();
  const uint64_t deaths = spans_->ledger().deaths();
  spans_->apply(reading, counted);
  // Each cycle begins to sweep once: https://github.com/golang/go/blob/go1.24.4/src/runtime/mgc.go#L1684
  gc_.note_cycles(reading.liveness.sweepgen / 2);
  status_.samples += spans_->ledger().deaths() - deaths;
}

void Target::apply(std::vector<model::ExactCount> counts) {
  if (!exact_) return;
  const uint64_t before = exact_->objects();
  exact_->apply(std::move(counts));
  status_.samples += exact_->objects() - std::min(before, exact_->objects());
  if (is_exact() && kernel_time_ns() >= next_period_ns_) divide_as_counted();
}

// Source spans sees who opens runs only; the counts, who uses them.
void Target::divide_as_counted() {
  if (!spans_) return;
  const uint64_t begin = kernel_time_ns();
  spans_->ledger().add_period(exact_->take_window(begin));
  const uint64_t end = kernel_time_ns();
  next_period_ns_ = end + std::max(kCountingPeriod, kCountingDutyFactor * (end - begin));
}

bool Target::cost_look_due(uint64_t now_ns) const {
  if (!is_live() || !governor_) return false;
  return now_ns - cost_look_ns_ >= (is_exact() ? kCostLookWhenExact
                                    : spans_   ? kCostLookWhenSpans
                                               : kCostLook);
}

void Target::note_cost(uint64_t now_ns, uint64_t hits, uint64_t probe_ns) {
  cost_look_ns_ = now_ns;
  status_.probe_hits = earlier_hits_ + hits;
  status_.probe_cpu_ns = earlier_probe_ns_ + probe_ns;
  status_.overhead_ratio = governor_ ? governor_->overhead_ratio() : 0;
}

void Target::begin_counting() {
  exact_.emplace();
  count_elsewhere(true);
  status_.mode = model::Mode::exact;
}

// The counts have, or have not, what is allocated from now on.
void Target::count_elsewhere(bool elsewhere) {
  counting_since_ns_ = kernel_time_ns();
  next_period_ns_ = counting_since_ns_ + kCountingPeriod;
  if (buckets_) buckets_->set_alloc_counted_elsewhere(elsewhere);
  if (spans_) spans_->ledger().set_alloc_counted_elsewhere(elsewhere);
}

void Target::set_level(probe::Level level, const std::string& why) {
  if (!buckets_ && !spans_) return;
  const bool was_exact = is_exact();
  const bool exact = level == probe::Level::exact;
  if (exact && !exact_) exact_.emplace();
  if (was_exact && !exact) {
    divide_as_counted();
    exact_->end_period();
  }
  if (exact != was_exact) count_elsewhere(exact);
  if (buckets_) buckets_->set_has_events(level > probe::Level::buckets);
  gc_.set_events_come(level > probe::Level::none);
  // Without records in the runtime there is no mode buckets: sampling pauses.
  status_.mode = exact                                        ? model::Mode::exact
                 : level > probe::Level::buckets || !buckets_ ? model::Mode::sampled
                                                              : model::Mode::buckets;
  ++status_.mode_changes;
  status_.reason = why;
}

// The mode does not tell whether samples are taken all the time.
void Target::fill_level() {
  if (state() == model::TargetState::exited) return;  // as it was last
  status_.sampled_share = 1;
  status_.level = governor_ && is_live() ? probe::name_of(governor_->level()) : std::string_view();
  status_.overhead_limit = governor_ && is_live() ? std::optional(governor_->limit()) : std::nullopt;
  if (spans_)
    status_.sample_rate = spans_->mean_distance(governor_ ? governor_->level() : probe::Level::sampled);
  if (status_.level.empty()) return;
  if (governor_->level() < probe::Level::slices && spans_) status_.sampled_share = 0;
  if (governor_->level() == probe::Level::slices)
    status_.sampled_share = governor_->slices().sampled_share(kernel_time_ns());
}

std::vector<std::pair<uint64_t, profile::StackPtr>> Target::take_unnamed_stacks() {
  return exact_ ? exact_->take_unnamed_stacks() : std::vector<std::pair<uint64_t, profile::StackPtr>>{};
}

void Target::name_stack(uint64_t stack_hash, model::AllocationKind kind, const std::string& function) {
  if (exact_) exact_->name_stack(stack_hash, kind, function);
}

bool Target::reading_due(uint64_t now_ns) const {
  if (spans_) return is_live() && spans_->reading_due(now_ns);
  if (!is_live() || !buckets_ || !reader_ || reading_in_flight_ || now_ns < next_reading_ns_) return false;
  return reading_wanted_ || now_ns >= last_reading_ns_ + kMaxReadingAge;
}

void Target::reading_failed(uint64_t now_ns) {
  reading_in_flight_ = false;
  next_reading_ns_ = now_ns + kMinReadingGap;
}

void Target::update_counters() {
  std::array<double, model::kAllocationKinds> bytes{};
  std::array<double, model::kAllocationKinds> objects{};
  if (buckets_) {
    bytes = buckets_->alloc_bytes();
    objects = buckets_->alloc_objects();
  } else if (spans_) {
    bytes = spans_->ledger().alloc_bytes();
    objects = spans_->ledger().alloc_objects();
  }
  if (exact_) {
    const auto counted_bytes = exact_->alloc_bytes();
    const auto counted_objects = exact_->alloc_objects();
    for (size_t kind = 0; kind < model::kAllocationKinds; ++kind) {
      bytes[kind] += counted_bytes[kind];
      objects[kind] += counted_objects[kind];
    }
  }
  for (size_t kind = 0; kind < model::kAllocationKinds; ++kind) {
    bytes[kind] += earlier_bytes_[kind];
    objects[kind] += earlier_objects_[kind];
  }
  grow_counters(shown_bytes_, bytes);
  grow_counters(shown_objects_, objects);
}

void Target::tick(uint64_t now_ns) {
  if (!is_live()) {
    status_.alloc_bytes_per_second = 0;
    return;
  }
  update_counters();
  // What runs of spans have allocated is known as of the last reading.
  const uint64_t time_ns = spans_ && !is_exact() ? spans_->ledger().reading_ns() : now_ns;
  rate_.observe(time_ns, std::accumulate(shown_bytes_.begin(), shown_bytes_.end(), 0.0), status_.samples);
  status_.alloc_bytes_per_second = rate_.bytes_per_second();
}

// One row per function.
std::vector<profile::SiteTotals> Target::sites() const {
  std::vector<profile::SiteTotals> sites;
  if (buckets_) sites = buckets_->sites();
  if (spans_) sites = spans_->ledger().sites();
  if (!exact_) return sites;
  std::unordered_map<std::string, size_t> rows;
  for (size_t i = 0; i < sites.size(); ++i) rows.emplace(sites[i].function, i);
  for (profile::SiteTotals& counted : exact_->sites()) {
    const auto [row, inserted] = rows.try_emplace(counted.function, sites.size());
    if (inserted) {
      sites.push_back(std::move(counted));
    } else {
      sites[row->second].alloc_bytes += counted.alloc_bytes;
    }
  }
  return sites;
}

model::TargetStatus Target::status() {
  if (frozen_) return status_;
  if (status_.started_wall_ns != 0)
    follow_wall_clock(status_.started_wall_ns, boot_time_of_ticks(key().start_time));
  if (status_.attached_wall_ns != 0) follow_wall_clock(status_.attached_wall_ns, attached_boot_ns_);
  update_counters();
  fill_level();
  gc_.fill(status_);
  status_.alloc_bytes = shown_bytes_;
  status_.alloc_objects = shown_objects_;
  status_.settled_objects = earlier_settled_objects_ + (buckets_ ? buckets_->settled_objects() : 0);
  if (buckets_) {
    status_.live_bytes = buckets_->live_bytes();
    status_.live_objects = buckets_->live_objects();
  } else if (spans_) {
    const profile::SpanLedger& ledger = spans_->ledger();
    status_.live_bytes = ledger.live_bytes();
    status_.live_objects = ledger.live_objects();
    status_.gc_cycles = std::max<uint64_t>(status_.gc_cycles, ledger.sweepgen() / 2);
    status_.uncertain_sites = ledger.uncertain_sites();
    status_.verdicts = {ledger.missed_cycles(), ledger.lost_verdicts(), !ledger.inuse_is_unreliable()};
  }
  status_.top_sites = board_.update(sites());
  // Books that nothing can change any more are not added up for each who asks.
  frozen_ = status_.state == model::TargetState::exited && !(spans_ && spans_->reading_in_flight());
  return status_;
}

}  // namespace goheapd
