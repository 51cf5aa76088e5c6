#include "exporters/api/target_json.h"

#include <cctype>
#include <utility>

#include "daemon/base/clock.h"

namespace goheapd::exporters::api {
namespace {

using nlohmann::ordered_json;

ordered_json time_or_null(int64_t wall_ns) {
  return wall_ns == 0 ? ordered_json() : ordered_json(rfc3339(wall_ns));
}

ordered_json text_or_null(const std::string& text) {
  return text.empty() ? ordered_json() : ordered_json(text);
}

// As Prometheus makes label names of names: all but letters, digits and "_" becomes "_".
std::string label_name(std::string name) {
  for (char& c : name) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
  }
  return name;
}

// null: nothing is known of a pod.
ordered_json pod_json(const model::TargetStatus& target) {
  if (!target.pod_facts) return {};
  const model::Pod& pod = *target.pod_facts;
  const ordered_json workload = {{"kind", text_or_null(pod.workload.kind)},
                                 {"name", text_or_null(pod.workload.name)}};
  return {{"pod_uid", pod.uid},
          {"node", text_or_null(pod.node)},
          {"workload", pod.workload.name.empty() ? ordered_json() : workload},
          {"labels", ordered_json(pod.labels)}};
}

// Prometheus' own names, so that relabelling written for its Kubernetes discovery works here.
// https://prometheus.io/docs/prometheus/latest/configuration/configuration/#pod
void add_pod_labels(const model::TargetStatus& target, ordered_json& labels) {
  if (!target.pod_facts) return;
  const model::Pod& pod = *target.pod_facts;
  const std::string prefix = "__meta_kubernetes_";
  labels[prefix + "namespace"] = pod.namespace_name;
  labels[prefix + "pod_name"] = pod.name;
  labels[prefix + "pod_uid"] = pod.uid;
  labels[prefix + "pod_container_name"] = target.container;
  labels[prefix + "pod_node_name"] = pod.node;
  labels[prefix + "pod_controller_kind"] = pod.controller.kind;
  labels[prefix + "pod_controller_name"] = pod.controller.name;
  labels["__meta_goheapd_workload_kind"] = pod.workload.kind;
  labels["__meta_goheapd_workload"] = pod.workload.name;
  for (const auto& [kind, texts] :
       {std::pair("label", &pod.labels), std::pair("annotation", &pod.annotations)}) {
    for (const auto& [name, value] : *texts) {
      const std::string key = label_name(name);
      labels[prefix + "pod_" + kind + "_" + key] = value;
      labels[prefix + "pod_" + kind + "present_" + key] = "true";
    }
  }
}

std::string prefix_of(const model::TargetStatus& target) {
  return "/targets/" + std::to_string(target.process.pid);
}

}  // namespace

ordered_json target_json(const model::TargetStatus& target) {
  ordered_json json;
  json["pid"] = target.process.pid;
  json["comm"] = target.comm;
  json["exe"] = target.exe;
  json["go_version"] = text_or_null(target.go_version);
  json["module"] = text_or_null(target.module);
  json["stripped"] = target.stripped;
  json["pie"] = target.pie;
  json["state"] = model::name_of(target.state);
  json["mode"] = model::name_of(target.mode);
  json["level"] = text_or_null(target.level);
  json["source"] = text_or_null(target.source);
  json["reason"] = text_or_null(target.reason);
  json["started_at"] = time_or_null(target.started_wall_ns);
  json["attached_at"] = time_or_null(target.attached_wall_ns);
  json["exited_at"] = time_or_null(target.exited_wall_ns);
  json["pod"] = text_or_null(target.pod);
  json["namespace"] = text_or_null(target.namespace_name);
  json["container"] = text_or_null(target.container);
  json["container_id"] = text_or_null(target.container_id);
  json["kubernetes"] = pod_json(target);
  json["sample_rate"] = target.sample_rate;
  const bool has_profiles = model::has_profiles(target.state);
  json["sampled_share"] = has_profiles ? ordered_json(target.sampled_share) : ordered_json();
  json["samples"] = target.samples;
  json["probe_hits"] = target.probe_hits;
  json["probe_cpu_seconds"] = static_cast<double>(target.probe_cpu_ns) / 1e9;
  json["alloc_bytes_per_second"] = target.alloc_bytes_per_second;
  json["live_bytes"] = target.has_live ? ordered_json(target.live_bytes) : ordered_json();
  json["live_objects"] = target.has_live ? ordered_json(target.live_objects) : ordered_json();
  json["overhead_ratio"] = target.overhead_ratio;
  json["overhead_limit"] = target.overhead_limit ? ordered_json(*target.overhead_limit) : ordered_json();
  json["mode_changes"] = target.mode_changes;
  json["uncertain_sites"] = target.uncertain_sites;
  // Of source spans: what it knows of who lives.
  const auto& verdicts = target.verdicts;
  json["missed_cycles"] = verdicts ? ordered_json(verdicts->missed_cycles) : ordered_json();
  json["lost_verdicts"] = verdicts ? ordered_json(verdicts->lost_verdicts) : ordered_json();
  json["inuse_reliable"] = verdicts ? ordered_json(verdicts->inuse_reliable) : ordered_json();
  json["gc_cycles"] = target.gc_cycles;
  json["settled_objects"] = target.settled_objects;
  // The others would be answered with their reason only.
  const std::string profiles = prefix_of(target) + "/debug/pprof/";
  json["profiles"] = has_profiles
                         ? ordered_json({{"heap", profiles + "heap"}, {"allocs", profiles + "allocs"}})
                         : ordered_json();
  return json;
}

ordered_json discovery_json(const model::TargetStatus& target, std::string_view address, bool secure) {
  ordered_json labels;
  labels["__scheme__"] = secure ? "https" : "http";
  labels["__metrics_path__"] = prefix_of(target) + "/metrics";
  labels["__profile_path_prefix__"] = prefix_of(target);
  // What remains of it is one series per target and metric, under the labels that /metrics has.
  labels["instance"] = std::string(address) + prefix_of(target);
  labels["pid"] = std::to_string(target.process.pid);
  labels["comm"] = target.comm;
  for (const auto& [name, value] :
       {std::pair("namespace", &target.namespace_name), std::pair("pod", &target.pod),
        std::pair("container", &target.container)}) {
    if (!value->empty()) labels[name] = *value;
  }
  if (target.state == model::TargetState::attached)
    labels["__meta_goheapd_heap_path"] = prefix_of(target) + "/debug/pprof/heap";
  labels["__meta_goheapd_pid"] = std::to_string(target.process.pid);
  labels["__meta_goheapd_comm"] = target.comm;
  labels["__meta_goheapd_exe"] = target.exe;
  labels["__meta_goheapd_go_version"] = target.go_version;
  labels["__meta_goheapd_module"] = target.module;
  labels["__meta_goheapd_mode"] = model::name_of(target.mode);
  labels["__meta_goheapd_source"] = target.source;
  labels["__meta_goheapd_state"] = model::name_of(target.state);
  labels["__meta_goheapd_namespace"] = target.namespace_name;
  labels["__meta_goheapd_pod"] = target.pod;
  labels["__meta_goheapd_container"] = target.container;
  add_pod_labels(target, labels);
  return {{"targets", {address}}, {"labels", std::move(labels)}};
}

}  // namespace goheapd::exporters::api
