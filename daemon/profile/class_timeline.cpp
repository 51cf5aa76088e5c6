#include "daemon/profile/class_timeline.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

namespace goheapd::profile {
namespace {

// Rounding leaves some bytes of what is all dead.
constexpr double kAllDead = 1 - 1e-9;

bool is_dead(const ClassTimeline::Segment& segment) { return segment.died >= kAllDead * segment.opened; }

}  // namespace

double ClassTimeline::opened() const {
  return std::accumulate(segments_.begin(), segments_.end(), 0.0,
                         [](double sum, const Segment& segment) { return sum + segment.opened; });
}

ClassTimeline::Entry& ClassTimeline::entry(Segment& segment, uint32_t account) {
  auto found = std::lower_bound(segment.entries.begin(), segment.entries.end(), account,
                                [](const Entry& entry, uint32_t id) { return entry.account < id; });
  if (found == segment.entries.end() || found->account != account) {
    found = segment.entries.emplace(found);
    found->account = account;
  }
  return *found;
}

bool ClassTimeline::goes_on(uint32_t account, uint32_t sweepgen, bool awaits_count) {
  if (segments_.empty() || account != last_account_) return false;
  Segment& last = segments_.back();
  return sweepgen == last.sweepgen && awaits_count == last.awaits_count &&
         entry(last, account).samples < kMostSamples;
}

uint64_t ClassTimeline::open(uint32_t account, uint64_t birth_ns, uint32_t sweepgen, double bytes,
                             bool awaits_count) {
  if (!segments_.empty()) birth_ns = std::max(birth_ns, segments_.back().last_ns + 1);
  if (!goes_on(account, sweepgen, awaits_count)) {
    bound(birth_ns);
    Segment& segment = segments_.emplace_back();
    segment.first_ns = birth_ns;
    segment.sweepgen = sweepgen;
    segment.awaits_count = awaits_count;
    last_account_ = account;
    ++entries_;
  }
  Segment& segment = segments_.back();
  segment.last_ns = birth_ns;
  segment.opened += bytes;
  Entry& opener = entry(segment, account);
  opener.samples += 1;
  opener.opened += bytes;
  opener.undivided += bytes;
  samples_ += 1;
  return birth_ns;
}

ClassTimeline::Segment* ClassTimeline::at(uint64_t place_ns) {
  const auto found =
      std::lower_bound(segments_.begin(), segments_.end(), place_ns,
                       [](const Segment& segment, uint64_t time) { return segment.last_ns < time; });
  return found == segments_.end() ? nullptr : &*found;
}

void ClassTimeline::correct(uint32_t account, uint64_t place_ns, double change) {
  Segment* segment = at(place_ns);
  if (segment == nullptr) return;
  Entry& opener = entry(*segment, account);
  opener.opened += change;
  segment->opened += change;
  if (opener.undivided + change >= 0) {
    opener.undivided += change;
    return;
  }
  // It has been divided as a count said: so there is less of it for all.
  const double before = segment->opened - change;
  const double factor = before > 0 ? std::max(0.0, 1 + change / before) : 0;
  for (Entry& taker : segment->entries) {
    taker.allocated *= factor;
    taker.own *= factor;
  }
}

void ClassTimeline::die(uint32_t account, uint64_t place_ns, double bytes) {
  Segment* segment = at(place_ns);
  if (segment == nullptr) return;
  entry(*segment, account).died += bytes;
  segment->died += bytes;
}

void ClassTimeline::count(const std::unordered_map<uint32_t, double>& objects,
                          const std::function<uint32_t(uint32_t)>& shown_at) {
  const double sum = std::accumulate(objects.begin(), objects.end(), 0.0,
                                     [](double so_far, const auto& taker) { return so_far + taker.second; });
  if (sum <= 0) return;
  for (Segment& segment : segments_) {
    if (!std::exchange(segment.awaits_count, false)) continue;
    double divided = 0;
    for (Entry& opener : segment.entries) {
      const auto taken = objects.find(shown_at(opener.account));
      if (taken == objects.end()) continue;
      opener.own += opener.undivided * taken->second / sum;
      divided += std::exchange(opener.undivided, 0);
    }
    if (divided <= 0) continue;
    entries_ -= segment.entries.size();
    for (const auto& [account, taken] : objects) entry(segment, account).allocated += divided * taken / sum;
    entries_ += segment.entries.size();
  }
}

void ClassTimeline::bound(uint64_t now_ns) {
  while (segments_.size() >= kMaxSegments || (segments_.size() >= kMinSegments && entries_ >= kMaxEntries)) {
    size_t cheapest = 0;
    double least = std::numeric_limits<double>::max();
    for (size_t i = 0; i + 1 < segments_.size(); ++i) {
      const double cost = cost_of_joining(i, now_ns);
      if (cost >= least) continue;
      least = cost;
      cheapest = i;
    }
    join(cheapest);
  }
}

// What has lived for long need not be known to the second. Where all is dead there is nothing to tell apart.
double ClassTimeline::cost_of_joining(size_t first, uint64_t now_ns) const {
  const Segment& a = segments_[first];
  const Segment& b = segments_[first + 1];
  // Joined, both would be young, or none would be counted.
  constexpr double kNotYet = 2;
  const bool judged = is_judged(a);
  if (judged != is_judged(b) || (!judged && a.sweepgen != b.sweepgen) || a.awaits_count != b.awaits_count)
    return kNotYet;
  if (judged && is_dead(a) && is_dead(b)) return 0;
  const auto age = static_cast<double>(now_ns - a.first_ns) + 1;
  return static_cast<double>(b.last_ns - a.first_ns) / age;
}

void ClassTimeline::join(size_t first) {
  Segment& a = segments_[first];
  const Segment& b = segments_[first + 1];
  entries_ -= a.entries.size() + b.entries.size();
  for (const Entry& more : b.entries) {
    Entry& sum = entry(a, more.account);
    sum.samples += more.samples;
    sum.opened += more.opened;
    sum.died += more.died;
    sum.undivided += more.undivided;
    sum.allocated += more.allocated;
    sum.own += more.own;
  }
  entries_ += a.entries.size();
  a.opened += b.opened;
  a.died += b.died;
  a.last_ns = b.last_ns;
  a.sweepgen = b.sweepgen;
  a.awaits_count = a.awaits_count && b.awaits_count;
  segments_.erase(segments_.begin() + static_cast<std::ptrdiff_t>(first) + 1);
}

}  // namespace goheapd::profile
