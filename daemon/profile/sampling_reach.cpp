#include "daemon/profile/sampling_reach.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace goheapd::profile {
namespace {

// Between two readings that were made near the ends of a stretch samples were taken for nearly all of the time.
constexpr double kMostly = 0.5;
// How fast what was sampled lately fades, and a burst may end.
constexpr double kBurstNs = 100e6;

// Stretches that no reading has passed yet: where readings fail, the first of them are forgotten.
constexpr size_t kMostEdges = 64;

double faded(double bytes, uint64_t from_ns, uint64_t to_ns) {
  return to_ns > from_ns ? bytes * std::exp(-static_cast<double>(to_ns - from_ns) / kBurstNs) : bytes;
}

}  // namespace

void SamplingReach::set_recording(bool on, uint64_t time_ns) {
  const bool was_on = edges_.empty() ? recording_ : edges_.back().on;
  if (on == was_on) return;
  if (edges_.size() >= kMostEdges) edges_.erase(edges_.begin(), edges_.begin() + 2);
  Edge& edge = edges_.emplace_back();
  edge.on = on;
  edge.time_ns = time_ns;
  if (on) return;
  edge.sampled = std::exchange(sampled_, {});
  for (size_t i = 0; i < kSpanSizeClasses; ++i)
    edge.lately[i] = faded(std::exchange(lately_[i], 0), lately_ns_[i], time_ns);
}

void SamplingReach::on_sample(size_t size_class, double bytes, double times, uint64_t time_ns) {
  sampled_[size_class] += bytes * times;
  lately_[size_class] = faded(lately_[size_class], lately_ns_[size_class], time_ns) + bytes;
  lately_ns_[size_class] = std::max(lately_ns_[size_class], time_ns);
}

SamplingReach::Passed SamplingReach::pass_edges(uint64_t time_ns) {
  Passed passed;
  uint64_t from = *reading_ns_;
  for (; !edges_.empty() && edges_.front().time_ns <= time_ns; edges_.pop_front()) {
    const Edge& edge = edges_.front();
    passed.any = true;
    const uint64_t at = std::max(edge.time_ns, from);
    if (recording_) passed.recorded_ns += static_cast<double>(at - from);
    for (size_t i = 0; i < kSpanSizeClasses; ++i) {
      if (!is_seen_) passed.unseen[i] += edge.sampled[i];
      passed.lately[i] += edge.lately[i];
    }
    is_seen_ = false;
    recording_ = edge.on;
    from = at;
  }
  if (recording_) passed.recorded_ns += static_cast<double>(time_ns - from);
  return passed;
}

double SamplingReach::most_read(size_t size_class, double mean_distance) const {
  return read_[size_class] + kSigmas * (std::sqrt(read_squares_[size_class]) + mean_distance);
}

void SamplingReach::on_reading(uint64_t time_ns, const Bytes& all_grown, double mean_distance) {
  if (!reading_ns_) reading_ns_ = time_ns;
  const Passed passed = pass_edges(time_ns);
  const auto ns = static_cast<double>(time_ns - std::exchange(*reading_ns_, time_ns));
  const bool is_stretch = passed.recorded_ns >= kMostly * ns;
  Bytes grown = all_grown;
  // Some of it may be from just before the stretch, or from just after it.
  if (passed.any)
    for (size_t i = 0; i < kSpanSizeClasses; ++i) grown[i] = std::min(grown[i], most_read(i, mean_distance));
  read_ = read_squares_ = {};
  if (is_stretch == in_gap_) is_stretch ? begin_stretch() : begin_gap();
  for (size_t i = 0; i < kSpanSizeClasses; ++i) {
    // A sample can stand for more than the class has grown by.
    reach(i, std::min(passed.lately[i], seen_[i] + grown[i]));
    if (!is_stretch) reach(i, passed.unseen[i]);
  }
  if (!is_stretch) {
    gap_ns_ += ns;
    return;
  }
  is_seen_ = recording_;
  seen_ns_ += ns;
  for (size_t i = 0; i < kSpanSizeClasses; ++i) {
    seen_[i] += grown[i];
    grown_[i] += grown[i];
  }
  if (seen_ns_ >= kFarthestNs) forget_half();
}

// By what has been seen of the stretch after it up to now.
void SamplingReach::reckon_gap_before() {
  const double before = std::exchange(gap_before_ns_, 0);
  for (size_t i = 0; i < kSpanSizeClasses; ++i) reach(i, half_of_gap(i, before));
}

// What was long ago tells nothing of the next gap.
void SamplingReach::forget_half() {
  reckon_gap_before();
  for (double& bytes : seen_) bytes /= 2;
  seen_ns_ /= 2;
}

void SamplingReach::begin_gap() {
  in_gap_ = true;
  gap_ns_ = 0;
  reckon_gap_before();
}

void SamplingReach::begin_stretch() {
  in_gap_ = false;
  for (size_t i = 0; i < kSpanSizeClasses; ++i) reach(i, half_of_gap(i, gap_ns_));
  gap_before_ns_ = gap_ns_;
  seen_ns_ = 0;
  seen_ = {};
}

double SamplingReach::half_of_gap(size_t size_class, double ns) const {
  return seen_ns_ > 0 ? std::min(ns, kFarthestNs) / 2 * seen_[size_class] / seen_ns_ : 0;
}

double SamplingReach::most(size_t size_class) const {
  const double now = half_of_gap(size_class, in_gap_ ? gap_ns_ : gap_before_ns_);
  return grown_[size_class] + reached_[size_class] + now +
         kSigmas * std::sqrt(squares_[size_class] + now * now);
}

}  // namespace goheapd::profile
