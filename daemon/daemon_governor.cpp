// Mode auto: what the governors of targets decide is done to their probes here. Owner thread.
#include <spdlog/spdlog.h>

#include <algorithm>

#include "daemon/all_or_none.h"
#include "daemon/base/clock.h"
#include "daemon/daemon.h"
#include "daemon/probe_points.h"

namespace goheapd {
namespace {

using probe::Level;
using probe::ProbeGroup;
using probe::ProbeGroups;

// Of many targets that all want other probes, some wait for the next round, lest nothing else be done meanwhile.
constexpr uint64_t kLongestTurnNs = 200'000'000;

// So many times the budget is a storm.
constexpr double kStormFactor = 10;

// Probes go in and out in this thread: of its time slices of all targets may take at most one part in so many.
constexpr uint64_t kSliceRestFactor = 10;

// What a trap takes where that was not measured.
constexpr double kTypicalTrapNs = 1000;

// What samples this target: its runtime, or its runs where that does not sample.
ProbeGroup sampling_group(const Target& target) {
  return target.spans() != nullptr ? ProbeGroup::spans : ProbeGroup::sampled;
}

ProbeGroups groups_of(Level level, ProbeGroup sampling) {
  switch (level) {
    case Level::exact:
      return {ProbeGroup::gc, sampling, ProbeGroup::exact};
    case Level::sampled:
    case Level::sparse:
      return {ProbeGroup::gc, sampling};
    case Level::gc:
    case Level::buckets:
    case Level::slices:  // each slice begins and ends by itself
      break;
    case Level::none:
      return {};
  }
  return {ProbeGroup::gc};
}

double exact_hit_ns(const probe::HitCost& cost) {
  return cost.ns[static_cast<size_t>(probe::CostClass::push)] + probe::kCountingNs;
}

Level level_of(model::Mode mode) {
  if (mode == model::Mode::exact) return Level::exact;
  return mode == model::Mode::buckets ? Level::buckets : Level::sampled;
}

}  // namespace

uint64_t Daemon::storm_limit_ns() const {
  const double share = kStormFactor * options_.settings.overhead_budget_percent / 100;
  if (share >= 1) return 0;
  return static_cast<uint64_t>(static_cast<double>(probe::kStormHits) * exact_hit_ns(hit_cost_or_guess()) /
                               share);
}

void Daemon::start_governing(Target& target, const OpenedTarget& opened) {
  if (!options_.measure_hit_cost) return;  // nobody wants to know
  const Level start = opened.count_exactly ? Level::exact : level_of(opened.status.mode);
  probe::Governor::Options options{.budget = options_.settings.overhead_budget_percent / 100,
                                   .levels = {start},
                                   .start = start,
                                   .exact_hit_ns = exact_hit_ns(hit_cost_or_guess())};
  if (opened.asked_mode == model::Mode::automatic && start == Level::sampled) {
    // Without the runtime's sampler there are no records to fall back to.
    options.levels = opened.span_reader
                         ? std::vector{Level::none, Level::gc, Level::slices, Level::sparse, Level::sampled}
                         : std::vector{Level::none, Level::buckets, Level::sampled};
    if (opened.binary->probe_sites().exact()) options.levels.push_back(Level::exact);
  }
  target.govern(probe::Governor(std::move(options), kernel_time_ns()));
}

void Daemon::spend_new_budget() {
  over_budget_.clear();
  for (auto& [key, target] : targets_) {
    if (target->is_live() && target->governor() != nullptr &&
        target->asked_mode() == model::Mode::automatic) {
      if (auto told = collector_->set_storm_limit(key.pid, storm_limit_ns()); !told)
        spdlog::warn("pid {}: {}", key.pid, to_string(told.error()));
    }
    if (target->governor() != nullptr)
      target->governor()->set_budget(options_.settings.overhead_budget_percent / 100);
    if (target->spans() != nullptr && target->spans()->windows() != nullptr)
      target->spans()->windows()->set_budget(options_.settings.overhead_budget_percent / 100);
  }
}

void Daemon::govern(uint64_t now_ns) {
  auto next = targets_.lower_bound(next_governed_);
  for (size_t left = targets_.size(); left > 0; --left, ++next) {
    if (next == targets_.end()) next = targets_.begin();
    next_governed_ = next->first;
    if (kernel_time_ns() - now_ns > kLongestTurnNs) return;  // go on with this one
    Target& target = *next->second;
    if (target.is_live() && target.governor() != nullptr) take_turn(target);
    if (target.cost_look_due(now_ns)) look_at_cost(target);
  }
}

// When a slice that is under way has to end, if it is before `latest_ns`.
uint64_t Daemon::next_slice_end_ns(uint64_t latest_ns) const {
  for (const auto& [key, target] : targets_) {
    if (!target->is_live() || target->governor() == nullptr) continue;
    const probe::SliceSchedule& slices = target->governor()->slices();
    if (slices.active()) latest_ns = std::min(latest_ns, slices.next_ns());
  }
  return latest_ns;
}

probe::HitCost Daemon::hit_cost_or_guess() const {
  if (hit_cost_) return *hit_cost_;
  probe::HitCost cost;
  cost.ns.fill(kTypicalTrapNs);
  return cost;
}

uint64_t Daemon::probe_ns_of(Target& target, const probe::TargetCounters& counters) const {
  return probe::probe_ns(counters, hit_cost_or_guess(), target.program_time());
}

std::optional<Daemon::TargetCost> Daemon::cost_of(Target& target) const {
  const auto counters = collector_->counters(target.pid());
  const auto cpu = process_cpu_time_ns(target.pid());
  if (!counters || !cpu) return std::nullopt;
  return TargetCost{
      .sample = {.time_ns = kernel_time_ns(), .cpu_ns = *cpu, .probe_ns = probe_ns_of(target, *counters)},
      .hits = counters->hits};
}

// Before its probes go, and what the kernel has counted of them with them.
void Daemon::note_last_cost(Target& target) {
  if (!collector_) return;
  if (const auto counters = collector_->counters(target.pid()))
    target.note_cost(kernel_time_ns(), counters->hits, probe_ns_of(target, *counters));
}

// A slice begins or ends, if one is due.
void Daemon::take_turn(Target& target) {
  probe::Governor& governor = *target.governor();
  const uint64_t now = kernel_time_ns();
  if (governor.level() != Level::slices || !governor.slices().due(now)) return;
  if (governor.slices().active()) return end_slice(target, now);
  if (now < next_slice_ns_ || !target.spans()->is_read_for_slice(now)) return;
  const auto before = cost_of(target);
  if (!before) return;
  auto added = add_probes(target, ProbeGroup::spans);
  if (added) added = set_distance(target, Level::slices);
  if (added) {
    drain_probes();
    const auto recording = collector_->set_recording(target.pid(), {ProbeGroup::gc, ProbeGroup::spans});
    if (!recording) added = Unexpected(recording.error());
  }
  const uint64_t begun = kernel_time_ns();
  next_slice_ns_ = begun + kSliceRestFactor * (begun - now);
  if (added) {
    governor.slices().begin(before->sample, begun);
    target.spans()->begin_slice(begun);
    return;
  }
  collector_->remove(target.pid(), ProbeGroup::spans);
  governor.failed(Level::gc, kernel_time_ns());
  target.set_level(Level::gc, "cannot sample in slices: " + to_string(added.error()));
  spdlog::warn("pid {}: {}", target.pid(), target.reason());
}

// `recorded_ns`: up to when it has recorded, if the kernel has stopped it before.
void Daemon::end_slice(Target& target, uint64_t recorded_ns) {
  if (auto stopped = collector_->set_recording(target.pid(), {ProbeGroup::gc}); !stopped)
    spdlog::warn("pid {}: cannot end a slice: {}", target.pid(), to_string(stopped.error()));
  drain_probes();
  collector_->remove(target.pid(), ProbeGroup::spans);
  target.spans()->end_slice(recorded_ns);
  const auto after = cost_of(target);
  target.governor()->slices().end(after ? after->sample : probe::CostSample{.time_ns = recorded_ns},
                                  recorded_ns);
}

void Daemon::look_at_cost(Target& target) {
  if (has_window(target)) return;  // what it takes is counted when it is over
  // A storm of which nobody has told, since the ring was full.
  if (!collector_->records_as_told(target.pid())) storms_.push_back({target.pid(), kernel_time_ns()});
  const auto cost = cost_of(target);
  if (!cost) return;
  probe::Governor& governor = *target.governor();
  governor.slices().look(cost->sample);
  probe::CostSample sample = cost->sample;
  // Slices are planned by all that they take; and what they take is known before their samples are, so what is told would
  // fall.
  if (target.spans() != nullptr && governor.level() != Level::slices) {
    uint64_t unpaid = target.spans()->distance().unpaid_ns();
    if (target.spans()->windows() != nullptr) unpaid += target.spans()->windows()->unpaid_ns(sample.time_ns);
    sample.probe_ns -= std::min(unpaid, sample.probe_ns);
  }
  const auto move = governor.observe(sample, [&target]() -> uint64_t {
    return target.reader() == nullptr ? 0 : target.reader()->allocated_objects().value_or(0);
  });
  target.note_cost(sample.time_ns, cost->hits, cost->sample.probe_ns);
  if (move) {
    go(target, *move);
    return;
  }
  adapt_distance(target, cost->sample);
  if (target.asked_mode() != model::Mode::automatic &&  // which keeps to it by itself
      governor.is_over() && over_budget_.insert(target.key()).second) {
    spdlog::warn(
        "pid {}: its probes take about {:.1f} % of its CPU time, more than --overhead-budget {} allows; "
        "--mode auto "
        "would keep to it",
        target.pid(), governor.overhead_ratio() * 100, options_.settings.overhead_budget_percent);
  }
}

void Daemon::take_storms() {
  for (const model::HitStorm& storm : std::exchange(storms_, {})) {
    Target* target = find(storm.pid);
    if (target == nullptr || !target->is_live() || target->governor() == nullptr) continue;
    probe::Governor& governor = *target->governor();
    if (governor.slices().active()) {
      end_slice(*target, storm.time_ns);  // the next one is the later for it
      continue;
    }
    if (governor.level() == Level::slices || storm.time_ns < governor.level_since_ns()) {
      // Made by probes that were just being taken out. What has stayed records on.
      const auto groups = groups_of(governor.level(), sampling_group(*target));
      if (auto recording = collector_->set_recording(storm.pid, groups); !recording)
        spdlog::warn("pid {}: cannot go on recording: {}", storm.pid, to_string(recording.error()));
      continue;
    }
    const auto move = governor.storm(storm.time_ns);
    if (!move) continue;
    if (target->spans() != nullptr) target->spans()->set_recording(false, storm.time_ns);
    go(*target, *move);
  }
}

void Daemon::go(Target& target, const probe::Move& move) {
  if (has_window(target)) close_window();
  const uint64_t begun = kernel_time_ns();
  if (const auto changed = change_level(target, move.from, move.to); !changed) {
    spdlog::warn("pid {}: cannot go from {} to {}: {}", target.pid(), probe::name_of(move.from),
                 probe::name_of(move.to), to_string(changed.error()));
    target.governor()->failed(move.from, kernel_time_ns());
    return;
  }
  const uint64_t arrived = kernel_time_ns();
  target.governor()->arrived(arrived);
  if (target.spans() != nullptr) {
    const bool samples = move.to > Level::slices;  // on the way down that has ended first of all
    target.spans()->set_recording(samples, samples ? arrived : begun);
  }
  if (move.to == Level::slices) target.spans()->distance().start_slices();
  target.set_level(move.to, "mode auto went from " + std::string(probe::name_of(move.from)) + " to " +
                                std::string(probe::name_of(move.to)) + ": " + move.why);
  spdlog::info("pid {}: {}", target.pid(), target.reason());
  if (move.from > Level::buckets || move.to <= Level::buckets) return;
  if (target.spans() != nullptr) {
    if (!target.spans()->reading_in_flight()) start_span_reading(target);
  } else {
    start_reading(target);
  }
}

// Mode exact with the live heap: a target that has just begun to be sampled is counted, too.
bool Daemon::begin_counting(Target& target) {
  if (auto changed = change_level(target, Level::sampled, Level::exact); !changed) {
    detach(target);
    target.set_state(model::TargetState::failed, to_string(changed.error()));
    return false;
  }
  target.begin_counting();
  return true;
}

// Also where few samples are taken or none: what they took is paid meanwhile.
void Daemon::adapt_distance(Target& target, const probe::CostSample& sample) {
  if (target.spans() == nullptr) return;
  SpanSource& spans = *target.spans();
  const bool has_changed = spans.distance().observe({.time_ns = sample.time_ns,
                                                     .cpu_ns = sample.cpu_ns,
                                                     .samples = spans.ledger().births(),
                                                     .live_samples = spans.ledger().live_samples(),
                                                     .cycle_gap_ns = spans.cycle_gap_ns()},
                                                    options_.settings.overhead_budget_percent / 100);
  const probe::Governor& governor = *target.governor();
  if (!has_changed || (governor.level() < Level::sampled && !governor.slices().active())) return;
  spdlog::debug("pid {}: a sample in {} KiB", target.pid(), spans.distance().bytes() >> 10);
  if (auto set = set_distance(target, governor.level()); !set)
    spdlog::warn("pid {}: cannot change how densely it is sampled: {}", target.pid(), to_string(set.error()));
}

// Up: the probes are there before the books begin to expect them. Down: nothing is recorded any more, what was is taken
// in, then the probes go. What cannot be gone up to leaves no probe behind that the level before does not have.
Expected<void> Daemon::change_level(Target& target, Level from, Level to) {
  const pid_t pid = target.pid();
  const ProbeGroup sampling = sampling_group(target);
  if (target.governor() != nullptr && target.governor()->slices().active())
    end_slice(target, kernel_time_ns());
  const bool sampled = from > Level::slices;
  const bool samples = to > Level::slices;
  if (to > from) {
    std::vector<Step> steps;
    const auto add = [&](ProbeGroup group) {
      steps.push_back({[this, &target, group] { return add_probes(target, group); },
                       [this, pid, group] { collector_->remove(pid, group); }});
    };
    if (from == Level::none) add(ProbeGroup::gc);
    if (!sampled && samples) add(sampling);
    if (to == Level::exact) add(ProbeGroup::exact);
    steps.push_back(
        {[&] { return set_distance(target, to); }, [&] { static_cast<void>(set_distance(target, from)); }});
    steps.push_back({[&]() -> Expected<void> {
                       drain_probes();
                       const auto recording = collector_->set_recording(pid, groups_of(to, sampling));
                       if (!recording) return Unexpected(recording.error());
                       return {};
                     },
                     [] {}});
    return take_all_or_none(steps);
  }
  if (auto set = set_distance(target, to); !set) return set;
  if (auto recording = collector_->set_recording(pid, groups_of(to, sampling)); !recording) {
    return Unexpected(recording.error());
  }
  if (from == Level::exact) {
    drain_exact(target);
    collector_->remove(pid, ProbeGroup::exact);
  }
  if (sampled && !samples) {
    drain_probes();
    collector_->remove(pid, sampling);
  }
  if (to == Level::none) {
    drain_probes();
    collector_->remove(pid, ProbeGroup::gc);
  }
  return {};
}

// After probes were added, which come with the usual distance.
Expected<void> Daemon::set_distance(const Target& target, Level level) {
  if (target.spans() == nullptr) return {};
  if (auto set = collector_->set_mean_distance(target.pid(), target.spans()->mean_distance(level)); !set)
    return Unexpected(set.error());
  return {};
}

Expected<void> Daemon::add_probes(Target& target, ProbeGroup group, bool for_window) {
  const auto mode = group == ProbeGroup::exact ? model::Mode::exact : model::Mode::sampled;
  // Runs are cut by probes that come with the collector's.
  const bool of_spans = group == ProbeGroup::spans || (group == ProbeGroup::gc && target.spans() != nullptr);
  auto request = of_spans ? make_span_request(*target.binary(), target.key(), target.program(),
                                              target.load_bias(), SampleDistance::kSparsest)
                          : make_attach_request(*target.binary(), target.key(), target.program(),
                                                target.load_bias(), mode);
  if (!request) return Unexpected(request.error());
  request->for_window = for_window;
  std::erase_if(request->points,
                [&](const gobin::ProbePoint& point) { return probe::group_of(point.role) != group; });
  if (auto added = collector_->add(*request); !added) return Unexpected(added.error());
  return {};
}

}  // namespace goheapd
