#include "daemon/profile/class_mixture.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <numeric>
#include <utility>

namespace goheapd::profile {
namespace {

// Each window before weighs so much less than the next: programs change.
constexpr double kFade = 0.9;
// Shares that differ by less are the same.
constexpr double kSameCompany = 0.1;
// Shares of periods that differ by less: those of a window are the mean of all its periods.
constexpr double kSamePeriod = 0.05;
// A period lasts for so many runs, so that the beginning and the end of one do not matter.
constexpr double kRunsOfAPeriod = 2;
// The rest of the openers has little of the class.
constexpr size_t kOpenersToCompare = 16;

double sum_of(const OriginAmounts& amounts) {
  return std::accumulate(amounts.begin(), amounts.end(), 0.0,
                         [](double sum, const auto& entry) { return sum + entry.second; });
}

// By how much the shares of so many stacks in so many objects differ by chance alone: some sqrt(k/n)/2.
double chance_of(size_t stacks, double objects) {
  return std::sqrt(static_cast<double>(stacks) / objects) / 2;
}

// Half the sum of the differences between two sets of shares, 0 to 1.
double difference_of(const OriginAmounts& a, double sum_a, const OriginAmounts& b, double sum_b) {
  double common = 0;
  for (const auto& [origin, amount] : a) {
    const auto other = b.find(origin);
    if (other != b.end()) common += std::min(amount / sum_a, other->second / sum_b);
  }
  return 1 - common;
}

}  // namespace

double ClassMixture::add(const OriginAmounts& objects, uint64_t time_ns) {
  const double sum = sum_of(objects);
  if (sum <= 0) return 0;
  OriginAmounts before;
  double before_sum = 0;
  for (const auto& [origin, seen] : seen_) before_sum += before[origin] = seen.weighted;
  const double difference = before_sum > 0 ? difference_of(objects, sum, before, before_sum) : 1;

  if (windows_.empty() || windows_.front().objects >= kMinWindowObjects) {
    windows_.emplace_front();
    if (windows_.size() > kMaxWindows) windows_.pop_back();
  }
  Window& newest = windows_.front();
  const bool was_enough = newest.objects >= kMinWindowObjects;
  for (const auto& [origin, count] : objects) newest.counts[origin] += count;
  newest.objects += sum;
  time_ns_ = time_ns;
  sum_up();
  if (!was_enough && newest.objects >= kMinWindowObjects) compare_newest();
  return difference;
}

const OriginAmounts* ClassMixture::add_period(const OriginAmounts& objects, uint64_t time_ns,
                                              double run_objects) {
  for (const auto& [origin, count] : objects) {
    waiting_[origin] += count;
    waiting_objects_ += count;
  }
  if (waiting_objects_ < std::max(kMinWindowObjects, kRunsOfAPeriod * run_objects)) return nullptr;
  const OriginAmounts period = std::exchange(waiting_, {});
  const double sum = std::exchange(waiting_objects_, 0);
  if (join_alike(period, sum)) {
    time_ns_ = time_ns;
    sum_up();
  } else {
    add(period, time_ns);
  }
  return &windows_.front().counts;
}

// Into the window that the shares are most like, if they are like those of any.
bool ClassMixture::join_alike(const OriginAmounts& objects, double sum) {
  auto alike = windows_.end();
  double least = kSamePeriod + chance_of(objects.size(), sum);
  for (auto window = windows_.begin(); window != windows_.end(); ++window) {
    if (window->objects < kMinWindowObjects) continue;
    const double difference = difference_of(objects, sum, window->counts, window->objects);
    if (difference > least) continue;
    least = difference;
    alike = window;
  }
  if (alike == windows_.end()) return false;
  for (const auto& [origin, count] : objects) alike->counts[origin] += count;
  alike->objects += sum;
  std::rotate(windows_.begin(), alike, std::next(alike));
  confirmed_ = true;
  return true;
}

void ClassMixture::sum_up() {
  seen_.clear();
  objects_ = 0;
  double weight = 1;
  for (Window& window : windows_) {
    window.weight = weight;
    weight *= kFade;
    objects_ += window.objects;
    for (const auto& [origin, count] : window.counts) {
      Seen& seen = seen_[origin];
      seen.objects += count;
      seen.weighted += count * window.weight;
    }
  }
}

// Shares of those who allocated in what `opener` has opened, as all windows but the newest have it; nothing if they have
// not seen it often enough.
std::optional<OriginAmounts> ClassMixture::company_before(OriginId opener) const {
  OriginAmounts shares;
  double seen = 0;
  double weighted = 0;
  for (size_t i = 1; i < windows_.size(); ++i) {
    const Window& window = windows_[i];
    const auto found = window.counts.find(opener);
    if (found == window.counts.end()) continue;
    seen += found->second;
    weighted += found->second * window.weight;
    for (const auto& [origin, count] : window.counts)
      shares[origin] += found->second * window.weight * count / window.objects;
  }
  if (seen < kMinSeen) return std::nullopt;
  for (auto& [origin, share] : shares) share /= weighted;
  return shares;
}

void ClassMixture::compare_newest() {
  const Window& newest = windows_.front();
  std::vector<std::pair<double, OriginId>> openers;
  for (const auto& [origin, count] : newest.counts) openers.emplace_back(count, origin);
  std::sort(openers.rbegin(), openers.rend());
  if (openers.size() > kOpenersToCompare) openers.resize(kOpenersToCompare);
  double known = 0;
  double all = 0;
  double difference = 0;  // half the sum of differences of shares, weighted by opener
  for (const auto& [count, opener] : openers) {
    all += count;
    auto before = company_before(opener);
    if (!before) continue;
    known += count;
    double sum = 0;
    for (const auto& [origin, objects] : newest.counts) {
      const auto old = before->find(origin);
      sum += std::abs(objects / newest.objects - (old == before->end() ? 0 : old->second));
      if (old != before->end()) before->erase(old);
    }
    for (const auto& [origin, share] : *before) sum += share;
    difference += count * sum / 2;
  }
  if (known < all / 2) return;
  const double chance = chance_of(newest.counts.size(), newest.objects);
  confirmed_ = difference / known <= kSameCompany + chance;
}

bool ClassMixture::knows(OriginId opener) const {
  const auto found = seen_.find(opener);
  return found != seen_.end() && found->second.objects >= kMinSeen;
}

OriginAmounts ClassMixture::divide(const OriginAmounts& opened) const {
  OriginAmounts divided;
  OriginAmounts per_seen;  // of an opener's amount, for each object that was seen of it
  for (const auto& [opener, amount] : opened) {
    if (knows(opener)) {
      per_seen[opener] = amount / seen_.at(opener).weighted;
    } else {
      divided[opener] += amount;
    }
  }
  for (const Window& window : windows_) {
    double amount = 0;
    for (const auto& [opener, per_object] : per_seen) {
      const auto count = window.counts.find(opener);
      if (count != window.counts.end()) amount += per_object * count->second * window.weight;
    }
    if (amount == 0) continue;
    for (const auto& [origin, count] : window.counts) divided[origin] += amount * count / window.objects;
  }
  return divided;
}

double ClassMixture::own_part(OriginId opener) const {
  if (!knows(opener)) return 1;
  double part = 0;
  for (const Window& window : windows_) {
    const auto found = window.counts.find(opener);
    if (found != window.counts.end()) part += window.weight * found->second * found->second / window.objects;
  }
  return part / seen_.at(opener).weighted;
}

}  // namespace goheapd::profile
