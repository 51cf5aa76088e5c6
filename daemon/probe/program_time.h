// How much CPU time our programs have taken of a target, from counters that are coarse in the short run.
//
// One run in wire::kTimedRuns is timed and stands for all of them. So a program with few hits seems to pay nothing for
// seconds, then for 64 runs at once, and one run that took longer than usual looks like a breach of the budget. Here each
// hit costs what the last thousand or so did on average: in the long run the sum is the same.
#pragma once

#include <cstdint>

namespace goheapd::probe {

class ProgramTime {
 public:
  // `hits` so far, and nanoseconds of all programs by the kernel's estimate; both begin anew with the probes. Returns
  // nanoseconds since the probes came; they never fall while `hits` does not.
  uint64_t observe(uint64_t hits, uint64_t program_ns);

 private:
  struct Point {
    uint64_t hits = 0;
    uint64_t program_ns = 0;
  };
  Point from_;  // the average is over what came after this
  Point next_;  // takes its place
  uint64_t hits_ = 0;
  double sum_ns_ = 0;
};

}  // namespace goheapd::probe
