#include "daemon/cli/inspect.h"

#include <algorithm>
#include <cstdio>

#include "daemon/base/output_file.h"
#include "daemon/cli/process_check.h"
#include "daemon/process/proc_fs.h"
#include "daemon/runtime/runtime_view.h"
#include "daemon/runtime/self_check.h"

namespace goheapd::cli {
namespace {

// Variables without which the runtime's memory profile cannot be read.
constexpr std::string_view kNeededVariables[] = {
    "runtime.mbuckets", "runtime.mProfCycle", "runtime.MemProfileRate", "runtime.mheap_",
    "runtime.memstats", "runtime.allp",       "runtime.allgptr",        "runtime.allglen"};

LiveFindings look_at_process(const process::ProcFs& proc, pid_t pid, const gobin::GoBinary& binary) {
  LiveFindings live;
  live.pid = pid;
  const auto start = proc.program_start(pid);
  if (!start) {
    live.error = start.error();
    return live;
  }
  live.load_bias = *start - binary.load_base();
  const auto view = runtime::RuntimeView::open(proc, binary, pid);
  if (!view) {
    live.error = view.error();
    return live;
  }
  if (auto checked = runtime::runtime_self_check(*view); !checked) live.error = checked.error();
  const auto rate = view->sample_rate();
  if (rate) live.sample_rate = *rate;
  if (!rate && !live.error) live.error = rate.error();
  return live;
}

// Why the runtime's sampler takes no samples; empty: it does, or may.
std::string sampler_off_because(const Inspection& inspection) {
  if (!inspection.links_memory_profile) {
    return "the program does not link runtime.MemProfile, so its linker has switched the runtime's sampler "
           "off";
  }
  if (inspection.live && inspection.live->sample_rate == 0u) {
    return "runtime.MemProfileRate is 0 in this process: its sampler is off";
  }
  return {};
}

// Why the runtime's memory cannot be read; empty: it can.
std::string unreadable_because(const Inspection& inspection) {
  for (const gobin::GlobalVariable& variable : inspection.variables) {
    const bool needed = std::find(std::begin(kNeededVariables), std::end(kNeededVariables), variable.name) !=
                        std::end(kNeededVariables);
    if (needed && !variable.vaddr) return std::string(variable.name) + ": " + variable.reason;
  }
  return inspection.live && inspection.live->error ? to_string(*inspection.live->error) : std::string();
}

bool has_expensive_site(const std::vector<gobin::ProbePoint>& points) {
  return std::any_of(points.begin(), points.end(), [](const gobin::ProbePoint& point) {
    return point.candidates.front().cost == gobin::HitCost::single_step;
  });
}

Ability judge_probes(std::string mode, const Expected<std::vector<gobin::ProbePoint>>& points,
                     std::string good) {
  if (!points) return {std::move(mode), false, to_string(points.error())};
  if (has_expensive_site(*points)) {
    good +=
        "; dear: a probe has no better place than a first instruction, which is single-stepped and hit twice "
        "when "
        "a stack grows";
  }
  return {std::move(mode), true, std::move(good)};
}

}  // namespace

std::vector<Ability> judge(const Inspection& inspection) {
  const std::string unreadable = unreadable_because(inspection);
  const std::string sampler_off = sampler_off_because(inspection);
  const std::string no_samples = unreadable.empty() ? sampler_off : unreadable;
  std::vector<Ability> abilities;
  if (!unreadable.empty()) {
    abilities.push_back({"sampled", false, unreadable});
  } else if (sampler_off.empty()) {
    abilities.push_back(judge_probes("sampled", inspection.sampled,
                                     inspection.live
                                         ? "by source runtime: its sampler runs in this process"
                                         : "by source runtime if the process leaves runtime.MemProfileRate "
                                           "above 0, else by source spans"));
  } else {
    abilities.push_back(judge_probes("sampled", inspection.spans, "by source spans: " + sampler_off));
  }
  std::string exact = "every allocation can be counted";
  if (inspection.exact && inspection.exact->size() > 1) {
    exact += ", by " + std::to_string(inspection.exact->size()) + " functions";
    if (inspection.exact->back().ignored_caller) {
      exact +=
          "; built with a profile: runtime.mallocgc holds copies of some of them, calls from it are left out";
    }
  }
  abilities.push_back(judge_probes("exact", inspection.exact, exact));
  abilities.push_back(
      {"buckets", no_samples.empty(),
       no_samples.empty() ? "the runtime's own records can be read from its memory" : no_samples});
  if (inspection.info.arch == gobin::Arch::arm64) {
    for (Ability& ability : abilities) {
      if (ability.works) ability.why += " (arm64: by the file; never tried on such a machine)";
    }
  }
  return abilities;
}

Expected<Inspection> inspect(const InspectOptions& options) {
  Inspection found;
  std::string file = options.file;
  found.path = file;
  std::optional<process::ProcFs> proc;
  if (options.pid) {
    auto opened = process::ProcFs::open();
    if (!opened) return Unexpected(opened.error());
    proc = std::move(*opened);
    if (auto readable = check_readable(*options.pid); !readable) return Unexpected(readable.error());
    auto exe = proc->exe_path(*options.pid);
    if (!exe)
      return fail("cannot look at this process", "pid " + std::to_string(*options.pid),
                  exe.error().errno_value);
    found.path = std::move(*exe);
    file = proc->path(*options.pid, "exe");
  }
  auto opened = gobin::GoBinary::open(file);
  if (!opened) {
    Error error = opened.error();
    if (error.subject == file) error.subject = found.path;
    return Unexpected(std::move(error));
  }
  const gobin::GoBinary& binary = **opened;
  found.info = binary.info();
  found.measured_release = binary.layout().measured_release;
  found.links_memory_profile = binary.links_memory_profile();
  found.layout = gobin::describe(binary.layout());
  const auto variables = binary.globals().variables();
  found.variables.assign(variables.begin(), variables.end());
  found.sampled = binary.probe_sites().sampled();
  found.spans = binary.probe_sites().spans();
  found.exact = binary.probe_sites().exact();
  if (options.pid) found.live = look_at_process(*proc, *options.pid, binary);
  found.abilities = judge(found);
  return found;
}

namespace {

// What to do where the error only says what is.
std::string advice(const Error& error) {
  if (process::is_forbidden(error)) return "; " + advice_on_access();
  if (error.what.starts_with("not a"))
    return "; goheapd knows programs built by Go " + gobin::supported_releases() +
           ": name the executable itself, or --pid N of a running one";
  return "";
}

}  // namespace

int run_inspect(const InspectOptions& options) {
  const auto found = inspect(options);
  std::string report;
  if (found) {
    report = options.json ? to_json(*found) : to_text(*found, options.verbose);
  } else if (options.json) {
    report =
        refusal_to_json(options.pid ? "pid " + std::to_string(*options.pid) : options.file, found.error());
  }
  if (auto printed = print(report); !printed) {
    std::fprintf(stderr, "goheapd: %s\n", to_string(printed.error()).c_str());
    return 1;
  }
  if (found) return 0;
  std::fprintf(stderr, "goheapd: %s%s\n", to_string(found.error()).c_str(), advice(found.error()).c_str());
  return 1;
}

}  // namespace goheapd::cli
