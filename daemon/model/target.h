#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/model/allocation_kind.h"
#include "daemon/model/gc_cycle.h"
#include "daemon/model/pod.h"
#include "daemon/model/process_key.h"
#include "daemon/model/program_stop.h"

namespace goheapd::model {

enum class TargetState : unsigned char { attached, unsupported, failed, ignored, exited };
inline constexpr std::array<std::string_view, 5> kTargetStateNames = {"attached", "unsupported", "failed",
                                                                      "ignored", "exited"};
inline std::string_view name_of(TargetState state) { return kTargetStateNames[static_cast<size_t>(state)]; }
inline bool has_profiles(TargetState state) {
  return state == TargetState::attached || state == TargetState::exited;
}

enum class Mode : unsigned char { automatic, sampled, exact, buckets };
inline constexpr std::array<std::string_view, 4> kModeNames = {"auto", "sampled", "exact", "buckets"};
inline std::string_view name_of(Mode mode) { return kModeNames[static_cast<size_t>(mode)]; }
// `name` is one of them.
inline Mode mode_of(std::string_view name) {
  return static_cast<Mode>(std::find(kModeNames.begin(), kModeNames.end(), name) - kModeNames.begin());
}

// TargetStatus::source of a runtime's sampler that --allow-runtime-sampling has switched on.
inline constexpr std::string_view kSourceEnabled = "enabled";

// How far what source spans shows as in use can be trusted: whether the objects it samples still live is read after each
// garbage collection, if goheapd gets to look before the next.
struct VerdictTotals {
  uint64_t missed_cycles = 0;  // in which it did not
  uint64_t lost_verdicts = 0;  // on objects that such cycles judged
  bool inuse_reliable = true;  // of late hardly any was lost
};

// One row of /api/v1/targets and the labels of a target's metrics. A plain copy, made by the owner thread.
struct TargetStatus {
  ProcessKey process;
  std::string comm;
  std::string exe;           // as the kernel shows it, " (deleted)" behind it if it was when we looked
  std::string program_path;  // without that: what patterns are matched with
  std::string go_version;
  std::string module;
  bool stripped = false;
  bool pie = false;
  TargetState state = TargetState::failed;
  Mode mode = Mode::sampled;
  std::string source;             // runtime, spans, enabled; empty for exact and buckets
  std::string reason;             // why it is in this state, in words
  bool runtime_readable = false;  // its memory statistics can be had, profiled or not
  int64_t started_wall_ns = 0;
  int64_t attached_wall_ns = 0;  // 0 = never
  int64_t exited_wall_ns = 0;    // 0 = runs
  std::string pod, namespace_name, container;
  std::string pod_uid, container_id;  // as its cgroup names them; empty: it is in none
  PodPtr pod_facts;                   // what Kubernetes says of its pod; null = nothing
  uint64_t sample_rate = 0;           // mean bytes between samples, while they are taken
  std::string level;  // that the governor keeps it at, of probe::kLevelNames; empty: nothing is measured
  double sampled_share = 1;               // of the time at that level in which samples are taken
  std::optional<VerdictTotals> verdicts;  // source spans only

  uint64_t samples = 0;  // events taken in for this target
  uint64_t probe_hits = 0;
  uint64_t probe_cpu_ns =
      0;  // that these hits took of the target's CPU time, as far as it is known what one costs
  double alloc_bytes_per_second = 0;
  uint64_t mode_changes = 0;                           // that the governor of mode auto has made
  double overhead_ratio = 0;                           // estimated share of the target's CPU time, 0..1
  std::optional<double> overhead_limit;                // what it may be; none: nothing is measured
  std::array<double, kAllocationKinds> alloc_bytes{};  // unsampled, since attach, by kind
  std::array<double, kAllocationKinds> alloc_objects{};
  double live_bytes = 0;
  double live_objects = 0;
  bool has_live = false;
  uint64_t settled_objects = 0;  // |events - buckets| settled in favour of the buckets
  uint64_t gc_cycles = 0;
  // Cumulative histogram of stop-the-world pauses; bounds in kGcPauseBoundsSeconds, last = +Inf.
  std::array<uint64_t, 13> gc_pause_buckets{};
  double gc_pause_sum_seconds = 0;
  GcTotals gc_totals;              // of cycles whose end was seen by a probe
  std::optional<GcCycle> last_gc;  // none: none was seen yet
  // Of all goroutines, by reason, as far as probes saw them: every usual reason from the start where there are probes.
  std::vector<StopTotal> stops;

  struct Site {
    std::string function;  // "other" = all that are not in the top N
    double live_bytes = 0;
    double alloc_bytes = 0;
  };
  std::vector<Site> top_sites;
  // Functions of which bytes may be shown for others of the same size class, and the reverse (source spans).
  std::vector<std::string> uncertain_sites;
};

inline constexpr std::array<double, 12> kGcPauseBoundsSeconds = {5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4,
                                                                 5e-4, 1e-3, 2.5e-3, 1e-2, 5e-2, 2.5e-1};

// A counter with one label value, e.g. lost events by reason.
struct LabelledCount {
  std::string label;
  uint64_t count = 0;
};

// How well the pods of this node are known.
struct KubernetesStatus {
  uint64_t pods = 0;
  uint64_t dropped_pods = 0;  // more than we keep
  bool api_current = false;   // the API server's last answer was good
  uint64_t lists = 0;
  uint64_t watches = 0;
  std::vector<LabelledCount> failures;  // by reason; every reason present where the API server is asked
};

// How the daemon itself does.
struct DaemonHealth {
  double loop_age_seconds = 0;           // since its main loop last began a round
  std::optional<std::string> unhealthy;  // set: why; what it has published is out of date
  std::optional<std::string> not_ready;  // set: why; also whenever it is unhealthy
};

// What /metrics needs beside the targets.
struct DaemonStatus {
  std::string version;
  std::string libbpf_version;
  std::vector<LabelledCount> events;       // by kind; every kind present from the start
  std::vector<LabelledCount> lost_events;  // by reason; every reason present from the start
  uint64_t target_writes = 0;  // into memory of targets, which only --allow-runtime-sampling permits
  // Runtimes' samplers that it permits but that were not switched on, or not left on, by reason; every one from the start.
  std::vector<LabelledCount> refused_samplers;
  double overhead_budget_ratio = 0;  // share of a target's CPU time that probes may take
  // Of the configuration: whether the last attempt to load it succeeded, and when one last did.
  bool config_loaded = true;
  int64_t config_loaded_wall_ns = 0;
  uint64_t denied_processes = 0;  // that we may not look at, so nobody knows whether they are Go programs
  std::string why_denied;         // and what to do, where there are some
  std::optional<KubernetesStatus> kubernetes;  // nullopt: no Kubernetes here
};

}  // namespace goheapd::model
