// How the objects of a stack live and die, by age in GC cycles: what is needed to say how much of a run is in use, of
// which only the first object is followed and the rest belongs to others.
//
// Ages are kept by the cycle while they are few, so that what all dies in one cycle, as what a batch or a request holds, is
// not spread over several, and then in classes that double: 0 cycles survived, 1, 2, ... 7, 8-15, 16-31, ...
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace goheapd::profile {

inline constexpr size_t kSingleAges = 8;
inline constexpr size_t kAgeClasses = kSingleAges + 6;
size_t age_class(uint32_t survived_cycles);
// How many ages a class has, counted in cycles.
double cycles_of(size_t age_class);

// The share of objects that are alive at an age, of those born: the product of what survived each cycle up to it
// (Kaplan and Meier's estimator), so that objects of all ages tell something, whenever they were born.
class Survival {
 public:
  // An object of so many bytes entered a cycle after it had survived `survived_cycles`, and came out alive or not.
  // `starts_moment`: the sample before it in its class was another stack's.
  void note(uint32_t survived_cycles, double bytes, bool died, bool starts_moment = true);
  // What is known of one more stack of the same kind.
  void add(const Survival& other);
  // Of those that have come through one cycle, through one more, ...: at the middle of the age class.
  // nullopt: too few objects of the stack were followed.
  std::optional<std::array<double, kAgeClasses>> alive() const;
  // From how many moments that is known, as far as they are remembered: a stack that for once opens runs does so for many
  // in a row, and what it allocates in one moment shares one fate.
  double moments() const { return tallies_[0].moments; }

 private:
  struct Tally {
    double objects = 0;
    double moments = 0;
    double bytes = 0;
    double died_bytes = 0;
  };
  std::array<Tally, kAgeClasses> tallies_{};
};

// What was allocated when, by the cycles that have ended since.
class AgeHistogram {
 public:
  void add(uint32_t sweepgen, double bytes);  // may be negative: a correction
  // A cycle has ended: mheap_.sweepgen is now this.
  void advance(uint32_t sweepgen);
  // By age class, without what no cycle has judged. A class passes on its share in each cycle, so edges blur.
  const std::array<double, kAgeClasses>& bytes() const { return bytes_; }
  double sum() const;

 private:
  std::array<double, kAgeClasses> bytes_{};
  double young_ = 0;  // born at young_sweepgen_
  uint32_t young_sweepgen_ = 0;
  uint32_t sweepgen_ = 0;
};

// One stack in a size class whose bytes in use are divided. All bytes as the samples weigh.
struct Holder {
  double own = 0;     // in use of what it allocated in runs that it has opened
  double others = 0;  // what it allocated in runs that others have opened, all
  std::optional<double>
      alive;  // how much of `others` should be alive, by its own objects of the same ages; nullopt: unknown
  double disbelieved =
      0;  // by so much `alive` was taken to differ from its own objects, which are of too few moments
  double alike = 0;   // how much of `others` would be, if it lived as long as the openers' objects
  double in_use = 0;  // the result
};
// Of `others` bytes of a stack, `own` should be alive by its own objects of so many moments, and `alike` if it lived as
// long as those that opened the runs. A few moments differ by chance: only by as much as they differ beyond what chance
// does is it believed (the positive part of James and Stein's estimator, with the variance of a binomial share).
double believed_alive(double others, double own, double alike, double moments);
// `total` = bytes that are in use, exactly; `samples` = live objects that `own` is made of. Stacks that are too seldom
// sampled to know how they live get what the others leave of the total, as far as that is more than noise: with few
// samples it is closer to what they had if they lived like the openers.
// Returns which part of the total would belong to others if all did, 0 to 1: much means that samples cannot decide
// between stacks of different lifetimes and stacks that opened runs at different times.
double divide_in_use(std::span<Holder> holders, double total, double samples);

}  // namespace goheapd::profile
