// What was opened in a span class in the order of births, and how much of it is dead. It is kept in segments, short
// where the samples are young or their openers change, long where they are old:
//
//   births ──▶  │ A A A A A A A A A A A │ B B B B │ A A A │ B B │ A │
//   dead             all                  none      none    none
//
// In every segment some stacks have opened the runs and others, unseen, have taken most of their objects. How a stack's
// objects of one moment fare is seen at those that it has opened shortly before and shortly after; see survival.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <unordered_map>
#include <vector>

namespace goheapd::profile {

class ClassTimeline {
 public:
  static constexpr size_t kMaxSegments = 32;
  // In all segments: with more accounts than this, segments are fewer, though no less than kMinSegments.
  static constexpr size_t kMaxEntries = 2048;
  static constexpr size_t kMinSegments = 4;
  // A segment of one opener has no more.
  static constexpr double kMostSamples = 16;

  // One account in one segment. Bytes as the samples weigh.
  struct Entry {
    uint32_t account = 0;
    double samples = 0;
    double opened = 0;
    double died = 0;       // of `opened`
    double undivided = 0;  // of `opened`: that nobody has counted who took it
    // What was counted beside the samples: what the account has taken in all runs, and of that in its own.
    double allocated = 0;
    double own = 0;
  };
  struct Segment {
    uint64_t first_ns = 0;  // births
    uint64_t last_ns = 0;
    uint32_t sweepgen = 0;      // at the last birth
    bool awaits_count = false;  // a count of its time is coming
    double opened = 0;          // of all entries
    double died = 0;
    std::vector<Entry> entries;  // by account
  };

  // `awaits_count`: count() will tell who took what was opened now. Returns the birth's place in time, which is its own
  // but where births of several processors come out of order.
  uint64_t open(uint32_t account, uint64_t birth_ns, uint32_t sweepgen, double bytes, bool awaits_count);
  // It turns out that so many bytes more (or fewer) were used of what was opened at this place in time.
  void correct(uint32_t account, uint64_t place_ns, double change);
  // Of what was opened there.
  void die(uint32_t account, uint64_t place_ns, double bytes);
  // All cycles up to this one have been judged, and die() told of it.
  void set_judged(uint32_t sweepgen) { judged_sweepgen_ = sweepgen; }
  bool is_judged(const Segment& segment) const {
    return static_cast<int32_t>(judged_sweepgen_ - segment.sweepgen) >= 2;
  }
  // How many objects each account has taken of late, by the account that shows them, which `shown_at` tells of any: that
  // divides all that awaits it. What one that took none has opened stays undivided.
  void count(const std::unordered_map<uint32_t, double>& objects,
             const std::function<uint32_t(uint32_t)>& shown_at);

  const std::vector<Segment>& segments() const { return segments_; }
  // Of all segments.
  double samples() const { return samples_; }
  double opened() const;

 private:
  Segment* at(uint64_t place_ns);
  // What is opened now belongs to the last segment.
  bool goes_on(uint32_t account, uint32_t sweepgen, bool awaits_count);
  static Entry& entry(Segment& segment, uint32_t account);
  void bound(uint64_t now_ns);
  double cost_of_joining(size_t first, uint64_t now_ns) const;
  void join(size_t first);

  std::vector<Segment> segments_;
  size_t entries_ = 0;
  double samples_ = 0;
  uint32_t last_account_ = 0;  // that opened the last segment
  uint32_t judged_sweepgen_ = 0;
};

}  // namespace goheapd::profile
