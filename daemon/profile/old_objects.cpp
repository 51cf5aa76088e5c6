#include "daemon/profile/old_objects.h"

#include <utility>

namespace goheapd::profile {

void OldObjects::begin(const model::HeapCensus& census) {
  followed_.clear();
  bytes_ = {};
  for (size_t i = 0; i < kSpanSizeClasses; ++i) bytes_[i].chosen = census.classes[i].bytes;
  for (const model::HeapCensus::Object& object : census.alive)
    if (followed_.emplace(object.object.address, Followed{object}).second)
      bytes_[object.size_class].alive += object.bytes;
}

void OldObjects::add_to(std::vector<model::TrackedObject>& objects) const {
  for (const auto& [address, followed] : followed_) objects.push_back(followed.object.object);
}

void OldObjects::forget(uint64_t address) {
  const auto found = followed_.find(address);
  if (found == followed_.end()) return;
  const auto& [object, is_certain] = found->second;
  Amount& amount = bytes_[object.size_class];
  (is_certain ? amount.alive : amount.uncertain) -= object.bytes;
  followed_.erase(found);
}

void OldObjects::lose_sight(uint64_t address) {
  const auto found = followed_.find(address);
  if (found == followed_.end() || !std::exchange(found->second.is_certain, false)) return;
  const model::HeapCensus::Object& object = found->second.object;
  bytes_[object.size_class].alive -= object.bytes;
  bytes_[object.size_class].uncertain += object.bytes;
}

std::optional<OldObjects::Part> OldObjects::alive_part(size_t size_class) const {
  const Amount& bytes = bytes_[size_class];
  if (bytes.chosen == 0) return std::nullopt;
  const auto chosen = static_cast<double>(bytes.chosen);
  return Part{static_cast<double>(bytes.alive) / chosen,
              static_cast<double>(bytes.alive + bytes.uncertain) / chosen};
}

}  // namespace goheapd::profile
