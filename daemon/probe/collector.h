// The kernel's side of goheapd in one object: attach to processes, take in what their probes saw.
//
//              attach / detach                       poll
//   daemon ───────────────────▶ Collector ◀──────────────────── daemon (same thread)
//                               │  BpfObject   programs, maps
//                               │  Attacher    links per target, verified
//                               │  decoder     ring bytes ─▶ model::Event, model::ExactStack ─▶ Sinks
//                               │  ExactReader counts ─▶ model::ExactCount
//
// Owned and used by one thread. Attach and detach take 10 to 40 ms each, in which the ring is not emptied; it
// is sized for that.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "daemon/base/expected.h"
#include "daemon/model/event.h"
#include "daemon/model/target.h"
#include "daemon/probe/attach_request.h"
#include "daemon/probe/attacher.h"
#include "daemon/probe/bpf_object.h"
#include "daemon/probe/hit_cost.h"

namespace goheapd::probe {

struct CollectorOptions {
  BpfSizes sizes;
  // In this order; the first that works on this host is taken for all targets.
  std::vector<AttachMethod> methods = {AttachMethod::uprobe_multi, AttachMethod::tracefs_event,
                                       AttachMethod::perf_uprobe};
};

// Where values go. Called from poll(), and from nowhere else.
struct Sinks {
  std::function<void(model::Event&&)> event;
  std::function<void(model::ExactStack&&)> stack;
};

struct AttachReport {
  std::vector<AttachedPoint> points;  // the sites that were taken
  std::chrono::nanoseconds duration{};
};

struct TargetCounters {
  uint64_t hits = 0;              // trap hits in the target
  uint64_t single_step_hits = 0;  // of them, where the kernel single-steps the instruction
  uint64_t program_ns = 0;        // CPU time that our programs took of it, beside the traps; an estimate
  std::vector<model::LabelledCount> lost;  // by reason, every reason
};

class Collector {
 public:
  // Loads the programs and finds the way to attach. Errors say which capability or kernel feature is missing.
  static Expected<Collector> create(const CollectorOptions& options, Sinks sinks);
  Collector(Collector&&) noexcept;
  Collector& operator=(Collector&&) noexcept;
  ~Collector();

  // Puts the probes in; recording is off until set_recording(), so that all sites start at the same moment. A
  // process that is already attached is an error.
  Expected<AttachReport> attach(const AttachRequest& request);
  // Puts in more probes of a process that is attached, of groups that it does not have yet; `request` is as for
  // attach() otherwise. Recording of a new group is off.
  Expected<AttachReport> add(const AttachRequest& request);
  // Takes one group's probes out; the others go on. Of exact the counts are forgotten: read them before. Runs of spans that
  // are open then are cut by the group gc later, if a cycle does so.
  void remove(pid_t pid, ProbeGroup group);
  // Takes all probes out and forgets the exact counts: read them before. Unknown pids are fine.
  void detach(pid_t pid);
  // Many at once: waiting for the kernel's grace periods is shared.
  void detach(std::span<const pid_t> pids);
  // For good: nothing can be attached any more.
  void detach_all();
  // All sites of all groups start and stop with one write. A HitStorm has stopped all but gc.
  Expected<bool> set_recording(pid_t pid, ProbeGroups groups);

  // As set_recording(), with the group exact, which was added for a window: it counts for `duration` from now, at all its
  // sites alike. The kernel ends that by itself.
  Expected<bool> record_window(pid_t pid, ProbeGroups groups, std::chrono::nanoseconds duration);

  // Source spans: how many bytes there are to a sample from now on. Each event carries the distance that it was sampled
  // at.
  Expected<bool> set_mean_distance(pid_t pid, uint64_t bytes);

  // What AttachRequest::storm_ns said, anew.
  Expected<bool> set_storm_limit(pid_t pid, uint64_t storm_ns);
  // Whether the kernel records what it was told to; after a HitStorm, which a full ring may have lost, it does not.
  bool records_as_told(pid_t pid) const;

  // Waits up to `timeout` for events, then delivers what is waiting: not what comes in while it does, which a program can
  // make last for ever. Returns how many. Call it at least every 50 ms: the kernel wakes the reader early only when much is
  // waiting.
  size_t poll(std::chrono::milliseconds timeout);
  // For an event loop of the caller's: readable when much is waiting.
  int poll_fd() const;

  // What the kernel has counted since attach. Counts whose hash is 0 have no known stack.
  Expected<std::vector<model::ExactCount>> read_exact(pid_t pid);
  // The same of many, in the order of `pids`: it takes one walk over the counts of all targets, however many are wanted.
  Expected<std::vector<std::vector<model::ExactCount>>> read_exact(std::span<const pid_t> pids);

  Expected<TargetCounters> counters(pid_t pid) const;
  // Of all targets, also those that are gone, and of the decoder. Every reason is there from the start.
  std::vector<model::LabelledCount> lost_events() const;
  // Events delivered, by kind.
  std::vector<model::LabelledCount> events() const;

  AttachMethod method() const;
  // What a hit costs here, measured anew: takes some 200 ms.
  Expected<HitCost> hit_cost() const;

 private:
  struct State;
  explicit Collector(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace goheapd::probe
