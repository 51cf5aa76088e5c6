// From a process that appears to a target with probes, and back when it exits. Owner thread, but for the opening itself.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <utility>

#include "daemon/base/clock.h"
#include "daemon/base/open_file.h"
#include "daemon/daemon.h"

namespace goheapd {
namespace {

constexpr uint64_t kMillisecond = 1'000'000;
// A program that has just started sets up its runtime within microseconds; on a loaded host it may wait longer.
constexpr std::array<int, 6> kOpenRetryMillis = {20, 50, 100, 300, 1000, 3000};

}  // namespace

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
  note_denied_processes();
  if (!has_scanned_.exchange(true)) warn_of_missing_pids();
}

void Daemon::note_denied_processes() {
  std::vector<pid_t> pids = discovery_->denied();
  size_t others = discovery_->programs();
  if (const auto& asked = options_.settings.selection.pids; !asked.empty()) {
    std::erase_if(pids, [&asked](pid_t pid) { return !asked.contains(pid); });
    others = 0;  // are none of our business then
  }
  if (const auto line = denied_.update(pids.size(), others)) spdlog::warn("{}", *line);
}

void Daemon::warn_of_missing_pids() const {
  for (const pid_t pid : options_.settings.selection.pids) {
    if (current_.contains(pid)) continue;
    const auto path = proc_.exe_path(pid);
    const auto file = OpenFile::open(proc_.path(pid, "exe"));
    if (!path && process::is_forbidden(path.error())) {
      spdlog::warn("pid {} of --pid may not be looked at: {}", pid, denied_.why());
    } else if (!file && process::is_forbidden(file.error())) {
      spdlog::warn(
          "pid {} of --pid runs a file that goheapd may not read: let it, or grant CAP_DAC_READ_SEARCH", pid);
    } else {
      spdlog::warn("pid {} of --pid is no Go program, or there is no such process; goheapd waits for it",
                   pid);
    }
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
    spdlog::info(
        "pid {} ({}, {}): attached in mode {} by {}", pid, opened.status.comm, opened.status.go_version,
        opened.count_exactly ? "exact with its live heap sampled" : model::name_of(opened.status.mode),
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
  {
    std::lock_guard lock(stop_mutex_);
    ++exits_;
  }
  stop_wake_.notify_all();
  forget_old();
}

// It is sampled by its spans, and from now on its runtime's sampler may be switched on instead. What was allowed `before`
// was tried then.
bool Daemon::may_be_switched_on(const Target& target, const TargetSelection& before) const {
  return runtime_sampling_ && target.spans() != nullptr &&
         !allows_runtime_sampling(before, target.program_path()) &&
         allows_runtime_sampling(options_.settings.selection, target.program_path());
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

}  // namespace goheapd
