#include <malloc.h>
#include <spdlog/spdlog.h>
#include <sys/signalfd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>

#include "daemon/base/logging.h"
#include "daemon/base/service_manager.h"
#include "daemon/base/unique_fd.h"
#include "daemon/cli/commands.h"
#include "daemon/cli/redaction.h"
#include "daemon/cli/remarks.h"
#include "daemon/cli/serve_options.h"
#include "daemon/cli/stop_signals.h"
#include "daemon/daemon.h"
#include "daemon/runtime_sampling.h"
#include "daemon/syscall_filter.h"
#include "daemon/version.h"
#include "exporters/http/server.h"
#include "exporters/registry.h"

namespace goheapd::cli {
namespace {

TargetSelection selection_of(const ServeOptions& options) {
  TargetSelection selection;
  selection.mode = options.parsed_mode();
  selection.live_heap_when_exact = options.live_heap;
  selection.pids.insert(options.pids.begin(), options.pids.end());
  selection.include = compiled(options.include);
  selection.exclude = compiled(options.exclude);
  selection.allow_runtime_sampling = compiled(options.allow_runtime_sampling);
  selection.pods = options.pod_selection();
  return selection;
}

DaemonSettings settings_of(const ServeOptions& options) {
  return {.selection = selection_of(options),
          .redact = options.redact_patterns(),
          .top_sites = options.top_sites,
          .overhead_budget_percent = options.overhead_budget_percent,
          .keep_exited_ns = static_cast<int64_t>(options.exited_retention_seconds * 1e9),
          .most_record_bytes = uint64_t{options.runtime_sampling_memory_mib} << 20};
}

void set_up_logging_for(const ServeOptions& options) {
  set_up_logging(options.log_level, options.log_format == "json" ? LogFormat::json : LogFormat::logfmt,
                 redacting(options.redact_patterns()));
}

// At start and after each reload.
void log_remarks(const ServeOptions& options) {
  // A pod's annotation may ask for mode exact, whatever the mode of the others is.
  if (const auto remark = remark_on_live_heap(options.parsed_mode(), options.live_heap))
    spdlog::warn("{}; pods that ask for mode exact get it", *remark);
}

int report(const Error& error) {
  const char* const advice =
      error.errno_value == EADDRINUSE
          ? "; end who listens there (ss -ltnp), or choose another address or port with "
            "--web.listen-address"
          : "";
  std::fprintf(stderr, "%sgoheapd: %s%s\n", logs_to_journal() ? "<3>" : "", to_string(error).c_str(), advice);
  return kExitFailed;
}

// SIGTERM, SIGINT and SIGHUP for all threads that are started from now on arrive at the returned descriptor only.
Expected<UniqueFd> take_signals() {
  const auto signals = block_signals({SIGTERM, SIGINT, SIGHUP});
  if (!signals) return Unexpected(signals.error());
  UniqueFd fd(::signalfd(-1, &*signals, SFD_CLOEXEC));
  if (!fd) return fail("cannot wait for signals", {}, errno);
  return fd;
}

// Profiles and answers of megabytes come and go on a hundred threads. By itself malloc soon keeps such memory in the arena
// of whichever thread had it, which is as much again as what is in use.
void give_large_memory_back() {
  constexpr int kLarge = 256 * 1024;
  if (::mallopt(M_MMAP_THRESHOLD, kLarge) != 1) spdlog::warn("malloc cannot be told to give memory back");
}

// Whether any target's memory may have to be written: to switch a sampler on, or off again after a crash of ours.
bool writes_to_targets(const ServeOptions& options) {
  return !options.allow_runtime_sampling.empty() ||
         (!options.data_dir.empty() && RuntimeSampling::has_journal(options.data_dir));
}

// All or nothing; but what is good in the web config is in force all the same, since each connection looks after it.
void reload(Daemon& daemon, exporters::http::Server& server, const ServeOptions& at_start, int argc,
            const char* const* argv) {
  auto options = parse_serve_options(argc, argv);
  // One that has moved is read at the next start; that it is no more where it was says nothing against the rest.
  const bool has_moved = options && options->web_config_file != at_start.web_config_file;
  const auto web = has_moved ? Expected<void>() : server.reload_web_config();
  if (!options || !web) {
    daemon.reject_configuration();
    const auto log = [](const Error& error) {
      spdlog::error("configuration not reloaded, the old one stays: {}", to_string(error));
    };
    if (!options) log(options.error());
    if (!web) log(web.error());
    return;
  }
  set_up_logging_for(*options);
  log_remarks(*options);
  for (const std::string& flag : changed_start_values(at_start, *options))
    spdlog::warn("--{} is taken at start only: the old value stays until goheapd is restarted", flag);
  if (!at_start.may_write_targets()) options->allow_runtime_sampling.clear();
  daemon.reconfigure(settings_of(*options));
  spdlog::info("configuration reloaded");
}

int serve(int argc, const char* const* argv) {
  auto options = parse_serve_options(argc, argv);
  if (!options) {
    std::fprintf(stderr, "goheapd: %s\n", to_string(options.error()).c_str());
    return kExitUsage;
  }
  set_up_logging_for(*options);
  log_remarks(*options);
  give_large_memory_back();
  auto signals = take_signals();
  if (!signals) return report(signals.error());

  auto manager = ServiceManager::from_environment();
  if (!manager) return report(manager.error());

  const bool may_write = writes_to_targets(*options);
  const exporters::http::ServerOptions server_options{.listen_addresses = options->listen_addresses,
                                                      .web_config_file = options->web_config_file};
  // Before programs are loaded into the kernel and their cost is measured, which takes a second.
  auto server = exporters::http::Server::listen(server_options);
  if (!server) return report(server.error());
  auto daemon = Daemon::create({.settings = settings_of(*options),
                                .pods = options->pod_source(),
                                .data_dir = options->data_dir,
                                .on_round = [&manager](uint64_t now_ns) { manager->beat(now_ns); }});
  if (!daemon) return report(daemon.error());
  if (auto serving = (*server)->serve(
          exporters::all_routes(**daemon, [&web = **server] { return web.web_config_status(); }));
      !serving)
    return report(serving.error());
  for (const std::string& address : (*server)->addresses()) {
    spdlog::info("goheapd {} serves {}://{}/", kVersion, (*server)->uses_tls() ? "https" : "http", address);
  }

  const std::string serving = "Serving on " + (*server)->addresses().front();
  manager->ready(serving);

  std::thread signal_thread([&, argc, argv, fd = signals->get()] {
    signalfd_siginfo info{};
    while (::read(fd, &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
      if (info.ssi_signo == SIGHUP) {
        manager->reloading();
        reload(**daemon, **server, *options, argc, argv);
        manager->ready(serving);
        continue;
      }
      manager->stopping();
      spdlog::info("stopping on signal {}", info.ssi_signo);
      break;
    }
    (*daemon)->stop();
  });
  if (!options->seccomp_off.empty()) {
    spdlog::warn("system calls are not filtered: {}", options->seccomp_off);
  } else if (auto filtered = filter_own_syscalls(may_write); !filtered) {
    // A kernel without seccomp still profiles.
    spdlog::warn("system calls are not filtered: {}", to_string(filtered.error()));
  }
  (*daemon)->run();
  (*server)->stop();
  signal_thread.join();
  spdlog::info("stopped; every probe is removed");
  return kExitDone;
}

}  // namespace

void add_serve(CLI::App& program, Action& action, int argc, const char* const* argv) {
  auto* command = program.add_subcommand("serve", "find Go processes on this host, profile them, serve HTTP");
  // Bound here for --help and usage errors; serve() parses again, as it does at every SIGHUP.
  auto options = std::make_shared<ServeOptions>();
  bind_serve_flags(*command, *options);
  command->set_version_flag("--version", std::string("goheapd ") + kVersion);
  command->callback([&action, options, argc, argv] { action = [argc, argv] { return serve(argc, argv); }; });
}

}  // namespace goheapd::cli
