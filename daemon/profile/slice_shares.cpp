#include "daemon/profile/slice_shares.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace goheapd::profile {

void SliceShares::set_part(double part) {
  part_ = part;
  shares_.clear();
  if (part >= 1) return;
  for (const auto& [slice, bytes] : before_) {
    // Less than a byte is no share.
    if (bytes * (1 - part) >= 1) shares_.emplace_hint(shares_.end(), slice, bytes * (1 - part));
  }
}

void SliceShares::add(uint32_t slice, double bytes) {
  shares_[slice] += bytes * part_;
  if (shares_.size() <= kMostSlices) return;
  const auto least = std::min_element(shares_.begin(), shares_.end(), [](const auto& a, const auto& b) {
    // What is of no slice stays.
    return std::pair(a.first == 0, a.second) < std::pair(b.first == 0, b.second);
  });
  shares_.erase(least);
}

double SliceShares::variance() const {
  return std::accumulate(shares_.begin(), shares_.end(), 0.0,
                         [](double sum, const auto& share) { return sum + share.second * share.second; });
}

}  // namespace goheapd::profile
