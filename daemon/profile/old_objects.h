// How much of what was in the heap when goheapd came lives on: some objects of each size class, chosen at random then, are
// followed as those are that were sampled since.
//
//   alive part of a class = bytes of the followed that are known to live / bytes of all that were chosen
//
// It never grows. Objects that were out of sight for a cycle may be others by now, and do not count as alive.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

#include "daemon/model/liveness.h"
#include "daemon/profile/span_classes.h"

namespace goheapd::profile {

class OldObjects {
 public:
  void begin(const model::HeapCensus& census);
  // Appends those that are followed.
  void add_to(std::vector<model::TrackedObject>& objects) const;
  // It has died, or its slot was given to another.
  void forget(uint64_t address);
  // Of a size class, 0 to 1; nullopt: nothing was chosen of it.
  std::optional<double> alive_part(size_t size_class) const;

 private:
  struct Amount {
    uint64_t chosen = 0;
    uint64_t alive = 0;
  };
  std::unordered_map<uint64_t, model::HeapCensus::Object> alive_;  // by address
  std::array<Amount, kSpanSizeClasses> bytes_{};
};

}  // namespace goheapd::profile
