#include "daemon/target_opener.h"

#include <algorithm>

#include "daemon/base/clock.h"
#include "daemon/gobin/go_marks.h"
#include "daemon/probe_points.h"
#include "daemon/sample_distance.h"

namespace goheapd {
namespace {

using model::TargetState;
using Verdict = OpenedTarget::Verdict;

// How long after its start a program may take to get to the code that sets its sampling rate.
constexpr int64_t kSettlingNs = 3'000'000'000;

bool matches_any(const std::string& path, const std::vector<Pattern>& patterns) {
  return std::any_of(patterns.begin(), patterns.end(),
                     [&](const Pattern& pattern) { return pattern.is_in(path); });
}

OpenedTarget refused(OpenedTarget target, TargetState state, std::string reason) {
  target.verdict = Verdict::refused;
  target.status.state = state;
  target.status.reason = std::move(reason);
  return target;
}

process::ExeIdentity identity_of(const OpenFile& file) {
  const OpenFile::Identity& identity = file.identity();
  return {identity.device, identity.inode, identity.size, identity.modified_ns};
}

std::string why_sampler_is_off(const gobin::GoBinary& binary) {
  return std::string("the runtime's memory profiler is off (MemProfileRate is 0") +
         (binary.links_memory_profile()
              ? " although the program can profile: it was set to 0 by the program or GODEBUG)"
              : ": nothing in the program reads memory profiles, so the linker disabled it)");
}

}  // namespace

std::optional<std::string> why_ignored(const TargetSelection& selection, const std::string& path) {
  if (!selection.include.empty() && !matches_any(path, selection.include)) {
    return "no --include pattern matches the executable's path";
  }
  if (matches_any(path, selection.exclude)) return "an --exclude pattern matches the executable's path";
  return std::nullopt;
}

process::Interest judge_sighting(const process::ProcFs& proc, const process::ProcessSighting& sighting,
                                 const TargetSelection& selection) {
  using process::Interest;
  if (!selection.pids.empty() && !selection.pids.contains(sighting.key.pid)) return Interest::ignore_process;
  const auto file = OpenFile::open(proc.path(sighting.key.pid, "exe"));
  // No descriptor is left: open_target() finds out. What we may not look at now we may in another process.
  if (!file)
    return process::is_forbidden(file.error()) || process::is_gone(file.error()) ? Interest::ignore_process
                                                                                 : Interest::watch;
  // It has executed something else meanwhile, of which we shall hear.
  if (identity_of(**file) != sighting.exe) return Interest::ignore_process;
  return gobin::may_be_go(**file) ? Interest::watch : Interest::ignore_file;
}

bool allows_runtime_sampling(const TargetSelection& selection, const std::string& path) {
  return matches_any(path, selection.allow_runtime_sampling);
}

model::Mode effective_mode(const TargetSelection& selection) {
  return selection.mode == model::Mode::automatic ? model::Mode::sampled : selection.mode;
}

model::Mode effective_mode(const TargetSelection& selection, const PodVerdict& verdict) {
  if (!verdict.mode) return effective_mode(selection);
  TargetSelection asked;
  asked.mode = *verdict.mode;
  return effective_mode(asked);
}

bool allows_probes(const TargetSelection& selection) { return selection.mode != model::Mode::buckets; }

OpenedTarget open_target(const process::ProcFs& proc, const model::ProcessKey& key,
                         const TargetSelection& selection, const k8s::PodSource* pods,
                         RuntimeSampling* sampling, gobin::BinaryCache& binaries, bool last_attempt) {
  OpenedTarget target;
  target.status.process = key;
  target.status.mode = selection.mode;
  target.program.path = proc.path(key.pid, "exe");

  // The only time that the path is asked.
  auto file = OpenFile::open(target.program.path);
  if (!file && (process::is_forbidden(file.error()) || process::is_gone(file.error()))) return target;
  const auto executable = file ? binaries.open(*file) : Unexpected(file.error());
  if (file && !executable && !gobin::may_be_go(**file)) return target;
  auto stat = proc.stat(key.pid);
  if (!stat && !process::is_gone(stat.error())) {
    return refused(std::move(target), TargetState::failed,
                   to_string(stat.error()));  // no descriptor left, mostly
  }
  if (!stat || stat->start_time != key.start_time) return target;  // gone meanwhile
  target.status.comm = stat->comm;
  target.status.exe = proc.exe_path(key.pid).value_or("");
  target.status.program_path = proc.program_path(key.pid).value_or("");
  target.status.started_wall_ns = wall_time_of_boot(boot_time_of_ticks(key.start_time));
  const PodContext pod = find_pod(pods, k8s::placement_of(proc.cgroup_paths(key.pid)));
  describe_pod(pod, target.status);
  if (!executable) return refused(std::move(target), TargetState::unsupported, to_string(executable.error()));

  target.binary = executable->binary;
  target.program.file = executable->file;
  const gobin::BinaryInfo& info = target.binary->info();
  target.status.go_version = info.version.text;
  target.status.module = info.module.empty() ? info.main_package : info.module;
  target.status.stripped = info.stripped;
  target.status.pie = info.pie;
  if (!selection.pids.empty() && !selection.pids.contains(key.pid))
    return refused(std::move(target), TargetState::ignored, "it is none of those that --pid names");
  if (auto reason = why_ignored(selection, target.status.program_path)) {
    return refused(std::move(target), TargetState::ignored, std::move(*reason));
  }
  PodVerdict verdict = judge_pod(selection.pods, pod, allows_probes(selection));
  if (verdict.ignored) return refused(std::move(target), TargetState::ignored, std::move(*verdict.ignored));
  target.status.reason = std::move(verdict.remark);
  auto start = proc.program_start(key.pid);
  if (!start) return refused(std::move(target), TargetState::failed, to_string(start.error()));
  target.load_bias = *start - target.binary->load_base();

  target.asked_mode = verdict.mode.value_or(selection.mode);
  model::Mode mode = effective_mode(selection, verdict);
  if (mode == model::Mode::exact && selection.live_heap_when_exact) {
    mode = model::Mode::sampled;
    target.count_exactly = true;
  }
  target.status.mode = mode;
  if (mode != model::Mode::exact) {
    auto reader = TargetReader::open(proc, target.binary, key.pid, target.load_bias);
    if (!reader) {
      if (!last_attempt) {
        target.verdict = Verdict::retry;
        return target;
      }
      return refused(std::move(target), TargetState::failed, to_string(reader.error()));
    }
    target.reader = std::move(*reader);
    target.status.runtime_readable = true;
    auto rate = target.reader->sample_rate();
    if (!rate) return refused(std::move(target), TargetState::failed, to_string(rate.error()));
    const bool is_young = boot_time_ns() - boot_time_of_ticks(key.start_time) < kSettlingNs;
    // From Go 1.21 on the file says 512 KiB, until the runtime's start-up has seen that the linker disabled it.
    if (!target.binary->links_memory_profile() && is_young) rate = 0;
    if (*rate == 0 && target.binary->links_memory_profile() && !last_attempt && is_young) {
      target.verdict = Verdict::retry;  // up to Go 1.20 the rate is set by the program's own start-up code
      return target;
    }
    std::string not_enabled;  // why the sampler could not be switched on
    if (sampling != nullptr && allows_runtime_sampling(selection, target.status.program_path) &&
        (*rate == 0 || sampling->is_enabled(key))) {
      if (!probe::check_still_runs(target.program))
        return OpenedTarget();  // not into another program's memory
      if (auto enabled = sampling->enable(key, *target.binary, target.load_bias)) {
        target.status.source = model::kSourceEnabled;
        rate = target.reader->sample_rate();
        if (!rate) return refused(std::move(target), TargetState::failed, to_string(rate.error()));
      } else if (const auto now = target.reader->sample_rate(); now && *now != 0 && !last_attempt) {
        target.verdict =
            Verdict::retry;  // it was not 0 after all: the runtime starts up, or another goheapd was faster
        return target;
      } else {
        not_enabled = "the runtime's sampler is not switched on: " + to_string(enabled.error());
      }
    }
    target.status.sample_rate = *rate;
    if (*rate == 0 && mode == model::Mode::buckets) {
      std::string why = why_sampler_is_off(*target.binary) + "; --mode sampled works";
      if (!not_enabled.empty()) why += "; " + not_enabled;
      return refused(std::move(target), TargetState::unsupported, std::move(why));
    }
    if (*rate == 0) {
      auto spans = SpanReader::open(proc, *target.binary, key.pid, target.load_bias);
      if (!spans) return refused(std::move(target), TargetState::failed, to_string(spans.error()));
      target.span_reader = std::move(*spans);
      if (!target.status.reason.empty() && !not_enabled.empty()) target.status.reason += "; ";
      target.status.reason += not_enabled;
    }
  }
  if (mode != model::Mode::buckets) {
    auto request = target.span_reader
                       ? make_span_request(*target.binary, key, target.program, target.load_bias,
                                           SampleDistance::kDensest)
                       : make_attach_request(*target.binary, key, target.program, target.load_bias, mode);
    if (!request && target.span_reader) {
      std::string why = why_sampler_is_off(*target.binary) +
                        ", and its allocator cannot be sampled: " + to_string(request.error()) +
                        "; --mode exact may work, at a cost per allocation";
      return refused(std::move(target), TargetState::unsupported, std::move(why));
    }
    if (!request) return refused(std::move(target), TargetState::unsupported, to_string(request.error()));
    target.request = std::move(*request);
  }
  // Else what was read of the process may be another program's.
  if (!probe::check_still_runs(target.program)) return OpenedTarget();
  target.binary->release_pages();  // what was read once to find tables is not needed again soon
  target.verdict = Verdict::ready;
  return target;
}

}  // namespace goheapd
