#pragma once

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "daemon/base/pattern.h"
#include "daemon/gobin/binary_cache.h"
#include "daemon/model/target.h"
#include "daemon/pod_policy.h"
#include "daemon/probe/attach_request.h"
#include "daemon/process/discovery.h"
#include "daemon/process/proc_fs.h"
#include "daemon/runtime_sampling.h"
#include "daemon/span_reader.h"
#include "daemon/target_reader.h"

namespace goheapd {

// Which processes an operator wants profiled, and how.
struct TargetSelection {
  model::Mode mode = model::Mode::sampled;
  std::set<pid_t> pids;          // empty = all
  std::vector<Pattern> include;  // on the executable's path; empty = all
  std::vector<Pattern> exclude;
  bool live_heap_when_exact = false;            // sample the live heap beside the counts of mode exact
  std::vector<Pattern> allow_runtime_sampling;  // whose runtime's sampler may be switched on by us
  PodSelection pods;
};

// What discovery shall do with a program that it has come across. Reads the file that the process runs now; only where
// that is the one that was sighted is anything said of files.
process::Interest judge_sighting(const process::ProcFs& proc, const process::ProcessSighting& sighting,
                                 const TargetSelection& selection);
// Why the selection leaves out a program at this path; nullopt = it does not.
std::optional<std::string> why_ignored(const TargetSelection& selection, const std::string& path);
// May MemProfileRate of this program be written to? Asks for the path only.
bool allows_runtime_sampling(const TargetSelection& selection, const std::string& path);
// The mode that the selection means for every target it takes, and the one that a pod asks for, if it does.
model::Mode effective_mode(const TargetSelection& selection);
model::Mode effective_mode(const TargetSelection& selection, const PodVerdict& verdict);
// Whether pods may ask for modes with probes.
bool allows_probes(const TargetSelection& selection);

// What looking at one process brought.
struct OpenedTarget {
  enum class Verdict : unsigned char {
    not_go,   // nothing to show
    retry,    // a Go program that has not set up its runtime yet: ask again soon
    refused,  // a Go program that is not profiled: status says which state and why
    ready,    // everything below is set
  };
  Verdict verdict = Verdict::not_go;
  model::Mode asked_mode = model::Mode::automatic;  // by the pod, else by the selection
  model::TargetStatus status;
  std::shared_ptr<const gobin::GoBinary> binary;
  probe::RunningFile
      program;  // in which the binary was recognised: whatever is done to the process goes through it
  uint64_t load_bias = 0;
  std::shared_ptr<TargetReader> reader;     // null in exact mode
  std::shared_ptr<SpanReader> span_reader;  // set: source spans
  probe::AttachRequest request;             // without points in mode buckets
  bool count_exactly = false;               // mode sampled above, for the live heap; exact counts come on top
};

// Recognises the program of a process and finds out what can be done with it. Reads files and the process's memory;
// takes milliseconds for a file seen first. Any thread. `last_attempt`: a runtime that is still not set up is refused.
// `pods` may be null: no Kubernetes here. `sampling` too: no sampler may be switched on.
OpenedTarget open_target(const process::ProcFs& proc, const model::ProcessKey& key,
                         const TargetSelection& selection, const k8s::PodSource* pods,
                         RuntimeSampling* sampling, gobin::BinaryCache& binaries, bool last_attempt);

}  // namespace goheapd
