// The pods of this node, as far as they are known: filled by one thread (PodWatch, PodLogs), asked by any.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "daemon/k8s/container_id.h"
#include "daemon/model/pod.h"

namespace goheapd::k8s {

// What a placement leads to.
struct PodMatch {
  model::PodPtr pod;
  std::string
      container;  // empty: the pod is known, the container not yet (or it is the pod's pause container)
};

// Thread safe. Holds at most `max_pods` (the kubelet's limit is 110 by default; what is above is counted and dropped).
class PodDirectory {
 public:
  explicit PodDirectory(size_t max_pods = 2048) : max_pods_(max_pods) {}

  void put(model::Pod pod);
  void remove(const std::string& uid);
  // These pods and no others.
  void replace(std::vector<model::Pod> pods);

  // By container id, else by the pod's uid. nullopt: unknown.
  std::optional<PodMatch> find(const Placement& placement) const;

  size_t size() const;
  uint64_t dropped() const;
  // Grows with every change.
  uint64_t generation() const;

 private:
  void insert(model::Pod pod);
  void erase(const std::string& uid);

  const size_t max_pods_;
  mutable std::mutex mutex_;  // guards the rest
  std::map<std::string, model::PodPtr> by_uid_;
  std::map<std::string, std::string> uid_by_hash_;
  std::map<std::string, std::string> uid_by_container_;
  uint64_t dropped_ = 0;
  uint64_t generation_ = 0;
};

}  // namespace goheapd::k8s
