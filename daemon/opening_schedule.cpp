#include "daemon/opening_schedule.h"

#include <algorithm>

namespace goheapd {

void OpeningSchedule::settings_changed() {
  ++generation_;
  for (auto& [key, entry] : entries_) entry.pause_ns = entry.next_look_ns = 0;
}

bool OpeningSchedule::begin(const model::ProcessKey& key) {
  Entry& entry = entries_[key];
  if (entry.under_way) return false;
  entry.under_way = true;
  return true;
}

bool OpeningSchedule::finish(const model::ProcessKey& key, uint64_t generation) {
  if (const auto entry = entries_.find(key); entry != entries_.end()) entry->second.under_way = false;
  return generation == generation_;
}

void OpeningSchedule::failed(const model::ProcessKey& key, uint64_t now_ns) {
  Entry& entry = entries_[key];
  entry.pause_ns = entry.pause_ns == 0 ? kFirstPauseNs : std::min(2 * entry.pause_ns, kLongestPauseNs);
  entry.next_look_ns = now_ns + entry.pause_ns;
}

bool OpeningSchedule::look_due(const model::ProcessKey& key, uint64_t now_ns) const {
  const auto entry = entries_.find(key);
  return entry == entries_.end() || (!entry->second.under_way && now_ns >= entry->second.next_look_ns);
}

}  // namespace goheapd
