#include "daemon/profile/old_objects.h"

#include <algorithm>

namespace goheapd::profile {

void OldObjects::begin(const model::HeapCensus& census) {
  followed_.clear();
  dead_ = 0;
  bytes_ = {};
  for (size_t i = 0; i < kSpanSizeClasses; ++i) bytes_[i].chosen = census.classes[i].bytes;
  followed_.reserve(census.alive.size());
  for (const model::HeapCensus::Object& object : census.alive) {
    if (object.size_class >= kSpanSizeClasses) continue;
    seen_ = object.object;
    Followed& followed = followed_.emplace_back();
    followed.address = object.object.address;
    followed.bytes = object.bytes;
    followed.size_class = static_cast<uint8_t>(object.size_class);
    bytes_[object.size_class].alive += followed.bytes;
  }
  std::sort(followed_.begin(), followed_.end(),
            [](const Followed& a, const Followed& b) { return a.address < b.address; });
}

void OldObjects::add_to(std::vector<model::TrackedObject>& objects) const {
  for (const Followed& followed : followed_) {
    if (followed.state == State::dead) continue;
    objects.push_back(seen_);
    objects.back().address = followed.address;
  }
}

std::vector<OldObjects::Followed>::iterator OldObjects::find(uint64_t address) {
  const auto found = std::lower_bound(followed_.begin(), followed_.end(), address,
                                      [](const Followed& a, uint64_t value) { return a.address < value; });
  return found != followed_.end() && found->address == address && found->state != State::dead
             ? found
             : followed_.end();
}

uint64_t& OldObjects::sum_of(const Followed& object) {
  Amount& amount = bytes_[object.size_class];
  return object.state == State::alive ? amount.alive : amount.uncertain;
}

void OldObjects::forget(uint64_t address) {
  const auto found = find(address);
  if (found == followed_.end()) return;
  sum_of(*found) -= found->bytes;
  found->state = State::dead;
  if (2 * ++dead_ < followed_.size()) return;
  std::erase_if(followed_, [](const Followed& object) { return object.state == State::dead; });
  followed_.shrink_to_fit();
  dead_ = 0;
}

void OldObjects::lose_sight(uint64_t address) {
  const auto found = find(address);
  if (found == followed_.end() || found->state != State::alive) return;
  sum_of(*found) -= found->bytes;
  found->state = State::uncertain;
  sum_of(*found) += found->bytes;
}

std::optional<OldObjects::Part> OldObjects::alive_part(size_t size_class) const {
  const Amount& bytes = bytes_[size_class];
  if (bytes.chosen == 0) return std::nullopt;
  const auto chosen = static_cast<double>(bytes.chosen);
  return Part{static_cast<double>(bytes.alive) / chosen,
              static_cast<double>(bytes.alive + bytes.uncertain) / chosen};
}

}  // namespace goheapd::profile
