#include "daemon/daemon.h"

#include <spdlog/spdlog.h>
#include <sys/epoll.h>

#include <algorithm>
#include <utility>

#include "daemon/base/clock.h"
#include "daemon/base/mapped_file.h"
#include "daemon/probe/host_support.h"
#include "daemon/version.h"

namespace goheapd {
namespace {

constexpr uint64_t kMillisecond = 1'000'000;
constexpr uint64_t kSecond = 1000 * kMillisecond;
// Hundreds of programs that start at once take seconds to attach; the ring and exits are looked at in between.
constexpr std::chrono::milliseconds kMailboxTurn{100};
constexpr uint64_t kScanEvery = 1 * kSecond;
constexpr uint64_t kUpdateEvery = 1 * kSecond;
// The look itself comes as seldom as OpeningSchedule says.
constexpr uint64_t kReexamineEvery = 1 * kSecond;
// A look at a program's sampling rate costs microseconds; while it goes unnoticed, the profile stands still.
constexpr uint64_t kFollowSourcesEvery = 2 * kSecond;
// Of so many pids we can still say that they were Go programs once.
constexpr size_t kMaxForgotten = 4096;
// Of so many exited processes profiles are kept, and of so many stacks (a stack takes about half a KiB): a build host runs
// thousands of Go programs in the time that they are kept for, each perhaps of a file of its own, which stays mapped.
constexpr size_t kMostExited = 256;
constexpr size_t kMostExitedStacks = 200'000;
// A program that has just started sets up its runtime within microseconds; on a loaded host it may wait longer.
constexpr std::array<int, 6> kOpenRetryMillis = {20, 50, 100, 300, 1000, 3000};
// One reads memory while another parses a new file.
constexpr unsigned kWorkers = 2;

}  // namespace

Daemon::Daemon(DaemonOptions options, process::ProcFs proc)
    : options_(std::move(options)),
      proc_(std::move(proc)),
      redactor_(options_.settings.redact),
      workers_(kWorkers) {}

Expected<std::unique_ptr<Daemon>> Daemon::create(DaemonOptions options) {
  auto proc = process::ProcFs::open();
  if (!proc) return Unexpected(proc.error());
  std::unique_ptr<Daemon> daemon(new Daemon(std::move(options), std::move(*proc)));
  auto discovery = process::Discovery::create(
      daemon->proc_, [raw = daemon.get()](const process::ProcessSighting& sighting) {
        return judge_sighting(raw->proc_, sighting, raw->options_.settings.selection);
      });
  if (!discovery) return Unexpected(discovery.error());
  daemon->discovery_.emplace(std::move(*discovery));
  if (auto started = daemon->start_pods(); !started) return Unexpected(started.error());
  daemon->libbpf_version_ = probe::libbpf_version();
  if (daemon->options_.settings.selection.mode != model::Mode::buckets) {
    if (auto loaded = daemon->load_probes(); !loaded) return Unexpected(loaded.error());
  }
  if (auto prepared = daemon->prepare_runtime_sampling(); !prepared) return Unexpected(prepared.error());
  daemon->publish(kernel_time_ns());
  return daemon;
}

Expected<void> Daemon::load_probes() {
  auto collector = probe::Collector::create(
      {}, {.event = [this](model::Event&& event) { on_event(event); },
           .stack = [this](model::ExactStack&& stack) { on_stack(std::move(stack)); }});
  if (!collector) return Unexpected(collector.error());
  collector_.emplace(std::move(*collector));
  if (!options_.measure_hit_cost) return {};
  if (auto cost = collector_->hit_cost()) {
    hit_cost_ = *cost;
    spdlog::info("one probe hit costs {:.0f} ns here, {:.0f} ns where the instruction is single-stepped",
                 cost->ns[static_cast<size_t>(probe::CostClass::push)],
                 cost->ns[static_cast<size_t>(probe::CostClass::single_step)]);
  } else {
    spdlog::warn("cannot measure what a probe hit costs here, budgets and overhead go by {:.0f} ns: {}",
                 hit_cost_or_guess().ns[static_cast<size_t>(probe::CostClass::push)],
                 to_string(cost.error()));
  }
  return {};
}

Expected<void> Daemon::prepare_runtime_sampling() {
  if (options_.data_dir.empty() || runtime_sampling_) return {};
  // Also without the flag, for what an earlier daemon has written.
  if (options_.settings.selection.allow_runtime_sampling.empty() &&
      !RuntimeSampling::has_journal(options_.data_dir))
    return {};
  auto sampling = RuntimeSampling::create(proc_, options_.data_dir);
  if (sampling) {
    runtime_sampling_ = std::move(*sampling);
  } else if (options_.settings.selection.allow_runtime_sampling.empty()) {
    spdlog::warn("what an earlier goheapd may have switched on is not set back: {}",
                 to_string(sampling.error()));
  } else {
    return Unexpected(sampling.error());
  }
  return {};
}

Daemon::~Daemon() { stop(); }

void Daemon::stop() {
  {
    std::lock_guard lock(stop_mutex_);
    stopping_ = true;
  }
  stop_wake_.notify_all();
  mailbox_.post([] {});
}

// ---- owner thread --------------------------------------------------------------------------------------------------

void Daemon::run() {
  UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  const auto watch = [&epoll](int fd) {
    epoll_event interest{};
    interest.events = EPOLLIN;
    interest.data.fd = fd;
    ::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd, &interest);
  };
  watch(mailbox_.wake_fd());
  watch(discovery_->exit_fd());
  // Loaded later (a reload that leaves mode buckets), the ring is looked at every tick only, which is enough.
  if (collector_) watch(collector_->poll_fd());
  uint64_t next_scan = 0;
  uint64_t next_update = 0;
  uint64_t next_reexamine = 0;
  uint64_t next_follow = 0;
  while (!stopping_) {
    std::array<epoll_event, 4> ready{};
    ::epoll_wait(epoll.get(), ready.data(), static_cast<int>(ready.size()),
                 millis_to_next_round(kernel_time_ns()));
    last_round_ns_ = kernel_time_ns();
    drain_probes();
    take_exec_hints();  // first of all: what runs another program now is not to be touched any more
    run_windows(kernel_time_ns());
    mailbox_.run_pending(kMailboxTurn);
    take_storms();
    take_exec_hints();  // of what was drained on the way
    take_changes(discovery_->take_exits());
    const uint64_t now = kernel_time_ns();
    govern(now);
    if (options_.on_round) options_.on_round(now);
    if (now >= next_scan) {
      scan_processes();
      next_scan = now + kScanEvery;
    }
    start_due_readings(now);
    if (now >= next_reexamine) {
      reexamine();
      next_reexamine = now + kReexamineEvery;
    }
    if (now >= next_follow) {
      follow_sources();
      next_follow = now + kFollowSourcesEvery;
    }
    if (now >= next_update) {
      update_pods();
      update_from_kernel();
      for (auto& [key, target] : targets_) target->tick(now);
      forget_old();
      next_update = now + kUpdateEvery;
    }
  }
  mailbox_.close();
  if (collector_) collector_->detach_all();
  if (runtime_sampling_) runtime_sampling_->close();  // a worker may be opening a target at this moment
}

void Daemon::drain_probes() {
  if (collector_) collector_->poll(std::chrono::milliseconds(0));
}

void Daemon::on_stack(model::ExactStack stack) {
  Target* const target = find(stack.pid);
  if (target == nullptr) return;
  if (has_window(*target)) {
    window_->seen.stacks.push_back(std::move(stack));
  } else {
    target->on(std::move(stack));
  }
}

void Daemon::on_event(const model::Event& event) {
  std::visit(
      [this](const auto& value) {
        using T = std::decay_t<decltype(value)>;
        if constexpr (std::is_same_v<T, model::ProcessExec>) {
          // Later, not here: looking at a process may attach, and this runs inside the collector's poll.
          exec_hints_.push_back(value);
        } else if constexpr (std::is_same_v<T, model::HitStorm>) {
          storms_.push_back(value);                                     // later, too: it takes probes out
        } else if constexpr (!std::is_same_v<T, model::ProcessExit> &&  // the pidfd tells the same
                             !std::is_same_v<T, model::SampledAllocation>) {
          if (Target* target = find(value.pid)) target->on(value);
        }
      },
      event);
}

void Daemon::take_exec_hints() {
  for (const model::ProcessExec& exec : std::exchange(exec_hints_, {})) {
    take_changes(discovery_->on_exec_hint(exec.pid, exec.time_ns));
  }
}

void Daemon::scan_processes() {
  auto changes = discovery_->scan();
  if (!changes) {
    spdlog::error("cannot list processes: {}", to_string(changes.error()));
    return;
  }
  take_changes(*changes);
  if (has_scanned_.exchange(true)) return;
  for (const pid_t pid : options_.settings.selection.pids) {
    if (!current_.contains(pid))
      spdlog::warn("pid {} of --pid is no Go program, or there is no such process; goheapd waits for it",
                   pid);
  }
}

void Daemon::take_changes(const std::vector<process::ProcessChange>& changes) {
  // Of one pid, an end always comes before a beginning. Ends are taken together.
  std::vector<model::ProcessKey> gone;
  for (const process::ProcessChange& change : changes) {
    if (change.kind != process::ProcessChange::Kind::appeared) gone.push_back(change.process.key);
  }
  if (!gone.empty()) on_processes_gone(gone);
  for (const process::ProcessChange& change : changes) {
    if (change.kind != process::ProcessChange::Kind::appeared) continue;
    const model::ProcessKey key = change.process.key;
    current_[key.pid] = key;
    open_later(key, 0);
  }
}

size_t Daemon::sites_of_new_target() const {
  size_t used = 0;
  for (const auto& [key, target] : targets_)
    if (target->state() != model::TargetState::exited) used += target->most_sites();
  return sites_within(options_.settings.top_sites, used);
}

void Daemon::open_later(const model::ProcessKey& key, uint32_t attempt) {
  if (openings_.begin(key)) post_opening(key, attempt);
}

void Daemon::post_opening(const model::ProcessKey& key, uint32_t attempt) {
  const bool last = attempt >= kOpenRetryMillis.size();
  workers_.post([this, key, attempt, last, generation = openings_.generation(),
                 selection = options_.settings.selection] {
    auto opened = std::make_shared<OpenedTarget>(
        open_target(proc_, key, selection, pods_.get(), runtime_sampling_.get(), binaries_, last));
    mailbox_.post([this, key, attempt, generation, opened] {
      on_opened(key, std::move(*opened), attempt, generation);
    });
  });
}

void Daemon::on_opened(const model::ProcessKey& key, OpenedTarget opened, uint32_t attempt,
                       uint64_t generation) {
  // Many programs may have been attached since the ring was looked at.
  drain_probes();
  take_exec_hints();
  const bool is_by_these_settings = openings_.finish(key, generation);
  auto current = current_.find(key.pid);
  if (current == current_.end() || current->second != key) {  // gone or replaced meanwhile
    openings_.forget(key);
    if (runtime_sampling_) runtime_sampling_->forget(key);
    return;
  }
  if (!is_by_these_settings) {
    if (runtime_sampling_) runtime_sampling_->disable(key);  // they may not allow it
    open_later(key, attempt);
    return;
  }
  using Verdict = OpenedTarget::Verdict;
  if (opened.verdict == Verdict::not_go) return note_failure_or_forget(key);
  if (opened.verdict == Verdict::retry) {
    openings_.begin(key);
    retries_.emplace(kernel_time_ns() + kOpenRetryMillis[attempt] * kMillisecond,
                     std::pair(key, attempt + 1));
    return;
  }
  const bool is_new = !targets_.contains(key);
  if (is_new) targets_.emplace(key, std::make_unique<Target>(opened.status, sites_of_new_target()));
  auto& slot = targets_.at(key);
  if (slot->is_live()) return note_failure_or_forget(key);
  const std::string known_reason = is_new ? std::string() : slot->reason();
  if (opened.verdict == Verdict::refused) {
    // What the operator asked for is no news, what cannot be done is.
    const bool is_asked_for = opened.status.state == model::TargetState::ignored;
    if (known_reason != opened.status.reason) {
      spdlog::log(is_asked_for ? spdlog::level::debug : spdlog::level::info, "pid {} ({}): {}: {}", key.pid,
                  opened.status.comm, model::name_of(opened.status.state), opened.status.reason);
    }
    slot->set_status(std::move(opened.status));
  } else {
    slot->set_status(opened.status);
    attach(*slot, std::move(opened), known_reason);
  }
  note_failure_or_forget(key);
  // Nobody reads the samples of a target that cannot be attached.
  if (runtime_sampling_ && !slot->is_live()) runtime_sampling_->disable(key);
}

// When it is to be looked at again, after a look that has come to its end.
void Daemon::note_failure_or_forget(const model::ProcessKey& key) {
  const Target* const target = find(key);
  if (target != nullptr && target->may_change()) {
    openings_.failed(key, kernel_time_ns());
  } else {
    openings_.forget(key);
  }
}

void Daemon::attach(Target& target, OpenedTarget opened, const std::string& known_reason) {
  const pid_t pid = target.pid();
  const bool has_probes = opened.status.mode != model::Mode::buckets;
  if (has_probes) {
    if (opened.asked_mode == model::Mode::automatic) opened.request.storm_ns = storm_limit_ns();
    auto attached = collector_->attach(opened.request);
    if (!attached) {
      target.set_state(model::TargetState::failed, to_string(attached.error()));
      // A program that ends before we have looked at it is nothing to warn of, nor is what was said before.
      const int error = attached.error().errno_value;
      const bool is_news =
          error != ESRCH && error != ENOENT && error != ESTALE && target.reason() != known_reason;
      spdlog::log(is_news ? spdlog::level::warn : spdlog::level::debug, "pid {} ({}): cannot attach: {}", pid,
                  opened.status.comm, target.reason());
      return;
    }
    spdlog::info("pid {} ({}, {}): attached in mode {} by {}", pid, opened.status.comm,
                 opened.status.go_version, model::name_of(opened.status.mode),
                 probe::name_of(collector_->method()));
  } else {
    spdlog::info("pid {} ({}, {}): attached in mode buckets, without probes", pid, opened.status.comm,
                 opened.status.go_version);
  }
  target.start(opened.binary, opened.load_bias, opened.reader, opened.status.mode, has_probes,
               opened.asked_mode);
  target.keep_program(opened.program);
  if (opened.span_reader) target.follow_spans(opened.span_reader);
  if (has_probes) {
    start_governing(target, opened);
    if (!opened.count_exactly) start_windows(target);
    using probe::ProbeGroup;
    // Not all: mode auto may add the exact group later, and tells then when it begins.
    const auto counting = opened.status.mode == model::Mode::exact ? ProbeGroup::exact
                          : opened.span_reader                     ? ProbeGroup::spans
                                                                   : ProbeGroup::sampled;
    if (auto recording = collector_->set_recording(pid, {ProbeGroup::gc, counting}); !recording) {
      collector_->detach(pid);
      target.set_state(model::TargetState::failed, to_string(recording.error()));
      return;
    }
  }
  if (opened.count_exactly && !begin_counting(target)) return;
  if (target.reader() != nullptr) start_reading(target);
}

void Daemon::detach(Target& target) { detach(std::vector{&target}); }

void Daemon::detach(const std::vector<Target*>& targets) {
  std::vector<Target*> live;
  for (Target* target : targets) {
    if (target->is_live()) live.push_back(target);
  }
  if (live.empty()) return;
  take_probes_out(live);
  for (const Target* target : live) {
    if (runtime_sampling_) runtime_sampling_->disable(target->key());
  }
}

// Of all together: to detach takes the kernel 30 ms, which hundreds of targets had better not wait for one after the other.
void Daemon::take_probes_out(const std::vector<Target*>& targets) {
  drain_probes();  // what they did last is still in the ring
  drain_exact(targets);
  std::vector<pid_t> pids;
  for (Target* target : targets) {
    if (has_window(*target)) window_.reset();
    note_last_cost(*target);
    pids.push_back(target->pid());
  }
  if (collector_) collector_->detach(pids);
}

void Daemon::on_processes_gone(const std::vector<model::ProcessKey>& keys) {
  std::vector<Target*> attached;
  for (const model::ProcessKey& key : keys) {
    Target* const target = find(key);
    if (target == nullptr || !target->is_live()) continue;
    attached.push_back(target);
    spdlog::info("pid {}: exited", key.pid);
  }
  if (!attached.empty()) take_probes_out(attached);
  for (const model::ProcessKey& key : keys) {
    if (auto current = current_.find(key.pid); current != current_.end() && current->second == key)
      current_.erase(current);
    over_budget_.erase(key);
    openings_.forget(key);
    if (runtime_sampling_) runtime_sampling_->forget(key);
    auto found = targets_.find(key);
    if (found == targets_.end()) continue;
    Target& target = *found->second;
    if (target.is_live()) unread_samples_ += target.unread_samples();
    if (target.has_profile()) {
      target.mark_exited(wall_time_ns(), kernel_time_ns());
    } else {
      // There is nothing of it to show: if it was attached, it ended before its records were read for the first time.
      if (target.is_live()) forgotten_.push_back(key.pid);
      targets_.erase(found);
    }
  }
  forget_old();
}

// The runtime never frees a record: a program that makes ever new stacks must not pay for that for ever.
void Daemon::limit_runtime_sampling(Target& target, const TargetReading& reading) {
  if (!runtime_sampling_ || !runtime_sampling_->is_enabled(target.key())) return;
  const uint64_t most = options_.settings.most_record_bytes;
  if (reading.record_bytes <= most) return;
  const std::string why = "its records took " + std::to_string(reading.record_bytes >> 10) +
                          " KiB, more than the " + std::to_string(most >> 20) +
                          " MiB of --runtime-sampling-memory, so it was switched off again";
  spdlog::warn("pid {}: the runtime's sampler: {}", target.pid(), why);
  runtime_sampling_->disable_for_good(target.key(), why);
  detach(target);
  target.set_state(model::TargetState::failed, why);
  open_later(target.key(), static_cast<uint32_t>(kOpenRetryMillis.size()));
}

void Daemon::start_due_readings(uint64_t now_ns) {
  for (auto& [key, target] : targets_) {
    if (target->reading_due(now_ns)) start_reading(*target);
  }
  while (!retries_.empty() && retries_.begin()->first <= now_ns) {
    const auto [key, attempt] = retries_.begin()->second;
    retries_.erase(retries_.begin());
    post_opening(key, attempt);
  }
}

void Daemon::reexamine() {
  // What failed for want of something may work now.
  const uint64_t now = kernel_time_ns();
  for (auto& [key, target] : targets_) {
    if (target->may_change() && openings_.look_due(key, now))
      open_later(key, static_cast<uint32_t>(kOpenRetryMillis.size()));
  }
}

void Daemon::update_from_kernel() {
  std::vector<Target*> live;
  for (auto& [key, target] : targets_) {
    if (target->is_live()) live.push_back(target.get());
  }
  drain_exact(live);
  for (Target* target : live) {
    if (target->governor() != nullptr) look_at_cost(*target);
  }
}

void Daemon::forget_old() {
  const auto keep = static_cast<uint64_t>(options_.settings.keep_exited_ns);
  const uint64_t now = std::max(kernel_time_ns(), keep);
  std::vector<const Target*> exited;
  for (const auto& [key, target] : targets_) {
    if (target->state() == model::TargetState::exited) exited.push_back(target.get());
  }
  std::sort(exited.begin(), exited.end(),
            [](const Target* a, const Target* b) { return a->exited_ns() > b->exited_ns(); });
  size_t kept = 0;
  size_t stacks = 0;
  for (const Target* target : exited) {
    const bool is_old = target->exited_ns() < now - keep;
    stacks += target->stacks();
    if (!is_old && kept < kMostExited && (kept == 0 || stacks <= kMostExitedStacks)) {
      ++kept;
      continue;
    }
    if (!is_old) ++dropped_profiles_;
    const model::ProcessKey key = target->key();
    forgotten_.push_back(key.pid);
    targets_.erase(key);
  }
  while (forgotten_.size() > kMaxForgotten) forgotten_.pop_front();
}

void Daemon::publish(uint64_t now_ns) {
  std::vector<model::TargetStatus> statuses;
  statuses.reserve(targets_.size());
  for (auto& [key, target] : targets_) {
    statuses.push_back(target->status());
    redactor_.redact(statuses.back());
  }
  model::DaemonStatus status;
  status.version = kVersion;
  status.libbpf_version = libbpf_version_;
  if (collector_) {
    status.events = collector_->events();
    status.lost_events = collector_->lost_events();
  }
  status.events.push_back({"span_death", span_deaths_});
  status.lost_events.push_back({"reading_failed", failed_readings_});
  status.lost_events.push_back({"pauses_unread", lost_pauses_});
  status.lost_events.push_back({"counts_unread", unread_counts_});
  status.lost_events.push_back({"record_unread", unread_samples_});
  status.lost_events.push_back({"verdict_missed", lost_verdicts_});
  status.lost_events.push_back({"span_sample_unfollowed", untracked_runs_});
  status.lost_events.push_back({"profile_dropped", dropped_profiles_});
  status.lost_events.push_back({"file_page_vanished", MappedFile::vanished_pages()});
  if (pods_) status.kubernetes = pods_->status();
  status.refused_samplers =
      runtime_sampling_ ? runtime_sampling_->refusals() : RuntimeSampling::no_refusals();
  if (runtime_sampling_) status.target_writes = runtime_sampling_->writes();
  status.overhead_budget_ratio = options_.settings.overhead_budget_percent / 100;
  status.config_loaded = config_loaded_;
  status.config_loaded_wall_ns = config_loaded_wall_ns_;
  std::lock_guard lock(published_mutex_);
  published_at_ns_ = now_ns;
  published_targets_ = std::move(statuses);
  published_status_ = std::move(status);
}

Target* Daemon::find(pid_t pid) {
  auto current = current_.find(pid);
  return current == current_.end() ? nullptr : find(current->second);
}

Target* Daemon::find(const model::ProcessKey& key) {
  auto found = targets_.find(key);
  return found == targets_.end() ? nullptr : found->second.get();
}

void Daemon::reconfigure(DaemonSettings settings) {
  redactor_.set_patterns(settings.redact);
  mailbox_.post([this, settings = std::move(settings)]() mutable {
    options_.settings = std::move(settings);
    openings_.settings_changed();
    spend_new_budget();
    config_loaded_ = true;
    if (auto prepared = prepare_runtime_sampling(); !prepared) {
      spdlog::error("no sampler is switched on: {}", to_string(prepared.error()));
      config_loaded_ = false;
    }
    if (!collector_ && options_.settings.selection.mode != model::Mode::buckets) {
      if (auto loaded = load_probes(); !loaded) {
        spdlog::error("stays in mode buckets: {}", to_string(loaded.error()));
        options_.settings.selection.mode = model::Mode::buckets;
        config_loaded_ = false;
      }
    }
    if (config_loaded_) config_loaded_wall_ns_ = wall_time_ns();
    std::vector<Target*> unwanted;
    for (auto& [key, target] : targets_) {
      if (target->state() == model::TargetState::exited) continue;
      if (target->is_live() && is_wanted(*target)) continue;  // its books go on
      unwanted.push_back(target.get());
    }
    detach(unwanted);
    for (Target* target : unwanted) {
      const model::ProcessKey& key = target->key();
      target->set_state(model::TargetState::ignored, "the reloaded configuration does not want it");
      if (options_.settings.selection.pids.empty() || options_.settings.selection.pids.contains(key.pid))
        open_later(key, 0);
    }
    discovery_->judge_again();
    publish(kernel_time_ns());
  });
}

void Daemon::reject_configuration() {
  mailbox_.post([this] {
    config_loaded_ = false;
    publish(kernel_time_ns());
  });
}

}  // namespace goheapd
