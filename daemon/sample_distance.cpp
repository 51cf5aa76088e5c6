#include "daemon/sample_distance.h"

#include <algorithm>
#include <utility>

namespace goheapd {
namespace {

constexpr uint64_t kSecond = 1'000'000'000;
// A stack walk, and the event.
constexpr double kSampleNs = 2500;
// Stack walks may take this part of the budget, and no more than a quarter of a percent of the CPU time ...
constexpr double kShareOfBudget = 0.25;
constexpr double kMostShare = 0.0025;
// ... but a ten-thousandth of one CPU nobody can feel.
constexpr double kNegligible = 0.0001;
// To look up an object takes about this, of a time between cycles of which a tenth is ours.
constexpr double kVerdictNs = 1000;
constexpr double kShareOfCycle = 0.1;
constexpr double kFewestLive = 512;
constexpr double kMostLive = 16384;
// What is taken beyond the credit before the next look is owed, up to here.
constexpr double kOverdraft = SampleDistance::kMostCredit / 4;
// Of a slice.
constexpr uint64_t kMostOfSlice = 256;
// A slice in which the program slept says little of the next one.
constexpr uint64_t kDenserStep = 4;
// Halving the distance doubles them in time; three leaves room for chance.
constexpr double kRoom = 3;

uint64_t affordable(double credit) {
  uint64_t bytes = SampleDistance::kDensest;
  for (double step = SampleDistance::kMostCredit / 2; credit < step && bytes < SampleDistance::kSparsest / 2;
       step /= 2)
    bytes *= 2;
  return credit > 0 ? bytes : SampleDistance::kSparsest;
}

}  // namespace

void SampleDistance::adapt_to_cycles(const Figures& now) {
  if (now.time_ns < least_changed_ns_ + kSecond) return;
  const double most = now.cycle_gap_ns == 0
                          ? kMostLive
                          : std::clamp(kShareOfCycle / kVerdictNs * static_cast<double>(now.cycle_gap_ns),
                                       kFewestLive, kMostLive);
  const auto live = static_cast<double>(now.live_samples);
  if (live > most && least_ < kSparsest) {
    least_ *= 2;
    least_changed_ns_ = now.time_ns;
  } else if (live * kRoom < most && least_ > kDensest) {
    least_ /= 2;
    least_changed_ns_ = now.time_ns;
  }
}

void SampleDistance::end_slice(uint64_t samples) {
  const uint64_t before = bytes_in_slices();
  const uint64_t wanted =
      std::clamp(std::max(before * samples / kMostOfSlice, before / kDenserStep), kDensest, kSparsest);
  in_slices_ = kDensest;
  while (in_slices_ < wanted) in_slices_ *= 2;
}

bool SampleDistance::observe(const Figures& now, double budget) {
  const Figures before = std::exchange(last_, now);
  if (before.time_ns == 0 || now.time_ns <= before.time_ns || now.samples < before.samples ||
      now.cpu_ns < before.cpu_ns)
    return false;
  const auto time = static_cast<double>(now.time_ns - before.time_ns);
  const auto cpu = static_cast<double>(now.cpu_ns - before.cpu_ns);
  const double credited = std::max(kNegligible * time, std::min(kMostShare, kShareOfBudget * budget) * cpu);
  const double spent = kSampleNs * static_cast<double>(now.samples - before.samples);
  credit_ = std::clamp(credit_ + credited - spent, -kOverdraft, kMostCredit);
  adapt_to_cycles(now);
  return std::exchange(bytes_, std::max(affordable(credit_), least_)) != bytes_;
}

}  // namespace goheapd
