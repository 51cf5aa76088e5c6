#include "daemon/profile/old_objects.h"

namespace goheapd::profile {

void OldObjects::begin(const model::HeapCensus& census) {
  alive_.clear();
  bytes_ = {};
  for (size_t i = 0; i < kSpanSizeClasses; ++i) bytes_[i].chosen = census.classes[i].bytes;
  for (const model::HeapCensus::Object& object : census.alive)
    if (alive_.emplace(object.object.address, object).second) bytes_[object.size_class].alive += object.bytes;
}

void OldObjects::add_to(std::vector<model::TrackedObject>& objects) const {
  for (const auto& [address, object] : alive_) objects.push_back(object.object);
}

void OldObjects::forget(uint64_t address) {
  const auto found = alive_.find(address);
  if (found == alive_.end()) return;
  bytes_[found->second.size_class].alive -= found->second.bytes;
  alive_.erase(found);
}

std::optional<double> OldObjects::alive_part(size_t size_class) const {
  const Amount& bytes = bytes_[size_class];
  if (bytes.chosen == 0) return std::nullopt;
  return static_cast<double>(bytes.alive) / static_cast<double>(bytes.chosen);
}

}  // namespace goheapd::profile
