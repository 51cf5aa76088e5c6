// When a target of source spans gets a window: a few milliseconds in which every allocation is counted, so that size
// classes which several stacks share can be divided among them (profile/class_mixture.h). For one target; a pure
// calculation on what others bring.
//
//   no class is shared ──▶ nothing          first window ──▶ 1, 2, 4, 8 s ──▶ next, until classes are measured
//                                           windows agree ──▶ 10 s, 20 s, ... 160 s; one that does not: 10 s again
//
// A window costs the target a trap for each allocation from the first probe that is put in until the last one is out,
// some 40 ms. It is not opened where that is more than the budget of 10 s of the program's CPU time; what it really took
// is paid back from a quarter of the budget before the next one may be opened, and the governor is told of it bit by bit
// as it is paid back, else each window would look like a breach.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

namespace goheapd {

class AliasWindows {
 public:
  // `budget`: share of the target's CPU time for all probes. `trap_ns`: CPU time for an allocation that hits a probe;
  // `counting_ns`: so much more when it is counted.
  AliasWindows(double budget, double trap_ns, double counting_ns)
      : budget_(budget), trap_ns_(trap_ns), counting_ns_(counting_ns) {}

  // Whether it is worth while to look at the target; a look is either of the two below.
  bool look_due(uint64_t now_ns) const { return now_ns >= next_look_ns_; }
  // It shares no class that matters.
  void not_wanted(uint64_t now_ns);
  // It does; cumulative figures of it. Set: open a window, that counts for so long.
  std::optional<std::chrono::nanoseconds> look(uint64_t now_ns, uint64_t cpu_ns, uint64_t allocations);
  // A window is over: the probes took `cost_ns` of the target's CPU time. `agrees`: with all before it. `is_measured`:
  // all classes are divided now.
  void closed(uint64_t now_ns, uint64_t cost_ns, bool agrees, bool is_measured);
  // It could not be opened.
  void failed(uint64_t now_ns);

  // One that is due is put off, since it would cost more than the budget allows; as of the last look.
  bool too_dear() const { return too_dear_; }
  void set_budget(double budget) { budget_ = budget; }
  // What windows took and is not paid back yet.
  uint64_t unpaid_ns(uint64_t now_ns) const;

 private:
  struct Figures {
    uint64_t time_ns = 0;
    uint64_t cpu_ns = 0;
    uint64_t allocations = 0;
  };

  double budget_;
  double trap_ns_;
  double counting_ns_;
  Figures last_;
  uint64_t next_look_ns_ = 0;
  uint64_t next_window_ns_ = 0;
  uint64_t rest_ns_ = 0;  // between windows, while they agree
  unsigned tries_ = 0;    // windows after which not all was measured
  bool too_dear_ = false;
  double cpu_rate_ = 0;  // CPUs that the program keeps busy
  // Being paid back evenly.
  uint64_t debt_ns_ = 0;
  uint64_t debt_begin_ns_ = 0;
  uint64_t debt_end_ns_ = 0;
};

}  // namespace goheapd
