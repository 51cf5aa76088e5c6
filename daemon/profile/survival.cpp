#include "daemon/profile/survival.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>

namespace goheapd::profile {
namespace {

// Programs change: beyond so many objects of an age, the older ones weigh half.
constexpr double kRemembered = 256;
// Fewer objects than this say little of how a stack's objects live.
constexpr double kEnough = 8;
// Ages below 2^n are single.
constexpr size_t kSingleBits = std::bit_width(kSingleAges) - 1;
static_assert(std::has_single_bit(kSingleAges));
// After so many cycles at once all has arrived in the last class that is going to.
constexpr uint32_t kMostSteps = 1U << (kSingleBits + kAgeClasses - kSingleAges);

}  // namespace

size_t age_class(uint32_t survived_cycles) {
  if (survived_cycles < kSingleAges) return survived_cycles;
  return std::min(static_cast<size_t>(std::bit_width(survived_cycles)) - kSingleBits - 1 + kSingleAges,
                  kAgeClasses - 1);
}

double cycles_of(size_t age_class) {
  return age_class < kSingleAges ? 1
                                 : std::ldexp(1.0, static_cast<int>(age_class - kSingleAges + kSingleBits));
}

void Survival::note(uint32_t survived_cycles, double bytes, bool died, bool starts_moment) {
  Tally& tally = tallies_[age_class(survived_cycles)];
  tally.objects += 1;
  if (starts_moment) tally.moments += 1;
  tally.bytes += bytes;
  if (died) tally.died_bytes += bytes;
  if (tally.objects < kRemembered) return;
  tally.objects /= 2;
  tally.moments /= 2;
  tally.bytes /= 2;
  tally.died_bytes /= 2;
}

void Survival::add(const Survival& other) {
  for (size_t i = 0; i < kAgeClasses; ++i) {
    tallies_[i].objects += other.tallies_[i].objects;
    tallies_[i].moments += other.tallies_[i].moments;
    tallies_[i].bytes += other.tallies_[i].bytes;
    tallies_[i].died_bytes += other.tallies_[i].died_bytes;
  }
}

std::optional<std::array<double, kAgeClasses>> Survival::alive() const {
  if (tallies_[0].objects < kEnough || tallies_[0].bytes <= 0) return std::nullopt;
  std::array<double, kAgeClasses> shares{};
  double before = 1;
  double risk = 0;  // of an age that was never seen: as of the one before
  for (size_t i = 0; i < kAgeClasses; ++i) {
    const Tally& tally = tallies_[i];
    if (tally.bytes > 0) risk = std::clamp(tally.died_bytes / tally.bytes, 0.0, 1.0);
    // Objects of age class i have come through i's first cycle; the middle one of its cycles is what they stand for.
    const double cycles = cycles_of(i);
    shares[i] = before * std::pow(1 - risk, (cycles + 1) / 2);
    before *= std::pow(1 - risk, cycles);
  }
  return shares;
}

void AgeHistogram::add(uint32_t sweepgen, double bytes) {
  if (sweepgen_ == 0) sweepgen_ = sweepgen;
  if (sweepgen == young_sweepgen_) {
    young_ += bytes;
    return;
  }
  if (static_cast<int32_t>(sweepgen - young_sweepgen_) > 0) {
    bytes_[0] += young_;
    young_ = bytes;
    young_sweepgen_ = sweepgen;
    return;
  }
  bytes_[0] += bytes;
}

void AgeHistogram::advance(uint32_t sweepgen) {
  const uint32_t cycles = (sweepgen - sweepgen_) / 2;
  const bool is_first = sweepgen_ == 0;
  sweepgen_ = sweepgen;
  if (is_first || static_cast<int32_t>(cycles) <= 0) return;
  for (uint32_t step = 0; step < std::min(cycles, kMostSteps); ++step) {
    for (size_t i = kAgeClasses - 1; i-- > 0;) {
      const double passed = bytes_[i] / cycles_of(i);
      bytes_[i] -= passed;
      bytes_[i + 1] += passed;
    }
    if (step == 0 && static_cast<int32_t>(sweepgen - young_sweepgen_) >= 2) {
      bytes_[0] += young_;
      young_ = 0;
    }
  }
}

double AgeHistogram::sum() const { return std::accumulate(bytes_.begin(), bytes_.end(), 0.0); }

double believed_alive(double others, double own, double alike, double moments) {
  if (others <= 0 || moments <= 0) return alike;
  const double share = std::clamp(alike / others, 0.0, 1.0);
  const double by_chance = share * (1 - share) / moments;
  const double difference = own / others - share;
  const double squared = difference * difference;
  return squared <= by_chance ? share * others : others * (share + (1 - by_chance / squared) * difference);
}

double divide_in_use(std::span<Holder> holders, double total, double samples) {
  double known = 0;
  double alike = 0;
  double unknown = 0;
  for (Holder& holder : holders) {
    holder.in_use = holder.own + std::min(holder.alive.value_or(0), holder.others);
    known += holder.in_use;
    if (holder.alive) continue;
    alike += holder.alike;
    unknown += holder.others;
  }
  const double left = std::clamp(total - known, 0.0, unknown);
  double given = left;
  if (alike > 0) {
    // Standard deviation of `left`, in units of `alike`. The other source, that all live alike, is taken to be off by
    // half.
    const double noise = total / std::sqrt(std::max(1.0, samples)) / alike;
    const double trust = 1 / (1 + 4 * noise * noise);
    given = trust * left + (1 - trust) * alike;
  }
  double sum = known;
  for (Holder& holder : holders) {
    if (holder.alive) continue;
    const double part = alike > 0     ? given * holder.alike / alike
                        : unknown > 0 ? given * holder.others / unknown
                                      : 0;
    holder.in_use += part;
    sum += part;
  }
  double sum_alike = 0;
  for (const Holder& holder : holders) sum_alike += holder.own + holder.alike;
  double difference = 0;
  for (Holder& holder : holders) {
    if (sum > 0) holder.in_use *= total / sum;
    const double otherwise = sum_alike > 0 ? (holder.own + holder.alike) * total / sum_alike : holder.in_use;
    difference += std::abs(holder.in_use - otherwise);
    if (sum > 0) difference += holder.disbelieved * total / sum;
  }
  return total > 0 ? difference / 2 / total : 0;
}

}  // namespace goheapd::profile
