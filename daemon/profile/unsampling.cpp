#include "daemon/profile/unsampling.h"

#include <cmath>

namespace goheapd::profile {

double unsampling_factor(double object_size, uint64_t rate) {
  if (rate <= 1 || object_size <= 0) return 1;
  return 1 / (1 - std::exp(-object_size / static_cast<double>(rate)));
}

Scaled unsample(int64_t objects, int64_t bytes, uint64_t rate) {
  if (objects == 0 || bytes == 0) return {};
  if (rate <= 1) return {objects, bytes};
  const double factor = unsampling_factor(static_cast<double>(bytes) / static_cast<double>(objects), rate);
  return {static_cast<int64_t>(static_cast<double>(objects) * factor),
          static_cast<int64_t>(static_cast<double>(bytes) * factor)};
}

}  // namespace goheapd::profile
