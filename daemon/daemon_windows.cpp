// Source spans in the daemon: windows in which every allocation of a target is counted for some milliseconds, to divide
// the size classes that several stacks share. alias_windows.h says when; here they are opened and closed. Owner thread.
//
//   probes in ──▶ record until ... ──▶ (the kernel stops at that moment, all sites alike) ──▶ read counts ──▶ probes out
#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "daemon/base/clock.h"
#include "daemon/daemon.h"

namespace goheapd {
namespace {

using probe::ProbeGroup;

constexpr uint64_t kMillisecond = 1'000'000;
// The ring does not wake us for each record (that would cost the target microseconds), so we look this often.
constexpr uint64_t kTick = 50 * kMillisecond;
// Programs that were in the middle of counting an allocation when the window ended.
constexpr uint64_t kAfterEnd = kMillisecond / 2;
// Probes go in and out in this thread: of its time windows may take at most one part in so many.
constexpr uint64_t kRestFactor = 20;

}  // namespace

int Daemon::millis_to_next_round(uint64_t now_ns) const {
  uint64_t next = next_slice_end_ns(now_ns + kTick);
  if (window_) next = std::min(next, window_->end_ns);
  const uint64_t wait = next - std::min(next, now_ns);
  return static_cast<int>((wait + kMillisecond - 1) / kMillisecond);
}

void Daemon::start_windows(Target& target) {
  // Other ways to attach take longer for a few probes than a window may last.
  if (target.spans() == nullptr || collector_->method() != probe::AttachMethod::uprobe_multi ||
      !target.binary()->probe_sites().exact())
    return;
  const double trap_ns = hit_cost_or_guess().ns[static_cast<size_t>(probe::CostClass::push)];
  target.spans()->start_windows(
      AliasWindows(options_.settings.overhead_budget_percent / 100, trap_ns, probe::kCountingNs));
}

void Daemon::run_windows(uint64_t now_ns) {
  if (window_) {
    if (now_ns >= window_->end_ns) close_window();
    return;
  }
  if (now_ns < next_window_ns_) return;
  for (auto& [key, target] : targets_) {
    if (!target->is_live() || target->spans() == nullptr || target->is_exact()) continue;
    AliasWindows* const windows = target->spans()->windows();
    if (windows == nullptr || !windows->look_due(now_ns)) continue;
    // Sampling itself is too much already.
    if (target->governor() != nullptr && target->governor()->level() != probe::Level::sampled) continue;
    if (!target->spans()->ledger().wants_windows()) {
      windows->not_wanted(now_ns);
      continue;
    }
    const auto cpu = process_cpu_time_ns(target->pid());
    const auto allocations = target->reader()->allocated_objects();
    if (!cpu || !allocations) continue;  // gone; its exit will be told
    const auto duration = windows->look(now_ns, *cpu, *allocations);
    if (duration && open_window(*target, *duration)) return;
  }
}

bool Daemon::open_window(Target& target, std::chrono::nanoseconds duration) {
  const auto before = cost_of(target);
  if (!before) return false;
  OpenWindow window{.process = target.key(),
                    .begin_ns = kernel_time_ns(),
                    .end_ns = 0,
                    .probe_ns_before = before->sample.probe_ns,
                    .seen = {}};
  auto opened = add_probes(target, ProbeGroup::exact, true);
  if (opened) {
    drain_probes();
    const auto recording = collector_->record_window(
        target.pid(), {ProbeGroup::gc, ProbeGroup::spans, ProbeGroup::exact}, duration);
    if (!recording) {
      collector_->remove(target.pid(), ProbeGroup::exact);
      opened = Unexpected(recording.error());
    }
  }
  if (!opened) {
    spdlog::debug("pid {}: cannot open a window: {}", target.pid(), to_string(opened.error()));
    target.spans()->windows()->failed(kernel_time_ns());
    return false;
  }
  window.end_ns = kernel_time_ns() + static_cast<uint64_t>(duration.count()) + kAfterEnd;
  window_ = std::move(window);
  return true;
}

void Daemon::close_window() {
  Target* const target = find(window_->process);
  if (target == nullptr || !target->is_live() || target->spans() == nullptr) {
    window_.reset();
    return;
  }
  const pid_t pid = target->pid();
  drain_probes();
  auto counts = collector_->read_exact(pid);
  drain_probes();  // stacks that the counts just read refer to
  if (auto stopped = collector_->set_recording(pid, {ProbeGroup::gc, ProbeGroup::spans}); !stopped)
    spdlog::warn("pid {}: cannot close a window: {}", pid, to_string(stopped.error()));
  collector_->remove(pid, ProbeGroup::exact);

  OpenWindow window = std::move(*window_);
  window_.reset();
  const uint64_t now = kernel_time_ns();
  next_window_ns_ = now + kRestFactor * (now - window.begin_ns);
  const auto after = cost_of(*target);
  const uint64_t taken = after ? after->sample.probe_ns : window.probe_ns_before;
  const uint64_t cost = taken - std::min(window.probe_ns_before, taken);
  SpanSource& spans = *target->spans();
  bool agrees = false;
  if (counts) {
    window.seen.time_ns = now;
    window.seen.counts = std::move(*counts);
    agrees = spans.ledger().add_window(window.seen);
  } else {
    ++unread_counts_;
    spdlog::debug("pid {}: cannot read what a window has counted: {}", pid, to_string(counts.error()));
  }
  spans.windows()->closed(now, cost, agrees, spans.ledger().is_divided());
  spdlog::debug("pid {}: a window of {} us took {} us of its CPU time, {} stacks, {}", pid,
                (now - window.begin_ns) / 1000, cost / 1000, window.seen.stacks.size(),
                agrees ? "as before" : "unlike those before");
}

}  // namespace goheapd
