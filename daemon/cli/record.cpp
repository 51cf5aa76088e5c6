#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "daemon/base/logging.h"
#include "daemon/base/output_file.h"
#include "daemon/cli/commands.h"
#include "daemon/cli/process_check.h"
#include "daemon/cli/redaction.h"
#include "daemon/cli/remarks.h"
#include "daemon/cli/serve_options.h"
#include "daemon/cli/stop_signals.h"
#include "daemon/daemon.h"
#include "daemon/early_end.h"
#include "exporters/pprof/encoder.h"

namespace goheapd::cli {
namespace {

using namespace std::chrono_literals;

struct RecordOptions {
  int pid = 0;
  double seconds = 10;
  std::string output;
  std::string mode = "auto";
  bool live_heap = false;
  double overhead_budget_percent = 1;
  std::string type = "heap";
  std::vector<std::string> redact;  // regular expressions on names
};

// How long a running process may take from our first look to its first profile.
constexpr auto kAttachTimeout = 10s;
// How often we look whether it still runs.
constexpr auto kLookAtTarget = 200ms;

int report(const std::string& message) {
  std::fprintf(stderr, "goheapd: %s\n", message.c_str());
  return kExitFailed;
}

// Runs the daemon's loop for as long as it lives.
class RunningDaemon {
 public:
  explicit RunningDaemon(Daemon& daemon) : daemon_(daemon), thread_([&daemon] { daemon.run(); }) {}
  ~RunningDaemon() {
    daemon_.stop();
    thread_.join();
  }
  RunningDaemon(const RunningDaemon&) = delete;
  RunningDaemon& operator=(const RunningDaemon&) = delete;

 private:
  Daemon& daemon_;
  std::thread thread_;
};

Expected<model::ProcessKey> wait_until_attached(Daemon& daemon, int pid, const StopSignals& signals) {
  const std::string process = "process " + std::to_string(pid);
  const auto deadline = std::chrono::steady_clock::now() + kAttachTimeout;
  while (std::chrono::steady_clock::now() < deadline) {
    for (const model::TargetStatus& target : daemon.targets()) {
      if (target.process.pid != pid) continue;
      if (target.state == model::TargetState::attached) return target.process;
      if (target.state == model::TargetState::exited) continue;  // an earlier program of that process
      return fail(process + " cannot be profiled: " + target.reason + "; goheapd inspect --pid " +
                  std::to_string(pid) + " says what works with it");
    }
    if (signals.wait(5ms)) return fail("stopped by a signal before anything was recorded");
    if (!check_readable(pid)) return fail(process_has_ended(pid) + " before anything was recorded");
  }
  return fail(process + " is not a Go program that goheapd recognises; try goheapd inspect --pid " +
              std::to_string(pid));
}

bool still_runs(Daemon& daemon, const model::ProcessKey& process) {
  for (const model::TargetStatus& target : daemon.targets())
    if (target.process == process) return target.state != model::TargetState::exited;
  return false;
}

enum class End : unsigned char { in_time, signal, target_gone };

struct Recording {
  End end = End::in_time;
  double lasted_seconds = 0;
};

// Until the time is over or there is nothing more to come.
Recording wait_for_end(Daemon& daemon, const model::ProcessKey& process, double seconds,
                       const StopSignals& signals) {
  using Clock = std::chrono::steady_clock;
  const auto begin = Clock::now();
  const auto duration = std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  Recording recording;
  for (auto lasted = Clock::duration(0); lasted < duration; lasted = Clock::now() - begin) {
    if (signals.wait(std::min<Clock::duration>(kLookAtTarget, duration - lasted))) {
      recording.end = End::signal;
    } else if (!still_runs(daemon, process)) {
      recording.end = End::target_gone;
    } else {
      continue;
    }
    break;
  }
  const std::chrono::duration<double> lasted = Clock::now() - begin;
  recording.lasted_seconds = std::min(lasted.count(), seconds);
  return recording;
}

// Nothing: it took its time.
std::optional<std::string> why_early(const Recording& recording, const RecordOptions& options) {
  if (recording.end == End::in_time) return std::nullopt;
  const bool by_signal = recording.end == End::signal;
  return ended_early(recording.lasted_seconds, options.seconds,
                     by_signal ? "stopped by a signal" : process_has_ended(options.pid));
}

Expected<void> of_profile(Expected<void> written) {
  if (!written) written.error().what = "cannot write the profile";
  return written;
}

// "-" is standard output.
Expected<void> check_writable(const std::string& path) {
  if (path != "-") return of_profile(check_output_file(path));
  if (::isatty(STDOUT_FILENO) != 0) return fail("a terminal cannot show a profile: use -o FILE or a pipe");
  return {};
}

Expected<void> write_profile(const std::string& path, const std::string& bytes) {
  return of_profile(path == "-" ? print(bytes) : write_output_file(path, bytes));
}

int record(const RecordOptions& options) {
  const std::vector<Pattern> hidden = compiled(options.redact);
  set_up_logging("warn", LogFormat::logfmt, redacting(hidden));
  DaemonOptions daemon_options;
  daemon_options.settings.redact = hidden;
  daemon_options.settings.selection.pids.insert(options.pid);
  const model::Mode mode = model::mode_of(options.mode);
  daemon_options.settings.selection.mode = mode;
  daemon_options.settings.selection.live_heap_when_exact = options.live_heap;
  daemon_options.settings.overhead_budget_percent = options.overhead_budget_percent;
  if (auto is_go = check_go_program(options.pid); !is_go) return report(to_string(is_go.error()));
  // Not after the wait: a recording that cannot be written should not be made.
  if (auto writable = check_writable(options.output); !writable) return report(to_string(writable.error()));
  for (const auto& remark : {remark_on_live_heap(mode, options.live_heap),
                             remark_on_recording(mode, options.live_heap, options.type)}) {
    if (remark) std::fprintf(stderr, "goheapd: %s\n", remark->c_str());
  }
  auto signals = StopSignals::take();
  if (!signals) return report(to_string(signals.error()));
  daemon_options.measure_hit_cost = options.mode == "auto";  // it keeps to the budget
  auto daemon = Daemon::create(std::move(daemon_options));
  if (!daemon) return report(to_string(daemon.error()));
  RunningDaemon running(**daemon);
  signals->listen();
  const auto process = wait_until_attached(**daemon, options.pid, *signals);
  if (!process) return report(to_string(process.error()));

  // allocs: what was allocated meanwhile. heap: what is held at the end. Exact mode counts from attach anyway.
  const bool delta = options.type == "allocs" && (options.mode != "exact" || options.live_heap);
  Recording recording;
  const auto wait = [&] { recording = wait_for_end(**daemon, *process, options.seconds, *signals); };
  if (!delta) wait();
  const auto snapshot = delta ? (*daemon)->delta(options.pid, wait) : (*daemon)->heap(options.pid);
  const auto early = why_early(recording, options);
  if (!snapshot) return report((early ? *early + "; " : std::string()) + snapshot.error().message);
  model::HeapSnapshot recorded = **snapshot;
  if (early) recorded.comments.push_back(*early);
  using exporters::pprof::Profile;
  const Profile profile = options.type == "allocs" ? Profile::allocs : Profile::heap;
  auto written = write_profile(options.output, exporters::pprof::encode_gzip(recorded, profile));
  if (!written) return report(to_string(written.error()));
  if (early) std::fprintf(stderr, "goheapd: %s\n", early->c_str());
  if (options.output != "-") {
    std::fprintf(stderr, "goheapd: wrote %zu stacks to %s; try: %s\n", recorded.samples.size(),
                 options.output.c_str(), command_to_look_at(options.output, mode, options.live_heap).c_str());
  }
  return recording.end == End::target_gone ? kExitTargetGone : kExitDone;
}

}  // namespace

void add_record(CLI::App& program, Action& action) {
  auto* command = program.add_subcommand("record",
                                         "write one profile of one process to a file, without a daemon; "
                                         "Ctrl-C ends it early and writes what there is");
  auto options = std::make_shared<RecordOptions>();
  command->add_option("--pid", options->pid, "the process")
      ->required()
      ->check(CLI::Range(1, 4 * 1024 * 1024))
      ->type_name("N");
  command->add_option("--duration", options->seconds, "how long to record")
      ->transform(CLI::Validator(to_seconds, "TIME"))
      ->check([](const std::string& seconds) {
        return std::stod(seconds) > 0 ? std::string() : "a recording takes longer than 0s";
      })
      ->type_name("TIME")
      ->default_str("10s");
  command
      ->add_option("-o,--output", options->output,
                   "the file to write, gzipped pprof; - is standard output, a device or FIFO is written into")
      ->required()
      ->type_name("FILE");
  command->add_option("--mode", options->mode, "auto, sampled, exact or buckets")
      ->check(CLI::IsMember({"auto", "sampled", "exact", "buckets"}))
      ->capture_default_str();
  command->add_flag("--live-heap", options->live_heap,
                    "in mode exact, sample the live heap beside the counts");
  add_overhead_budget_flag(*command, options->overhead_budget_percent,
                           "share of its CPU time that probes may take, in percent: mode auto keeps to it");
  command
      ->add_option(
          "--type", options->type,
          "allocs: what was allocated in this time; heap: what is held at its end, with all that was "
          "allocated until then, as in the program's own profile")
      ->check(CLI::IsMember({"allocs", "heap"}))
      ->capture_default_str();
  add_redact_flag(*command, options->redact);
  command->callback([&action, options] { action = [options] { return record(*options); }; });
}

}  // namespace goheapd::cli
