#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <regex>
#include <string>
#include <thread>
#include <vector>

#include "daemon/base/logging.h"
#include "daemon/cli/commands.h"
#include "daemon/cli/redaction.h"
#include "daemon/cli/serve_options.h"
#include "daemon/daemon.h"
#include "daemon/gobin/go_marks.h"
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
  std::string type = "heap";
  std::vector<std::string> redact;  // regular expressions on names
};

// How long a running process may take from our first look to its first profile.
constexpr auto kAttachTimeout = 10s;

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

Expected<void> wait_until_attached(Daemon& daemon, int pid) {
  const auto deadline = std::chrono::steady_clock::now() + kAttachTimeout;
  while (std::chrono::steady_clock::now() < deadline) {
    for (const model::TargetStatus& target : daemon.targets()) {
      if (target.process.pid != pid) continue;
      if (target.state == model::TargetState::attached) return {};
      return fail("process " + std::to_string(pid) + " cannot be profiled: " + target.reason);
    }
    std::this_thread::sleep_for(5ms);
  }
  if (!std::filesystem::exists("/proc/" + std::to_string(pid)))
    return fail("no process with pid " + std::to_string(pid));
  return fail("process " + std::to_string(pid) +
              " is not a Go program that goheapd recognises; try goheapd inspect --pid " +
              std::to_string(pid));
}

// Beside the target and renamed, so that a full disk leaves no half profile under the name asked for.
std::string temporary_name(const std::string& path) { return path + ".part"; }

// "-" is standard output.
Expected<void> check_writable(const std::string& path) {
  if (path == "-") {
    if (::isatty(STDOUT_FILENO) != 0) return fail("a terminal cannot show a profile: use -o FILE or a pipe");
    return {};
  }
  const std::string temporary = temporary_name(path);
  const bool opened = std::ofstream(temporary, std::ios::binary | std::ios::trunc).is_open();
  if (!opened) return fail("cannot write the profile", path, errno);
  std::remove(temporary.c_str());
  return {};
}

Expected<void> write_file(const std::string& path, const std::string& bytes) {
  if (path == "-") {
    const bool written = std::fwrite(bytes.data(), 1, bytes.size(), stdout) == bytes.size();
    if (!written || std::fflush(stdout) != 0)
      return fail("cannot write the profile", "standard output", errno);
    return {};
  }
  const std::string temporary = temporary_name(path);
  std::ofstream file(temporary, std::ios::binary | std::ios::trunc);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  file.close();
  if (!file || std::rename(temporary.c_str(), path.c_str()) != 0) {
    const int error = errno;
    std::remove(temporary.c_str());
    return fail("cannot write the profile", path, error);
  }
  return {};
}

int record(const RecordOptions& options) {
  const std::vector<std::regex> hidden(options.redact.begin(), options.redact.end());
  set_up_logging("warn", LogFormat::logfmt, redacting(hidden));
  DaemonOptions daemon_options;
  daemon_options.settings.redact = hidden;
  daemon_options.settings.selection.pids.insert(options.pid);
  daemon_options.settings.selection.mode = model::mode_of(options.mode);
  daemon_options.settings.selection.live_heap_when_exact = options.live_heap;
  const std::string process = "/proc/" + std::to_string(options.pid);
  if (!std::filesystem::exists(process)) return report("no process with pid " + std::to_string(options.pid));
  if (::access((process + "/exe").c_str(), R_OK) != 0) {
    return report(
        to_string(Error{"cannot read the program of process " + std::to_string(options.pid), {}, errno}));
  }
  if (!gobin::may_be_go(process + "/exe")) {
    return report("process " + std::to_string(options.pid) + " is not a Go program");
  }
  // Not after the wait: a recording that cannot be written should not be made.
  if (auto writable = check_writable(options.output); !writable) return report(to_string(writable.error()));
  daemon_options.measure_hit_cost = options.mode == "auto";  // it keeps to the budget
  auto daemon = Daemon::create(std::move(daemon_options));
  if (!daemon) return report(to_string(daemon.error()));
  RunningDaemon running(**daemon);
  if (auto attached = wait_until_attached(**daemon, options.pid); !attached)
    return report(to_string(attached.error()));

  // allocs: what was allocated meanwhile. heap: what is held at the end. Exact mode counts from attach anyway.
  const bool delta = options.type == "allocs" && (options.mode != "exact" || options.live_heap);
  const auto duration = std::chrono::duration<double>(options.seconds);
  if (!delta) std::this_thread::sleep_for(duration);
  auto snapshot =
      delta
          ? (*daemon)->delta(options.pid, std::chrono::duration_cast<std::chrono::milliseconds>(duration), {})
          : (*daemon)->heap(options.pid);
  if (!snapshot) return report(snapshot.error().message);
  using exporters::pprof::Profile;
  const Profile profile = options.type == "allocs" ? Profile::allocs : Profile::heap;
  auto written = write_file(options.output, exporters::pprof::encode_gzip(**snapshot, profile));
  if (!written) return report(to_string(written.error()));
  if (options.output == "-") return kExitDone;
  std::fprintf(stderr, "goheapd: wrote %zu stacks to %s; try: go tool pprof -top %s\n",
               (*snapshot)->samples.size(), options.output.c_str(), options.output.c_str());
  return kExitDone;
}

}  // namespace

void add_record(CLI::App& program, Action& action) {
  auto* command =
      program.add_subcommand("record", "write one profile of one process to a file, without a daemon");
  auto options = std::make_shared<RecordOptions>();
  command->add_option("--pid", options->pid, "the process")
      ->required()
      ->check(CLI::Range(1, 4 * 1024 * 1024))
      ->type_name("N");
  command
      ->add_option("--duration", options->seconds,
                   "how long: allocs are those of this time, heap is what is held at its end")
      ->transform(CLI::Validator(to_seconds, "TIME"))
      ->type_name("TIME")
      ->default_str("10s");
  command
      ->add_option("-o,--output", options->output, "the file to write, gzipped pprof; - is standard output")
      ->required()
      ->type_name("FILE");
  command->add_option("--mode", options->mode, "auto, sampled, exact or buckets")
      ->check(CLI::IsMember({"auto", "sampled", "exact", "buckets"}))
      ->capture_default_str();
  command->add_flag("--live-heap", options->live_heap,
                    "in mode exact, sample the live heap beside the counts");
  command->add_option("--type", options->type, "allocs or heap")
      ->check(CLI::IsMember({"allocs", "heap"}))
      ->capture_default_str();
  add_redact_flag(*command, options->redact)->check([](const std::string& pattern) {
    const auto checked = check_regex(pattern);
    return checked ? std::string() : to_string(checked.error());
  });
  command->callback([&action, options] { action = [options] { return record(*options); }; });
}

}  // namespace goheapd::cli
