// What the pod that a process runs in has to say about its profiling.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "daemon/k8s/label_selector.h"
#include "daemon/k8s/pod_source.h"
#include "daemon/model/target.h"

namespace goheapd {

// Which pods an operator wants profiled.
struct PodSelection {
  std::vector<std::string> namespaces;  // only pods of these; empty = all, and processes in no pod
  std::vector<std::string> excluded_namespaces;
  std::vector<k8s::LabelSelector> selectors;  // only pods that one of these matches; empty = all
  bool asks_for_pods() const { return !namespaces.empty() || !selectors.empty(); }
};

// Annotations by which the owner of a pod has a say.
inline constexpr const char* kProfileAnnotation = "goheapd.io/profile";  // "false": leave it alone
inline constexpr const char* kModeAnnotation = "goheapd.io/mode";        // auto, sampled, exact, buckets

// Of one process.
struct PodContext {
  k8s::Placement placement;
  std::optional<k8s::PodMatch> match;
  bool waiting = false;  // the first answer about pods is still to come
};

// `source` may be null: no Kubernetes here.
PodContext find_pod(const k8s::PodSource* source, k8s::Placement placement);
// Writes names and facts into a target's status.
void describe_pod(const PodContext& context, model::TargetStatus& status);

struct PodVerdict {
  std::optional<std::string> ignored;  // why the process is not to be profiled
  std::optional<model::Mode> mode;     // instead of the configured one
  std::string remark;                  // about an annotation that makes no sense; empty = none
};

// A pod that is not known is left alone where the selection could exclude it. `probes_allowed`: annotations may ask for
// modes with probes.
PodVerdict judge_pod(const PodSelection& selection, const PodContext& context, bool probes_allowed);

}  // namespace goheapd
