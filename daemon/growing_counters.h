// Counters by kind that are shown to users: none may ever fall, while what is known of the kinds changes. A stack that has
// no name yet counts as "other"; once it has, its bytes are of another kind.
//
//   known   other 10            other 2, slice 8 + 5 new       other 2, slice 8 + 15 new
//   shown   other 10            other 10, slice 5              other 10, slice 15             the sum is right at once
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <numeric>

namespace goheapd {

// What the sum has grown by goes to the kinds that are shown too low, each by how much it is.
template <size_t kKinds>
void grow_counters(std::array<double, kKinds>& shown, const std::array<double, kKinds>& known) {
  const double growth =
      std::accumulate(known.begin(), known.end(), 0.0) - std::accumulate(shown.begin(), shown.end(), 0.0);
  double missing = 0;
  for (size_t i = 0; i < kKinds; ++i) missing += std::max(0.0, known[i] - shown[i]);
  if (growth <= 0 || missing <= 0) return;
  const double share = std::min(1.0, growth / missing);
  for (size_t i = 0; i < kKinds; ++i) shown[i] += share * std::max(0.0, known[i] - shown[i]);
}

}  // namespace goheapd
