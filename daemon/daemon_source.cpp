// The daemon as HTTP threads see it: it answers from what the owner thread tells, and reads targets' memory itself.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <future>
#include <utility>

#include "daemon/base/clock.h"
#include "daemon/daemon.h"
#include "daemon/early_end.h"
#include "daemon/profile/symbolized_snapshot.h"
#include "exporters/target_request.h"

namespace goheapd {
namespace {

using exporters::Refusal;
using exporters::SourceError;

// Whoever asks gets nothing older than this; many who ask at once cost one update.
constexpr uint64_t kFreshEnoughNs = 100'000'000;
constexpr auto kAskOwnerTimeout = std::chrono::seconds(10);
// The owner loop comes round many times a second; where hundreds of processes end at once and probes are slow to
// remove, it may take seconds.
constexpr uint64_t kHangsAfterNs = 15'000'000'000;

SourceError unavailable(std::string message) { return {Refusal::unavailable, std::move(message)}; }

}  // namespace

// What an HTTP thread needs to read a target's memory by itself, or the answer where there is nothing to read.
struct Daemon::Access {
  model::ProcessKey key;
  std::shared_ptr<TargetReader> reader;
  std::optional<Taken> done;
  std::shared_future<void> reading;  // valid: the owner reads by itself, until then
};

struct Daemon::StatisticsAccess {
  model::ProcessKey key;
  std::shared_ptr<TargetStatistics> reader;  // null: nobody has asked yet
};

model::DaemonHealth Daemon::health() const {
  const uint64_t last = last_round_ns_;  // before the clock is read, so that it is not later
  const uint64_t age_ns = kernel_time_ns() - last;
  model::DaemonHealth health;
  health.loop_age_seconds = static_cast<double>(age_ns) * 1e-9;
  if (age_ns > kHangsAfterNs) {
    health.unhealthy = "the main loop has hung for " + std::to_string(age_ns / 1'000'000'000) +
                       " s: look at the log and restart goheapd";
    health.not_ready = health.unhealthy;
  } else if (stopping_) {
    health.not_ready = "goheapd is stopping";
  } else if (!has_scanned_) {
    health.not_ready = "the processes of this host have not been listed yet";
  }
  return health;
}

void Daemon::refresh() {
  if (health().unhealthy) return;  // nobody would answer
  {
    std::lock_guard lock(published_mutex_);
    if (kernel_time_ns() < published_at_ns_ + kFreshEnoughNs) return;
  }
  // An owner that does not answer leaves us with what it published last.
  ask_owner<bool>([this]() -> exporters::SourceResult<bool> {
    // Of many who were waiting for it the first has made the update. Only this thread publishes.
    if (kernel_time_ns() < published_at_ns_ + kFreshEnoughNs) return true;
    drain_probes();
    update_from_kernel();
    publish(kernel_time_ns());
    return true;
  });
}

std::vector<model::TargetStatus> Daemon::targets() {
  refresh();
  std::lock_guard lock(published_mutex_);
  return published_targets_;
}

model::DaemonStatus Daemon::status() {
  refresh();
  std::lock_guard lock(published_mutex_);
  return published_status_;
}

template <typename T>
exporters::SourceResult<T> Daemon::ask_owner(std::function<exporters::SourceResult<T>()> question) {
  auto promise = std::make_shared<std::promise<exporters::SourceResult<T>>>();
  auto answer = promise->get_future();
  const bool posted =
      mailbox_.post([promise, question = std::move(question)] { promise->set_value(question()); });
  promise.reset();
  if (!posted || answer.wait_for(kAskOwnerTimeout) != std::future_status::ready) {
    return tl::unexpected(unavailable("goheapd is stopping or overloaded; try again"));
  }
  try {
    return answer.get();
  } catch (const std::future_error&) {  // dropped by a closing mailbox
    return tl::unexpected(unavailable("goheapd is stopping"));
  }
}

exporters::SourceResult<Daemon::Taken> Daemon::take(pid_t pid) {
  auto access = ask_owner<Access>([this, pid]() { return open_access(pid); });
  if (!access) return tl::unexpected(access.error());
  if (access->done) return std::move(*access->done);
  if (access->reading.valid()) {
    if (access->reading.wait_for(kAskOwnerTimeout) != std::future_status::ready)
      return tl::unexpected(unavailable("the process's heap takes too long to read; try again"));
    return ask_owner<Taken>([this, key = access->key]() -> exporters::SourceResult<Taken> {
      Target* target = find(key);
      if (target == nullptr)
        return tl::unexpected(SourceError{Refusal::gone_target, "the process has exited"});
      if (!target->has_profile())
        return tl::unexpected(unavailable("cannot read the process's heap at the moment; try again"));
      if (target->is_live()) drain_exact(*target);
      return taken_from(*target);
    });
  }

  auto reading = std::make_shared<Expected<TargetReading>>(access->reader->read());
  return ask_owner<Taken>(
      [this, key = access->key, reader = access->reader, reading]() -> exporters::SourceResult<Taken> {
        Target* target = find(key);
        if (target == nullptr)
          return tl::unexpected(SourceError{Refusal::gone_target, "the process has exited"});
        if (target->is_live() && target->reader() != reader)
          return tl::unexpected(unavailable("the source of the profile is changing; try again"));
        if (target->is_live()) {
          if (!*reading) {
            return tl::unexpected(unavailable(
                "cannot read the process's profile records: " + to_string(reading->error()) + "; try again"));
          }
          drain_probes();
          take_over(*target, std::move(**reading));
          drain_exact(*target);
        }
        return taken_from(*target);
      });
}

exporters::SourceResult<Target*> Daemon::find_or_refuse(pid_t pid) {
  Target* target = find(pid);
  if (target == nullptr) {
    for (auto& [key, candidate] : targets_) {
      if (key.pid == pid) target = candidate.get();
    }
  }
  if (target == nullptr && std::find(forgotten_.begin(), forgotten_.end(), pid) != forgotten_.end()) {
    return tl::unexpected(
        SourceError{Refusal::gone_target, "the process has exited, and no profile of it is kept"});
  }
  if (target == nullptr) {
    return tl::unexpected(exporters::unknown_target(pid));
  }
  return target;
}

exporters::SourceResult<Daemon::Access> Daemon::open_access(pid_t pid) {
  const auto found = find_or_refuse(pid);
  if (!found) return tl::unexpected(found.error());
  Target* target = *found;
  Access access;
  access.key = target->key();
  if (target->is_live() && target->spans() != nullptr) {
    access.reading = refresh_spans(*target);
    return access;
  }
  if (target->is_live() && target->reads_records()) {
    access.reader = target->reader();
    return access;
  }
  if (target->is_live()) drain_exact(*target);
  if (!target->has_profile()) {
    const auto refusal =
        target->state() == model::TargetState::exited ? Refusal::gone_target : Refusal::unsupported_target;
    return tl::unexpected(SourceError{refusal, target->reason()});
  }
  access.done = taken_from(*target);
  return access;
}

exporters::SourceResult<Daemon::StatisticsAccess> Daemon::statistics_access(pid_t pid) {
  const auto found = find_or_refuse(pid);
  if (!found) return tl::unexpected(found.error());
  const Target& target = **found;
  if (target.state() == model::TargetState::exited || target.state() == model::TargetState::ignored) {
    const auto refusal =
        target.state() == model::TargetState::exited ? Refusal::gone_target : Refusal::unsupported_target;
    return tl::unexpected(SourceError{refusal, target.reason()});
  }
  return StatisticsAccess{target.key(), target.statistics()};
}

exporters::SourceResult<model::GcLog> Daemon::gc_log(pid_t pid) {
  auto answer = ask_owner<model::GcLog>([this, pid]() -> exporters::SourceResult<model::GcLog> {
    drain_probes();
    const auto found = find_or_refuse(pid);
    if (!found) return tl::unexpected(found.error());
    const Target& target = **found;
    model::GcLog log = target.gc_log();
    if (log.cycles.empty() && target.mode() == model::Mode::buckets) {
      return tl::unexpected(SourceError{Refusal::unsupported_target,
                                        "mode buckets has no probes, so single GC cycles are not seen"});
    }
    if (log.cycles.empty() && !target.is_live()) {
      return tl::unexpected(SourceError{Refusal::unsupported_target, target.reason()});
    }
    return log;
  });
  if (!answer) return tl::unexpected(redacted(answer.error()));
  return answer;
}

exporters::SourceResult<model::ProgramStatistics> Daemon::statistics(pid_t pid) {
  auto statistics = read_statistics(pid);
  if (!statistics) return tl::unexpected(redacted(statistics.error()));
  return statistics;
}

exporters::SourceResult<model::ProgramStatistics> Daemon::read_statistics(pid_t pid) {
  auto access = ask_owner<StatisticsAccess>([this, pid]() { return statistics_access(pid); });
  if (!access) return tl::unexpected(access.error());
  if (!access->reader) {
    const std::string exe = proc_.path(pid, "exe");
    const auto file = OpenFile::open(exe);
    const auto program = file ? binaries_.open(*file) : Unexpected(file.error());
    if (!program) return tl::unexpected(SourceError{Refusal::unsupported_target, to_string(program.error())});
    auto reader = TargetStatistics::open(proc_, *program->binary, pid);
    if (!reader) return tl::unexpected(SourceError{Refusal::unsupported_target, to_string(reader.error())});
    if (const auto same = probe::check_still_runs({exe, program->file}); !same)
      return tl::unexpected(unavailable(to_string(same.error())));
    access->reader = std::move(*reader);
    mailbox_.post([this, key = access->key, opened = access->reader] {
      Target* target = find(key);
      // The first one stays: it knows what has been shown.
      if (target != nullptr && target->state() != model::TargetState::exited && !target->statistics())
        target->keep_statistics(opened);
    });
  }
  auto statistics = access->reader->read(proc_);
  if (!statistics) return tl::unexpected(unavailable(to_string(statistics.error()) + "; try again"));
  return std::move(*statistics);
}

Daemon::Taken Daemon::taken_from(const Target& target) const {
  return {target.snapshot(loss_comments(target)), target.binary(), target.load_bias()};
}

std::vector<std::string> Daemon::loss_comments(const Target& target) const {
  std::vector<std::string> comments;
  if (!collector_) return comments;
  const auto counters = collector_->counters(target.pid());
  if (!counters) return comments;
  for (const model::LabelledCount& loss : counters->lost) {
    if (loss.count != 0) comments.push_back("lost " + std::to_string(loss.count) + " events: " + loss.label);
  }
  return comments;
}

exporters::SourceError Daemon::redacted(exporters::SourceError error) const {
  error.message = redactor_.redact_text(error.message);
  return error;
}

exporters::SourceResult<model::HeapSnapshotPtr> Daemon::symbolised(const Taken& taken) const {
  return redactor_.redact(profile::symbolize(*taken.raw, *taken.binary, taken.load_bias));
}

exporters::SourceResult<model::HeapSnapshotPtr> Daemon::heap(pid_t pid) {
  auto taken = take(pid);
  if (!taken) return tl::unexpected(redacted(taken.error()));
  return symbolised(*taken);
}

exporters::SourceResult<model::HeapSnapshotPtr> Daemon::heap_delta(pid_t pid, std::chrono::seconds seconds,
                                                                   std::stop_token stop,
                                                                   const exporters::MayMake& may_make) {
  auto begin = take(pid);
  if (!begin) return tl::unexpected(redacted(begin.error()));
  const auto begun = std::chrono::steady_clock::now();
  bool is_gone = false;
  for (;;) {
    const uint64_t exits = exits_;
    // Nothing more comes of a process that has ended.
    is_gone = ask_owner<bool>([this, process = begin->raw->process]() -> exporters::SourceResult<bool> {
                const Target* target = find(process);
                return target == nullptr || target->state() == model::TargetState::exited;
              }).value_or(false);
    if (is_gone) break;
    std::unique_lock lock(stop_mutex_);
    const bool woken = stop_wake_.wait_until(lock, stop, begun + seconds,
                                             [&] { return stopping_.load() || exits_ != exits; });
    if (stopping_) return tl::unexpected(unavailable("goheapd is stopping"));
    if (stop.stop_requested()) return tl::unexpected(unavailable("the request was given up"));
    if (!woken) break;
  }
  const std::chrono::duration<double> lasted = std::chrono::steady_clock::now() - begun;
  return end_delta(
      pid, std::move(*begin), may_make,
      is_gone ? ended_early(lasted.count(), static_cast<double>(seconds.count()), process_has_ended(pid))
              : std::string());
}

exporters::SourceResult<model::HeapSnapshotPtr> Daemon::delta(pid_t pid, const std::function<void()>& wait) {
  auto begin = take(pid);
  if (!begin) return tl::unexpected(redacted(begin.error()));
  wait();
  return end_delta(pid, std::move(*begin), {}, {});
}

exporters::SourceResult<model::HeapSnapshotPtr> Daemon::end_delta(pid_t pid, Taken begin,
                                                                  const exporters::MayMake& may_make,
                                                                  const std::string& remark) {
  auto end = take(pid);
  if (!end) return tl::unexpected(redacted(end.error()));
  auto change = profile::difference(*end->raw, *begin.raw);
  if (!change) {
    const bool is_replaced = end->raw->process != begin.raw->process;
    return tl::unexpected(
        redacted({is_replaced ? Refusal::gone_target : Refusal::unavailable, to_string(change.error())}));
  }
  if (!remark.empty()) change->comments.push_back(remark);
  end->raw = std::make_shared<const profile::RawSnapshot>(std::move(*change));
  begin.raw.reset();  // it may take a while until we may go on
  if (may_make && !may_make())
    return tl::unexpected(unavailable("too many profiles are being made; try later"));
  return symbolised(*end);
}

}  // namespace goheapd
