// Who allocates beside whom in one span class, as short windows saw it in which every allocation was counted.
//
// A processor takes the objects of a class from one run of slots until that is used up. A sample tells who opened the
// run; who took the rest of it, nobody sees. Two stacks in lockstep can so open all runs for each other. A window tells
// what goes on around an opener:
//
//   window 1   A 50 %, B 50 %       what A has opened ─┐
//   window 2   C 100 %              what B has opened ─┴▶ window 1 ─▶ half to A, half to B
//                                   what C has opened ──▶ window 2 ─▶ all to C
//
// What a stack has opened goes to the windows in which it was seen, in proportion to how often, and from each window to
// all its stacks, as they were counted. With n(w,s) objects of stack s among the n(w) of window w:
//
//   part of t in what s has opened = sum over w of n(w,s) / n(s) * n(w,t) / n(w),   n(s) = sum over w of n(w,s)
//
// Openers that are right already stay so: sum over s of n(s) * part = n(t). Stacks that work at different times share no
// window and get nothing of each other, which plain shares of all windows would do to programs with phases.
//
// One window may have seen a moment that is like no other. So a division is confirmed when the next window in which the
// same openers are seen again has the same company around them, and no longer once it has not.
//
// While every allocation is counted all the time, the count of each period is such a window. Periods in which the stacks
// have the same shares are one: so a program may go round in its phases for as long as it likes, and none is forgotten.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

namespace goheapd::profile {

// Number of a stack as windows know it; see StackOrigins.
using OriginId = uint32_t;
// Anything that is divided among stacks.
using OriginAmounts = std::unordered_map<OriginId, double>;

class ClassMixture {
 public:
  // Windows with fewer objects of the class than this are joined.
  static constexpr double kMinWindowObjects = 32;
  // What makes a division trustworthy: so many objects in all, and so many of an opener.
  static constexpr double kMinObjects = 300;
  static constexpr double kMinSeen = 16;
  static constexpr size_t kMaxWindows = 24;

  // What a window has counted, each stack once. Returns half the sum of the differences between its shares and those of
  // all windows before, 0 to 1; 1 if there was none.
  double add(const OriginAmounts& objects, uint64_t time_ns);
  // What was counted since the last period. `run_objects`: so many objects make a run; of less nobody can tell whom they
  // share it with, so it waits for the next periods. Returns what the window of this period has counted, which is this one
  // and those like it, until the next call; null: it waits.
  const OriginAmounts* add_period(const OriginAmounts& objects, uint64_t time_ns, double run_objects);

  bool is_measured() const { return objects_ >= kMinObjects; }
  // The last window that had known openers found them in the company that those before had found.
  bool is_confirmed() const { return confirmed_; }
  // Of the last window that had objects of the class.
  uint64_t time_ns() const { return time_ns_; }
  bool knows(OriginId opener) const;

  // Gives what each has opened to those who allocated it. What an unknown opener has stays with it.
  OriginAmounts divide(const OriginAmounts& opened) const;
  // Part of what `opener` has opened that it has allocated itself; 1 if it is unknown.
  double own_part(OriginId opener) const;

 private:
  struct Window {
    double weight = 1;  // the older, the less
    double objects = 0;
    OriginAmounts counts;
  };
  struct Seen {
    double objects = 0;   // in all windows
    double weighted = 0;  // the same, as the windows weigh
  };
  void sum_up();
  bool join_alike(const OriginAmounts& objects, double sum);
  void compare_newest();
  std::optional<OriginAmounts> company_before(OriginId opener) const;

  std::deque<Window> windows_;  // newest first
  std::unordered_map<OriginId, Seen> seen_;
  OriginAmounts waiting_;  // of periods
  double waiting_objects_ = 0;
  double objects_ = 0;
  uint64_t time_ns_ = 0;
  bool confirmed_ = false;
};

}  // namespace goheapd::profile
