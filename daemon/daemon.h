// Wires everything.
//
//   worker (files, memory)          owner thread                             HTTP threads
//   ───────────────────────         ─────────────────────────────            ─────────────────────────
//   open_target ──────────────▶ mailbox ─▶ targets, books ◀── ring (Collector)
//   periodic readings ────────▶ mailbox ─▶ apply                 ◀── mailbox ── heap(pid): read memory, ask for a
//                                        └─▶ statuses (locked copy) ────────▶    raw snapshot, symbolise, encode
//
// The owner thread alone touches targets. Locks live at the mailbox and at the published statuses only.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <unordered_map>
#include <vector>

#include "daemon/base/clock.h"
#include "daemon/base/pattern.h"
#include "daemon/base/task_queue.h"
#include "daemon/base/unique_fd.h"
#include "daemon/denied_processes.h"
#include "daemon/gobin/binary_cache.h"
#include "daemon/k8s/pod_source.h"
#include "daemon/opening_schedule.h"
#include "daemon/probe/collector.h"
#include "daemon/process/discovery.h"
#include "daemon/process/proc_fs.h"
#include "daemon/profile/exact_window.h"
#include "daemon/profile/redactor.h"
#include "daemon/runtime_sampling.h"
#include "daemon/target.h"
#include "daemon/target_opener.h"
#include "exporters/source.h"

namespace goheapd {

// What a running daemon can be told anew.
struct DaemonSettings {
  TargetSelection selection;
  std::vector<Pattern> redact;  // what no name that leaves may show
  size_t top_sites = 20;        // of targets that are attached from now on
  // Share of a target's CPU time that its probes may take: mode auto keeps to it, in other modes the log says so.
  double overhead_budget_percent = 1;
  // How long the last profile of a process that has exited is served.
  int64_t keep_exited_ns = 600'000'000'000;
  // What a runtime's profile records may take where we switched its sampler on; beyond, it is switched off again.
  uint64_t most_record_bytes = 16 << 20;
};

struct DaemonOptions {
  DaemonSettings settings;
  // Kubernetes is looked for only where this is set.
  std::optional<k8s::PodSourceOptions> pods;
  std::filesystem::path data_dir;  // empty: nothing is kept, and nothing can be switched on
  // Find out at start what a probe hit costs here, and watch over what probes take of targets; takes a quarter of a second.
  bool measure_hit_cost = true;
  // Called by the owner loop in each of its rounds with kernel_time_ns(): a sign that it does not hang.
  std::function<void(uint64_t now_ns)> on_round;
};

class Daemon final : public exporters::ProfileSource {
 public:
  static Expected<std::unique_ptr<Daemon>> create(DaemonOptions options);
  ~Daemon() override;
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  // Runs the owner loop in this thread until stop(). Detaches every probe before it returns.
  void run();
  // From any thread, also a signal handler's; run() returns within 2 s, with hundreds of one file later.
  void stop();
  // Takes new settings at once: targets they no longer want are detached, others may be attached.
  void reconfigure(DaemonSettings settings);
  // Remembers that what is on disk was refused, so that the old configuration stays in force.
  void reject_configuration();

  // exporters::ProfileSource
  model::DaemonHealth health() const override;
  std::vector<model::TargetStatus> targets() override;
  model::DaemonStatus status() override;
  exporters::SourceResult<model::HeapSnapshotPtr> heap(pid_t pid) override;
  exporters::SourceResult<model::HeapSnapshotPtr> heap_delta(pid_t pid, std::chrono::seconds seconds,
                                                             std::stop_token stop,
                                                             const exporters::MayMake& may_make) override;
  exporters::SourceResult<model::ProgramStatistics> statistics(pid_t pid) override;
  exporters::SourceResult<model::GcLog> gc_log(pid_t pid) override;
  // heap_delta over the time that `wait` takes.
  exporters::SourceResult<model::HeapSnapshotPtr> delta(pid_t pid, const std::function<void()>& wait);

 private:
  struct Taken {
    std::shared_ptr<const profile::RawSnapshot> raw;
    std::shared_ptr<const gobin::GoBinary> binary;
    uint64_t load_bias = 0;
  };
  // What the probes have taken of a target since they were attached, and of how much.
  struct TargetCost {
    probe::CostSample sample;
    uint64_t hits = 0;
  };
  struct OpenWindow {
    model::ProcessKey process;
    uint64_t begin_ns = 0;
    uint64_t end_ns = 0;
    uint64_t probe_ns_before = 0;
    profile::ExactWindow seen;
  };
  struct Access;
  struct StatisticsAccess;

  Daemon(DaemonOptions options, process::ProcFs proc);
  Expected<void> load_probes();
  Expected<void> prepare_runtime_sampling();
  void limit_runtime_sampling(Target& target, const TargetReading& reading);
  Expected<void> start_pods();

  // Owner thread.
  void drain_probes();
  void on_event(const model::Event& event);
  void on_stack(model::ExactStack stack);
  void take_exec_hints();
  void scan_processes();
  void note_denied_processes();
  void warn_of_missing_pids() const;
  void take_changes(const std::vector<process::ProcessChange>& changes);
  size_t sites_of_new_target() const;
  void open_later(const model::ProcessKey& key, uint32_t attempt);
  void note_failure_or_forget(const model::ProcessKey& key);
  void post_opening(const model::ProcessKey& key, uint32_t attempt);
  void on_opened(const model::ProcessKey& key, OpenedTarget opened, uint32_t attempt, uint64_t generation);
  void attach(Target& target, OpenedTarget opened, const std::string& known_reason);
  void detach(Target& target);
  void detach(const std::vector<Target*>& targets);
  void take_probes_out(const std::vector<Target*>& targets);
  void on_processes_gone(const std::vector<model::ProcessKey>& keys);
  void start_reading(Target& target);
  void take_over(Target& target, TargetReading reading);
  void start_due_readings(uint64_t now_ns);
  // Source spans, in daemon_spans.cpp.
  void start_span_reading(Target& target);
  void count_failed_reading(const Target& target, const Error& error);
  std::shared_future<void> refresh_spans(Target& target);
  bool has_wrong_source(const Target& target) const;
  void change_source(Target& target);
  // Windows that divide shared size classes, in daemon_windows.cpp: at most one is open at a time.
  void start_windows(Target& target);
  void run_windows(uint64_t now_ns);
  bool open_window(Target& target, std::chrono::nanoseconds duration);
  void close_window();
  bool has_window(const Target& target) const { return window_ && window_->process == target.key(); }
  int millis_to_next_round(uint64_t now_ns) const;
  void follow_sources();
  void reexamine();
  // daemon_pods.cpp: takes over what has become known of pods, and judges their processes again.
  void update_pods();
  void drain_exact(Target& target);
  void drain_exact(const std::vector<Target*>& targets);
  // Mode auto, in daemon_governor.cpp.
  void spend_new_budget();
  void start_governing(Target& target, const OpenedTarget& opened);
  uint64_t storm_limit_ns() const;
  void govern(uint64_t now_ns);
  void take_storms();
  // Nothing: the process is gone; its exit will be told.
  std::optional<TargetCost> cost_of(Target& target) const;
  probe::HitCost hit_cost_or_guess() const;
  // What the hits so far have taken of its CPU time.
  uint64_t probe_ns_of(Target& target, const probe::TargetCounters& counters) const;
  void look_at_cost(Target& target);
  void note_last_cost(Target& target);
  void take_turn(Target& target);
  void end_slice(Target& target, uint64_t recorded_ns);
  uint64_t next_slice_end_ns(uint64_t latest_ns) const;
  void go(Target& target, const probe::Move& move);
  bool begin_counting(Target& target);
  void adapt_distance(Target& target, const probe::CostSample& sample);
  Expected<void> change_level(Target& target, probe::Level from, probe::Level to);
  Expected<void> add_probes(Target& target, probe::ProbeGroup group, bool for_window = false);
  Expected<void> set_distance(const Target& target, probe::Level level);
  void update_from_kernel();
  void forget_old();
  void publish(uint64_t now_ns);
  bool is_wanted(const Target& target) const;
  bool is_wanted(const Target& target, const PodVerdict& verdict) const;
  bool may_be_switched_on(const Target& target, const TargetSelection& before) const;
  Target* find(pid_t pid);
  Target* find(const model::ProcessKey& key);
  // The present life of a pid, else its latest past one.
  exporters::SourceResult<Target*> find_or_refuse(pid_t pid);
  exporters::SourceResult<Access> open_access(pid_t pid);
  exporters::SourceResult<StatisticsAccess> statistics_access(pid_t pid);
  Taken taken_from(const Target& target) const;
  std::vector<std::string> loss_comments(const Target& target) const;

  // Other threads.
  void refresh();
  template <typename T>
  exporters::SourceResult<T> ask_owner(std::function<exporters::SourceResult<T>()> question);
  exporters::SourceResult<Taken> take(pid_t pid);
  // What has changed since `begin`; `remark` becomes a comment of the profile unless it is empty.
  exporters::SourceResult<model::HeapSnapshotPtr> end_delta(pid_t pid, Taken begin,
                                                            const exporters::MayMake& may_make,
                                                            const std::string& remark);
  exporters::SourceResult<model::HeapSnapshotPtr> symbolised(const Taken& taken) const;
  exporters::SourceResult<model::ProgramStatistics> read_statistics(pid_t pid);
  // What leaves by an error message is subject to --redact, too.
  exporters::SourceError redacted(exporters::SourceError error) const;

  DaemonOptions options_;
  const process::ProcFs proc_;
  profile::Redactor redactor_;
  gobin::BinaryCache binaries_;
  Mailbox mailbox_;
  std::optional<probe::Collector>
      collector_;                         // none in mode buckets, which needs no privilege to load programs
  std::unique_ptr<k8s::PodSource> pods_;  // null: no Kubernetes here
  std::string libbpf_version_;
  std::optional<probe::HitCost> hit_cost_;             // none: not measured
  std::unique_ptr<RuntimeSampling> runtime_sampling_;  // null: never asked for. Refers to proc_
  std::optional<process::Discovery> discovery_;
  DeniedProcesses denied_;
  std::map<model::ProcessKey, std::unique_ptr<Target>> targets_;
  model::ProcessKey next_governed_;                       // where the next round of governors begins
  std::unordered_map<pid_t, model::ProcessKey> current_;  // the present life of each pid
  std::multimap<uint64_t, std::pair<model::ProcessKey, uint32_t>> retries_;  // by time: process and attempt
  OpeningSchedule openings_;
  std::atomic<bool> has_scanned_{false};
  std::set<model::ProcessKey> over_budget_;  // the log has said so
  std::deque<pid_t> forgotten_;              // exited, and only this is known of them
  std::vector<model::ProcessExec> exec_hints_;
  std::vector<model::HitStorm> storms_;
  std::optional<OpenWindow> window_;
  uint64_t next_window_ns_ = 0;  // of any target
  uint64_t next_slice_ns_ = 0;   // the same
  uint64_t failed_readings_ = 0;
  uint64_t lost_pauses_ = 0;       // as TargetGc counts them
  uint64_t dropped_profiles_ = 0;  // of processes that have exited, before their time
  uint64_t unread_counts_ = 0;     // failed readings of the kernel's exact counts
  uint64_t unread_samples_ = 0;    // processes ended with what their stacks were
  uint64_t span_deaths_ = 0;       // of all targets of source spans; their births are events of probes
  uint64_t lost_verdicts_ = 0;     // of all targets of source spans, as profile::SpanLedger counts them
  uint64_t untracked_runs_ = 0;    // the same
  bool config_loaded_ = true;      // the last attempt
  int64_t config_loaded_wall_ns_ = wall_time_ns();

  std::atomic<bool> stopping_{false};
  std::atomic<uint64_t> last_round_ns_{kernel_time_ns()};  // when the owner loop last began one
  std::atomic<uint64_t> exits_{0};                         // how often targets have exited
  mutable std::mutex stop_mutex_;
  std::condition_variable_any stop_wake_;  // wakes heap_delta(), where we stop or a target has exited

  mutable std::mutex published_mutex_;
  uint64_t published_at_ns_ = 0;
  std::vector<model::TargetStatus> published_targets_;
  model::DaemonStatus published_status_;

  WorkerPool workers_;  // last: its tasks post to the mailbox and read binaries_
};

}  // namespace goheapd
