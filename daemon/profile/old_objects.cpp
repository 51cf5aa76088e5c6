#include "daemon/profile/old_objects.h"

#include <algorithm>
#include <cmath>

namespace goheapd::profile {

void OldObjects::begin(const model::HeapCensus& census) {
  followed_.clear();
  dead_ = 0;
  bytes_ = {};
  cycles_ = 0;
  for (size_t i = 0; i < kSpanSizeClasses; ++i) bytes_[i].chosen = census.classes[i].bytes;
  followed_.reserve(census.alive.size());
  for (const model::HeapCensus::Object& object : census.alive) {
    if (object.size_class >= kSpanSizeClasses) continue;
    seen_ = object.object;
    Followed& followed = followed_.emplace_back();
    followed.address = object.object.address;
    followed.bytes = object.bytes;
    followed.size_class = static_cast<uint8_t>(object.size_class);
    Amount& amount = bytes_[object.size_class];
    amount.alive += followed.bytes;
    ++amount.objects;
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

void OldObjects::take_out(const Followed& object) {
  Amount& amount = bytes_[object.size_class];
  --amount.objects;
  (object.state == State::alive ? amount.alive : amount.uncertain) -= object.bytes;
}

void OldObjects::begin_reading(uint32_t sweepgen) {
  if (sweepgen == sweepgen_ || followed_.empty()) return;
  sweepgen_ = sweepgen;
  // All verdicts of the cycle before are known by now.
  if (is_after_first_cycle())
    for (Amount& amount : bytes_) amount.lived += amount.objects;
  ++cycles_;
}

void OldObjects::end_reading() {
  for (Amount& amount : bytes_) amount.likely = 0;
  for (const Followed& object : followed_) {
    if (object.state != State::uncertain) continue;
    Amount& amount = bytes_[object.size_class];
    const auto lived = static_cast<double>(amount.lived);
    const double survival = (lived + 1) / (lived + static_cast<double>(amount.died) + 2);
    amount.likely += std::pow(survival, object.unseen_cycles) * static_cast<double>(object.bytes);
  }
}

void OldObjects::forget(uint64_t address) {
  const auto found = find(address);
  if (found == followed_.end()) return;
  if (is_after_first_cycle()) ++bytes_[found->size_class].died;
  take_out(*found);
  found->state = State::dead;
  if (2 * ++dead_ < followed_.size()) return;
  std::erase_if(followed_, [](const Followed& object) { return object.state == State::dead; });
  followed_.shrink_to_fit();
  dead_ = 0;
}

void OldObjects::lose_sight(uint64_t address, uint32_t cycles) {
  const auto found = find(address);
  if (found == followed_.end()) return;
  found->unseen_cycles += cycles;
  if (found->state == State::uncertain) return;
  Amount& amount = bytes_[found->size_class];
  amount.alive -= found->bytes;
  amount.uncertain += found->bytes;
  found->state = State::uncertain;
}

std::optional<OldObjects::Part> OldObjects::alive_part(size_t size_class) const {
  const Amount& bytes = bytes_[size_class];
  if (bytes.chosen == 0) return std::nullopt;
  const auto chosen = static_cast<double>(bytes.chosen);
  const auto alive = static_cast<double>(bytes.alive);
  const auto uncertain = static_cast<double>(bytes.uncertain);
  return Part{alive / chosen, (alive + std::min(bytes.likely, uncertain)) / chosen,
              (alive + uncertain) / chosen};
}

}  // namespace goheapd::profile
