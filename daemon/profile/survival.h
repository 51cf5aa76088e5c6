// How much is in use of what stacks have allocated in runs that others have opened: of a sampled run only the first
// object is followed, which is the opener's, and the rest belongs to others.
//
// What a stack's objects of one moment do is what those do that it has opened itself at that time, shortly before and
// shortly after. So stacks in lockstep, each of which opens runs for a while, are told apart: where one holds what is
// recent and the other holds nothing, one's samples live on both sides of what the other has opened; where both hold
// what is recent, those of both die at the same time.
#pragma once

#include <optional>
#include <span>

namespace goheapd::profile {

// Of what was opened, 0 to 1; 0 of nothing.
double alive_share(double opened, double died);

// A stack at one time. All bytes as the samples weigh.
struct Moment {
  double time = 0;     // of birth, in any unit
  double samples = 0;  // of runs that it has opened
  double opened = 0;
  double died = 0;           // of `opened`
  double others = 0;         // what it has allocated in runs that others have opened
  double openers_alive = 0;  // the share that lives of all that was opened then, by whomever
};

struct AliveOfOthers {
  double bytes = 0;
  double doubtful = 0;  // so many bytes it may be off
};
// Of what a stack has allocated in the runs of others, how much should be alive. Moments in order of time. nullopt: it has
// opened too few runs to say.
std::optional<AliveOfOthers> alive_of_others(std::span<const Moment> moments);

// One stack in a size class whose bytes in use are divided. All bytes as the samples weigh.
struct Holder {
  double own = 0;                      // in use of what it allocated in runs that it has opened
  double others = 0;                   // what it allocated in runs that others have opened, all
  std::optional<AliveOfOthers> alive;  // of `others`
  double alike = 0;   // how much of `others` would be alive if all of a run lived as long as its first object
  double in_use = 0;  // the result

  Holder operator*(double factor) const;
  // Bytes of both. What is known of one is not known of both.
  Holder operator+(const Holder& other) const;
};
// `total` = bytes that are in use, exactly; `samples` = how many samples stand for so much. Stacks that are too seldom
// sampled to know how they live get what the others leave of the total, as far as that is more than noise: with few
// samples it is closer to what they had if they lived like the openers.
// Returns which part of the total may belong to others, 0 to 1: what is doubtful of the holders, what those differ by who
// got what is left, and by how much all holders together miss the total, if that is more than samples vary by chance.
double divide_in_use(std::span<Holder> holders, double total, double samples);

}  // namespace goheapd::profile
