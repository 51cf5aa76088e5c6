// What Kubernetes says of a pod: names and labels, as plain values.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace goheapd::model {

struct PodContainer {
  std::string name;
  std::string id;  // without the runtime's scheme: 64 hex digits; empty while it has not started
};

// Who keeps the pod running, e.g. {"Deployment", "shop"}. Both empty: nobody, or unknown.
struct Workload {
  std::string kind;
  std::string name;
  bool operator==(const Workload&) const = default;
};

struct Pod {
  std::string uid;
  // The kubelet's own name for a static pod, which its cgroup carries instead of the uid; empty for others.
  std::string config_hash;
  std::string namespace_name;
  std::string name;
  std::string node;
  Workload controller;  // as the pod names it, e.g. {"ReplicaSet", "shop-5d9f7c6b8"}
  Workload workload;    // what an operator wrote, e.g. {"Deployment", "shop"}
  std::map<std::string, std::string> labels;
  std::map<std::string, std::string> annotations;
  std::vector<PodContainer> containers;
  // Labels and annotations are known. False where names come from log files only.
  bool complete = false;
};

using PodPtr = std::shared_ptr<const Pod>;

}  // namespace goheapd::model
