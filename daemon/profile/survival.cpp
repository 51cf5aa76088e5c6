#include "daemon/profile/survival.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

namespace goheapd::profile {
namespace {

// Fewer objects than this say little of how a stack's objects live.
constexpr double kEnough = 8;
constexpr double kNearest = 1;
// Where there are samples on one side only.
constexpr double kSome = 3;

// Samples of a stack on one side of a moment.
struct Side {
  double samples = 0;
  double opened = 0;
  double died = 0;
  double time_sum = 0;
  void add(const Moment& moment) {
    samples += moment.samples;
    opened += moment.opened;
    died += moment.died;
    time_sum += moment.samples * moment.time;
  }
  bool is_known() const { return opened > 0; }
  double alive() const { return alive_share(opened, died); }
  double time() const { return time_sum / samples; }
};

// Until there are so many of them, from `at` on, which is part of both sides.
Side side_of(std::span<const Moment> moments, size_t at, std::ptrdiff_t step, double enough) {
  Side side;
  for (auto i = static_cast<std::ptrdiff_t>(at);
       i >= 0 && i < static_cast<std::ptrdiff_t>(moments.size()) && side.samples < enough; i += step) {
    const Moment& moment = moments[static_cast<size_t>(i)];
    if (moment.opened > 0) side.add(moment);
  }
  return side;
}

struct Estimate {
  double alive = 0;  // a share, 0 to 1
  double doubt = 0;
};

// Two shares of so many samples differ so much by chance, if they are the same.
double by_chance(const Side& a, const Side& b) {
  const double share = (a.alive() * a.samples + b.alive() * b.samples) / (a.samples + b.samples);
  return std::sqrt(share * (1 - share) * (1 / a.samples + 1 / b.samples));
}

double on_the_way(const Side& before, const Side& after, double time) {
  const double apart = after.time() - before.time();
  const double way = apart > 0 ? std::clamp((time - before.time()) / apart, 0.0, 1.0) : 0.5;
  return (1 - way) * before.alive() + way * after.alive();
}

// Where the nearest samples before and after have the same fate, so has what is between. Where they differ, and it is no
// chance that they do, it may have changed at any time in between: halfway is the best guess, and half of what they differ
// by the doubt.
Estimate between(std::span<const Moment> moments, size_t at) {
  const double time = moments[at].time;
  const Side before = side_of(moments, at, -1, kEnough);
  const Side after = side_of(moments, at, 1, kEnough);
  const double difference = std::abs(after.alive() - before.alive()) - by_chance(before, after);
  if (difference <= 0) return {on_the_way(before, after, time), 0};
  const Side just_before = side_of(moments, at, -1, kNearest);
  const Side just_after = side_of(moments, at, 1, kNearest);
  return {on_the_way(just_before, just_after, time),
          std::min(difference, std::abs(just_after.alive() - just_before.alive())) / 2};
}

// How far a stack's objects share the fate of the openers', as the moments say that have its samples on both sides.
struct Likeness {
  double apart = 0;
  double alive = 0;  // of the one or the other
  void add(double others, double share, double openers) {
    const double most = std::max(share, openers);
    if (others <= 0 || most <= 0) return;  // what is all dead tells nothing
    apart += others * std::abs(share - openers);
    alive += others * most;
  }
  double share() const { return alive > 0 ? 1 - apart / alive : 1; }
};

// The last moment before which, or the first after which, the stack has opened runs. What is younger than objects that live
// should live as well, what is older than dead ones should be dead; else it is as the openers' or as its own, as it was
// elsewhere, and that is a guess.
Estimate beyond(const Side& before, const Side& after, double openers, const Likeness& likeness) {
  constexpr double kGuess = 0.5;
  constexpr double kExpected = 0.25;
  const double alike = likeness.share();
  const double expected = before.is_known() ? before.alive() : 1 - after.alive();
  const double doubt = expected * kExpected + (1 - expected) * kGuess;
  if (before.is_known()) return {before.alive() + (1 - before.alive()) * alike * openers, doubt};
  return {after.alive() * (alike * openers + (1 - alike)), doubt};
}

}  // namespace

double alive_share(double opened, double died) {
  return opened > 0 ? std::clamp(1 - died / opened, 0.0, 1.0) : 0;
}

std::optional<AliveOfOthers> alive_of_others(std::span<const Moment> moments) {
  double samples = 0;
  for (const Moment& moment : moments) samples += moment.samples;
  if (samples < kEnough) return std::nullopt;
  AliveOfOthers result;
  const auto add = [&result](double others, const Estimate& share) {
    result.bytes += others * share.alive;
    result.doubtful += others * share.doubt;
  };
  Likeness likeness;
  std::vector<size_t> one_sided;
  for (size_t i = 0; i < moments.size(); ++i) {
    const double others = moments[i].others;
    if (others <= 0) continue;
    if (!side_of(moments, i, -1, kNearest).is_known() || !side_of(moments, i, 1, kNearest).is_known()) {
      one_sided.push_back(i);
      continue;
    }
    const Estimate share = between(moments, i);
    likeness.add(others, share.alive, moments[i].openers_alive);
    add(others, share);
  }
  for (const size_t i : one_sided) {
    add(moments[i].others, beyond(side_of(moments, i, -1, kSome), side_of(moments, i, 1, kSome),
                                  moments[i].openers_alive, likeness));
  }
  return result;
}

Holder Holder::operator*(double factor) const {
  Holder scaled{own * factor, others * factor, alive, alike * factor, in_use * factor};
  if (scaled.alive) *scaled.alive = {alive->bytes * factor, alive->doubtful * factor};
  return scaled;
}

Holder Holder::operator+(const Holder& other) const {
  Holder sum{own + other.own, others + other.others, {}, alike + other.alike, in_use + other.in_use};
  if (alive && other.alive)
    sum.alive = {alive->bytes + other.alive->bytes, alive->doubtful + other.alive->doubtful};
  return sum;
}

double divide_in_use(std::span<Holder> holders, double total, double samples) {
  if (total <= 0) {
    for (Holder& holder : holders) holder.in_use = 0;
    return 0;
  }
  double known = 0;
  double alike = 0;
  double unknown = 0;
  double all_alike = 0;
  for (Holder& holder : holders) {
    all_alike += holder.own + holder.alike;
    holder.in_use = holder.own + (holder.alive ? std::min(holder.alive->bytes, holder.others) : 0);
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
  if (sum <= 0) return 0;
  double doubt = 0;
  for (Holder& holder : holders) {
    holder.in_use *= total / sum;
    if (holder.alive)
      doubt += holder.alive->doubtful / sum;
    else if (all_alike > 0)
      doubt += std::abs(holder.in_use / total - (holder.own + holder.alike) / all_alike);
  }
  constexpr double kDeviations = 3;
  const double chance = kDeviations / std::sqrt(std::max(1.0, samples));
  return doubt + std::max(0.0, std::abs(sum / total - 1) - chance);
}

}  // namespace goheapd::profile
