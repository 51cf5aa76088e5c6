// How much of what was in the heap when goheapd came lives on: some objects of each size class, chosen at random then, are
// followed as those are that were sampled since.
//
//   least alive part of a class = bytes of the followed that are known to live / bytes of all that were chosen
//   most                        = the same with those that were out of sight for a cycle, and may be others by now
//   likely                      = the same, each of them as likely as one of its class lives on for so many cycles
//
// Where the class had l verdicts "lives on" and d deaths, an object lives through a cycle with (l + 1) / (l + d + 2), Laplace's
// rule of succession. The first cycle is left out: it ends what was garbage when we came. What is at the place of an object
// that was out of sight counts, too: had that been freed, others of the class would live there, and as long as these do.
//
// The least and the most never grow.
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
  // What is told until the end is of this cycle.
  void begin_reading(uint32_t sweepgen);
  void end_reading();
  // Appends those that are followed.
  void add_to(std::vector<model::TrackedObject>& objects) const;
  // It has died, or its slot was given to another.
  void forget(uint64_t address);
  // One of them may have died in one of so many cycles, and its slot may have another object.
  void lose_sight(uint64_t address, uint32_t cycles);
  // 0 to 1.
  struct Part {
    double least = 0;
    double likely = 0;
    double most = 0;
  };
  // Of a size class; nullopt: nothing was chosen of it.
  std::optional<Part> alive_part(size_t size_class) const;

 private:
  struct Amount {
    uint64_t chosen = 0;
    uint64_t alive = 0;
    uint64_t uncertain = 0;
    double likely = 0;   // of what is uncertain
    uint64_t lived = 0;  // verdicts
    uint64_t died = 0;
    uint32_t objects = 0;  // followed
  };
  enum class State : unsigned char { alive, uncertain, dead };
  // Small: a thousand of them for each of some hundred processes.
  struct Followed {
    uint64_t address = 0;
    uint64_t bytes = 0;
    uint32_t unseen_cycles = 0;
    uint8_t size_class = 0;
    State state = State::alive;
  };
  std::vector<Followed>::iterator find(uint64_t address);
  // Out of the sums of its state.
  void take_out(const Followed& object);
  bool is_after_first_cycle() const { return cycles_ > 1; }

  model::TrackedObject seen_;       // when and in which cycle they were chosen
  std::vector<Followed> followed_;  // ascending by address
  size_t dead_ = 0;                 // of these
  uint32_t sweepgen_ = 0;
  uint32_t cycles_ = 0;  // that were told of
  std::array<Amount, kSpanSizeClasses> bytes_{};
};

}  // namespace goheapd::profile
