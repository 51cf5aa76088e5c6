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
// One reads memory while another parses a new file.
constexpr unsigned kWorkers = 2;

}  // namespace

Daemon::Daemon(DaemonOptions options, process::ProcFs proc)
    : options_(std::move(options)),
      proc_(std::move(proc)),
      redactor_(options_.settings.redact),
      denied_(probe::own_capabilities().sys_ptrace),
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
  status.denied_processes = denied_.count();
  status.why_denied = denied_.why();
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
    const TargetSelection before = std::exchange(options_.settings, std::move(settings)).selection;
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
      if (target->is_live() && is_wanted(*target) && !may_be_switched_on(*target, before))
        continue;  // its books go on
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
