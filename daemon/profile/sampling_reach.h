// How much of what a size class has allocated its samples can stand for, where samples are not taken all the time.
//
//   counters read      │        gap         │ stretch │          gap            │
//   recording       ───┘                    └─────────┘                         └───
//   class has grown              g1             s1               g2
//                             s1 x g1's time / 2 / s1's        s1 x g2's time / 2 / s1's
//
// What a slice has seen stands for half of the gaps on both sides of it. A program that fills a cache in a gap, once, has
// not done so in any slice: what is sampled later, of whatever stack, tells nothing of it. The runtime's counters show
// such growth, and that nothing like it was seen. So a class is divided up to
//
//   what it has grown by in stretches + R + 3 x sigma,     R = sum of what they stand for in gaps, r
//                                                          sigma = sqrt(sum of r^2): as if each were exponentially distributed
//
// What is left may be explained by later slices: a program that works once a minute is seen once in many minutes, and that
// stands for all of them.
//
// What a stretch has seen is known only where counters were read near its ends, and then it is no more than what was
// sampled in it can stand for; else what was sampled in it is taken for it. A stretch can end in the midst of a burst, and just because of it: so what was sampled shortly before its end stands
// for what comes shortly after, too.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <optional>

#include "daemon/profile/span_classes.h"

namespace goheapd::profile {

class SamplingReach {
 public:
  // Of what is estimated, so many standard deviations.
  static constexpr double kSigmas = 3;
  // Gaps between slices are no longer than this, and what is further away tells nothing.
  static constexpr double kFarthestNs = 60e9;

  // Samples are taken from `time_ns` on, or no more; at first they are. Ascending times.
  void set_recording(bool on, uint64_t time_ns);
  // A sample was taken in the present stretch. It stands for so many bytes of what was allocated in it, and for so many times
  // that with the gap. Times ascend, more or less.
  void on_sample(size_t size_class, double bytes, double times, uint64_t time_ns);
  // Of one that was taken before the next reading.
  void on_read_sample(size_t size_class, double bytes) {
    read_[size_class] += bytes;
    read_squares_[size_class] += bytes * bytes;
  }
  // Counters were read, at `time_ns`: how many bytes each class has grown by since the reading before. One of
  // `mean_distance` bytes is sampled. Ascending times.
  void on_reading(uint64_t time_ns, const std::array<double, kSpanSizeClasses>& grown, double mean_distance);
  // Of what the class has grown by since the first reading samples can stand for so many bytes.
  double most(size_t size_class) const;

 private:
  using Bytes = std::array<double, kSpanSizeClasses>;
  struct Edge {
    bool on = false;
    uint64_t time_ns = 0;
    // Where a stretch ends: what was sampled in it, and just now.
    Bytes sampled{};
    Bytes lately{};
  };
  // What comes of the edges between two readings.
  struct Passed {
    double recorded_ns = 0;
    bool any = false;
    Bytes unseen{};  // sampled in stretches of which no counters were read before they ended
    Bytes lately{};  // sampled at the end of any
  };
  Passed pass_edges(uint64_t time_ns);
  // Of what was sampled since the last reading, what it stands for at most: samples vary, and may be none by chance.
  double most_read(size_t size_class, double mean_distance) const;
  void reckon_gap_before();
  void forget_half();
  void begin_gap();
  void begin_stretch();
  // Bytes of a gap that is `ns` long, by what was seen on one side of it.
  double half_of_gap(size_t size_class, double ns) const;
  void reach(size_t size_class, double bytes) {
    reached_[size_class] += bytes;
    squares_[size_class] += bytes * bytes;
  }

  std::deque<Edge> edges_;  // after the last reading
  Bytes sampled_{};         // in this stretch
  Bytes lately_{};          // of that, as of `lately_ns_`
  std::array<uint64_t, kSpanSizeClasses> lately_ns_{};
  Bytes read_{};  // sampled between the last two readings
  Bytes read_squares_{};
  bool recording_ = true;  // as of the last reading, as all below
  std::optional<uint64_t> reading_ns_;
  bool is_seen_ = false;  // by the counters: some of the stretch that samples are taken in
  bool in_gap_ = false;
  double gap_ns_ = 0;         // of this gap
  double gap_before_ns_ = 0;  // this stretch, where that is still to be reckoned
  double seen_ns_ = 0;        // of this stretch or the last one, lately
  Bytes seen_{};              // has grown meanwhile
  Bytes grown_{};             // while samples were taken
  Bytes reached_{};           // in gaps that are over
  Bytes squares_{};
};

}  // namespace goheapd::profile
