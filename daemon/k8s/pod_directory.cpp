#include "daemon/k8s/pod_directory.h"

#include <utility>

namespace goheapd::k8s {

void PodDirectory::put(model::Pod pod) {
  const std::lock_guard lock(mutex_);
  ++generation_;
  insert(std::move(pod));
}

void PodDirectory::remove(const std::string& uid) {
  const std::lock_guard lock(mutex_);
  ++generation_;
  erase(uid);
}

void PodDirectory::replace(std::vector<model::Pod> pods) {
  const std::lock_guard lock(mutex_);
  ++generation_;
  by_uid_.clear();
  uid_by_hash_.clear();
  uid_by_container_.clear();
  for (model::Pod& pod : pods) insert(std::move(pod));
}

std::optional<PodMatch> PodDirectory::find(const Placement& placement) const {
  const std::lock_guard lock(mutex_);
  auto uid = uid_by_container_.find(placement.container_id);
  if (placement.container_id.empty() || uid == uid_by_container_.end()) {
    if (placement.pod_uid.empty()) return std::nullopt;
    const auto hashed = uid_by_hash_.find(placement.pod_uid);
    const auto found = by_uid_.find(hashed != uid_by_hash_.end() ? hashed->second : placement.pod_uid);
    if (found == by_uid_.end()) return std::nullopt;
    // Where only names are known, without ids, a pod of one container leaves no doubt.
    const auto& containers = found->second->containers;
    const bool certain = containers.size() == 1 && containers.front().id.empty() && !found->second->complete;
    return PodMatch{found->second, certain ? containers.front().name : std::string()};
  }
  const model::PodPtr& pod = by_uid_.at(uid->second);
  for (const model::PodContainer& container : pod->containers) {
    if (container.id == placement.container_id) return PodMatch{pod, container.name};
  }
  return PodMatch{pod, {}};
}

size_t PodDirectory::size() const {
  const std::lock_guard lock(mutex_);
  return by_uid_.size();
}

uint64_t PodDirectory::dropped() const {
  const std::lock_guard lock(mutex_);
  return dropped_;
}

uint64_t PodDirectory::generation() const {
  const std::lock_guard lock(mutex_);
  return generation_;
}

void PodDirectory::insert(model::Pod pod) {
  erase(pod.uid);
  if (by_uid_.size() >= max_pods_) {
    ++dropped_;
    return;
  }
  if (!pod.config_hash.empty()) uid_by_hash_[pod.config_hash] = pod.uid;
  for (const model::PodContainer& container : pod.containers) {
    if (!container.id.empty()) uid_by_container_[container.id] = pod.uid;
  }
  std::string uid = pod.uid;
  by_uid_.emplace(std::move(uid), std::make_shared<const model::Pod>(std::move(pod)));
}

void PodDirectory::erase(const std::string& uid) {
  const auto found = by_uid_.find(uid);
  if (found == by_uid_.end()) return;
  const auto forget = [&uid](std::map<std::string, std::string>& index, const std::string& key) {
    if (const auto entry = index.find(key); entry != index.end() && entry->second == uid) index.erase(entry);
  };
  forget(uid_by_hash_, found->second->config_hash);
  for (const model::PodContainer& container : found->second->containers) {
    forget(uid_by_container_, container.id);
  }
  by_uid_.erase(found);
}

}  // namespace goheapd::k8s
