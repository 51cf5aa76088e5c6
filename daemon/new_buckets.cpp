#include "daemon/new_buckets.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

namespace goheapd {

uint64_t NewBuckets::complete(model::BucketReading& reading, std::vector<profile::BucketSite>& sites) {
  std::lock_guard lock(mutex_);
  const size_t older = waiting_.size();
  std::unordered_map<uint64_t, model::BucketRecord*> records;
  if (older != 0 || !sites.empty()) {
    for (model::BucketRecord& record : reading.buckets) records.emplace(record.address, &record);
  }
  for (const profile::BucketSite& site : sites) {
    if (const auto found = records.find(site.bucket); found != records.end())
      waiting_.push_back({site, found->second->stack});
  }
  for (size_t i = 0; i < older; ++i) {
    const Description& description = waiting_[i];
    const auto found = records.find(description.site.bucket);
    if (found == records.end()) continue;  // cannot be: the runtime never frees a bucket
    found->second->stack = description.stack;
    sites.push_back(description.site);
  }
  return adopted_ + waiting_.size();
}

void NewBuckets::adopted(uint64_t up_to) {
  std::lock_guard lock(mutex_);
  const uint64_t count = std::min<uint64_t>(up_to - std::min(up_to, adopted_), waiting_.size());
  waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<std::ptrdiff_t>(count));
  adopted_ += count;
}

size_t NewBuckets::waiting() const {
  std::lock_guard lock(mutex_);
  return waiting_.size();
}

}  // namespace goheapd
