// How much of what was in the heap when goheapd came lives on: some objects of each size class, chosen at random then, are
// followed as those are that were sampled since.
//
//   least alive part of a class = bytes of the followed that are known to live / bytes of all that were chosen
//   most                        = the same with those that were out of sight for a cycle, and may be others by now
//
// Neither ever grows.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
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
  // One of them may have died, and its slot may have another object.
  void lose_sight(uint64_t address);
  // 0 to 1.
  struct Part {
    double least = 0;
    double most = 0;
  };
  // Of a size class; nullopt: nothing was chosen of it.
  std::optional<Part> alive_part(size_t size_class) const;

 private:
  struct Amount {
    uint64_t chosen = 0;
    uint64_t alive = 0;
    uint64_t uncertain = 0;
  };
  enum class State : unsigned char { alive, uncertain, dead };
  // Small: a thousand of them for each of some hundred processes.
  struct Followed {
    uint64_t address = 0;
    uint64_t bytes = 0;
    uint8_t size_class = 0;
    State state = State::alive;
  };
  std::vector<Followed>::iterator find(uint64_t address);
  // Of an object of this state, so far.
  uint64_t& sum_of(const Followed& object);

  model::TrackedObject seen_;       // when and in which cycle they were chosen
  std::vector<Followed> followed_;  // ascending by address
  size_t dead_ = 0;                 // of these
  std::array<Amount, kSpanSizeClasses> bytes_{};
};

}  // namespace goheapd::profile
