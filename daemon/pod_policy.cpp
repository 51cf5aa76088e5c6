#include "daemon/pod_policy.h"

#include <algorithm>
#include <utility>

namespace goheapd {
namespace {

bool contains(const std::vector<std::string>& list, const std::string& name) {
  return std::find(list.begin(), list.end(), name) != list.end();
}

std::optional<std::string> annotation(const model::Pod& pod, const char* name) {
  const auto found = pod.annotations.find(name);
  if (found == pod.annotations.end()) return std::nullopt;
  return found->second;
}

PodVerdict ignore(std::string reason) { return {std::move(reason), std::nullopt, {}}; }

}  // namespace

PodContext find_pod(const k8s::PodSource* source, k8s::Placement placement) {
  PodContext context{std::move(placement), std::nullopt, false};
  if (source == nullptr || context.placement.empty()) return context;
  // Asked first: what arrives in between is then found.
  const bool settled = source->settled();
  context.match = source->find(context.placement);
  const bool complete = context.match && context.match->pod->complete;
  context.waiting = !settled && !complete && (context.match || !context.placement.pod_uid.empty());
  return context;
}

void describe_pod(const PodContext& context, model::TargetStatus& status) {
  status.pod_uid = context.placement.pod_uid;
  status.container_id = context.placement.container_id;
  if (!context.match) return;  // a pod that is gone from the API keeps its names here
  status.pod_facts = context.match->pod;
  status.pod = context.match->pod->name;
  status.namespace_name = context.match->pod->namespace_name;
  if (!context.match->container.empty()) status.container = context.match->container;
}

PodVerdict judge_pod(const PodSelection& selection, const PodContext& context, bool probes_allowed) {
  if (context.waiting) return ignore("its pod is not known yet");
  if (!context.match) {
    if (context.placement.pod_uid.empty()) {
      if (!selection.asks_for_pods()) return {};
      return ignore("it is in no pod, and --kubernetes.namespace or --kubernetes.pod-selector asks for pods");
    }
    if (!selection.asks_for_pods() && selection.excluded_namespaces.empty()) return {};
    return ignore("its pod is not known, so it cannot be told whether the selection wants it");
  }
  const model::Pod& pod = *context.match->pod;
  if (!selection.namespaces.empty() && !contains(selection.namespaces, pod.namespace_name)) {
    return ignore("no --kubernetes.namespace names its pod's namespace");
  }
  if (contains(selection.excluded_namespaces, pod.namespace_name)) {
    return ignore("--kubernetes.exclude-namespace names its pod's namespace");
  }
  const auto& selectors = selection.selectors;
  if (!selectors.empty()) {
    if (!pod.complete) return ignore("its pod's labels are not known without the API server");
    const bool wanted = std::any_of(selectors.begin(), selectors.end(),
                                    [&](const auto& selector) { return selector.matches(pod.labels); });
    if (!wanted) return ignore("no --kubernetes.pod-selector matches its pod's labels");
  }
  PodVerdict verdict;
  if (const auto profile = annotation(pod, kProfileAnnotation); profile && *profile != "true") {
    if (*profile == "false")
      return ignore(std::string("its pod has the annotation ") + kProfileAnnotation + "=false");
    verdict.remark = std::string("the annotation ") + kProfileAnnotation + " must be true or false";
  }
  if (const auto mode = annotation(pod, kModeAnnotation)) {
    const auto* name = std::find(model::kModeNames.begin(), model::kModeNames.end(), *mode);
    const auto asked = static_cast<model::Mode>(name - model::kModeNames.begin());
    if (name == model::kModeNames.end()) {
      verdict.remark =
          std::string("the annotation ") + kModeAnnotation + " must be auto, sampled, exact or buckets";
    } else if (asked != model::Mode::buckets && !probes_allowed) {
      verdict.remark =
          std::string("the annotation ") + kModeAnnotation + " asks for probes, which --mode buckets forbids";
    } else {
      verdict.mode = asked;
    }
  }
  return verdict;
}

}  // namespace goheapd
