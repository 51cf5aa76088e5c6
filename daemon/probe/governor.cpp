#include "daemon/probe/governor.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "daemon/probe/allowance.h"
#include "daemon/probe/collector.h"

namespace goheapd::probe {
namespace {

constexpr uint64_t kMillisecond = 1'000'000;
constexpr uint64_t kSecond = 1000 * kMillisecond;

// A breach is judged over this time, so that a burst of milliseconds is none ...
constexpr uint64_t kWindow = kSecond;
// ... and, of a program that hardly runs, over as long as it takes to say anything: what probes take is known by one hit in
// 64, so a handful of hits can look like nothing or like a hundred microseconds.
constexpr uint64_t kLongestWindow = 60 * kSecond;
constexpr uint64_t kMeasurableCpu = 200 * kMillisecond;
constexpr uint64_t kMeasurable = kMillisecond;
// ... unless it is so large that waiting would cost too much.
constexpr uint64_t kKillWindow = 100 * kMillisecond;
// Where probes are in for short slices only, both are judged over this; the slices themselves are planned by their cost,
// and one more or less in that time is no breach.
constexpr uint64_t kSlicesWindow = 60 * kSecond;
constexpr double kSlicesTolerance = 1.25;
// It is told when it says something.
constexpr uint64_t kSlicesTold = 10 * kSecond;
// What a slice is expected to take of the target's CPU time while it lasts, where it is not known.
constexpr double kUsualSlice = 0.2;
constexpr double kKillFactor = 10;
// ... or unless so many times what may be spent in the whole of it has been spent.
constexpr double kSpentFactor = 2;
// Probes that take less of one CPU than this are no breach, whatever their share of a target that hardly runs: a share
// of nearly nothing is noise, and what it takes nobody can feel.
constexpr double kNegligible = 0.0002;
// Level sparse saves the walks of stacks, and the traps remain: a sample takes at most so many times what its trap does.
constexpr double kSparseSaves = 4;
constexpr uint64_t kLookUpAllocations = 5 * kSecond;
constexpr uint64_t kFirstHold = 10 * kSecond;
constexpr uint64_t kLongestHold = 3600 * kSecond;
// A level that was held this long is trusted again.
constexpr uint64_t kTrustAfter = 600 * kSecond;
// Going up must leave room, or the next moment takes it down again.
constexpr double kUpShare = 0.5;

double share(const CostSample& begin, const CostSample& end) {
  const uint64_t taken = end.probe_ns - begin.probe_ns;
  // The estimate of the probes' time can be above the clock's: a share is at most all.
  const uint64_t cpu = std::max(end.cpu_ns - begin.cpu_ns, taken);
  return cpu == 0 ? 0 : static_cast<double>(taken) / static_cast<double>(cpu);
}

// Of the CPU time of a target, where probes take `cost` times what it uses itself.
double share_beside(double cost) { return cost / (1 + cost); }

bool is_negligible(const CostSample& begin, const CostSample& end) {
  const uint64_t taken = end.probe_ns - begin.probe_ns;
  return taken < kMeasurable ||
         static_cast<double>(taken) < kNegligible * static_cast<double>(end.time_ns - begin.time_ns);
}

// There is enough of both times for their ratio to mean something, or it will not become more.
bool is_measured(const CostSample& begin, const CostSample& end) {
  return (end.cpu_ns - begin.cpu_ns >= kMeasurableCpu && end.probe_ns - begin.probe_ns >= kMeasurable) ||
         end.time_ns - begin.time_ns >= kLongestWindow;
}

std::string percent(double ratio) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.2f %%", ratio * 100);
  return text.data();
}

std::string in_words(double budget, double allowed) {
  std::string text = percent(budget);
  if (allowed > budget)
    text +=
        ", or " + percent(allowed) + " of so small a program (at most " + percent(kUnfelt) + " of one CPU)";
  return text;
}

}  // namespace

uint64_t probe_ns(const TargetCounters& counters, const HitCost& cost, ProgramTime& program) {
  const double emulated = std::max(cost.ns[static_cast<size_t>(CostClass::push)],
                                   cost.ns[static_cast<size_t>(CostClass::branch)]);
  const double traps =
      static_cast<double>(counters.hits - counters.single_step_hits) * emulated +
      static_cast<double>(counters.single_step_hits) * cost.ns[static_cast<size_t>(CostClass::single_step)];
  return static_cast<uint64_t>(traps) + program.observe(counters.hits, counters.program_ns);
}

Governor::Governor(Options options, uint64_t now_ns)
    : options_(std::move(options)), level_(options_.start), level_since_ns_(now_ns) {
  for (Knowledge& knowledge : knowledge_) knowledge.hold_ns = kFirstHold;
  if (options_.exact_hit_ns > 0) known(Level::exact).ns_per_allocation = options_.exact_hit_ns;
}

std::optional<Level> Governor::below(Level level) const {
  const auto at = std::find(options_.levels.begin(), options_.levels.end(), level);
  if (at == options_.levels.begin() || at == options_.levels.end()) return std::nullopt;
  return *std::prev(at);
}

std::optional<Level> Governor::above() const {
  const auto at = std::find(options_.levels.begin(), options_.levels.end(), level_);
  if (at == options_.levels.end() || std::next(at) == options_.levels.end()) return std::nullopt;
  return *std::next(at);
}

// What an allocation has cost at this level, and how fast the program allocates, since the last mark.
void Governor::learn(const CostSample& sample, uint64_t allocations) {
  if (allocations == 0) return;
  if (mark_ && allocations >= mark_->allocations && sample.cpu_ns >= mark_->sample.cpu_ns) {
    const auto made = static_cast<double>(allocations - mark_->allocations);
    const auto probes = static_cast<double>(sample.probe_ns - mark_->sample.probe_ns);
    const double own = static_cast<double>(sample.cpu_ns - mark_->sample.cpu_ns) - probes;
    if (own > 0) allocations_rate_ = made / own;
    if (made > 0) known(level_).ns_per_allocation = probes / made;
  }
  mark_ = Mark{sample, allocations};
}

// Share of the CPU time that `level` would take of a target that goes on allocating as it does. A level of which nothing
// is known is worth a try, but never exact, whose price is known when the program's rate is not.
double Governor::predicted(Level level) const {
  const double price = knowledge_[static_cast<size_t>(level)].ns_per_allocation;
  if (!allocations_rate_) return level == Level::exact ? 1 : 0;
  if (price < 0) return 0;
  return share_beside(price * *allocations_rate_);
}

// What an allocation has cost at the level, or should; < 0 = unknown.
double Governor::price_of(Level level) const {
  const double price = knowledge_[static_cast<size_t>(level)].ns_per_allocation;
  if (price >= 0 || level != Level::sparse) return price;
  return knowledge_[static_cast<size_t>(Level::sampled)].ns_per_allocation / kSparseSaves;
}

// Share of the CPU time that `level` would take of a target of which this one takes `ratio`. Allocations that wait for
// probes are fewer than they will be, so it will be at least that.
double Governor::in_storm(Level level, double ratio) const {
  const double price = price_of(level);
  if (price <= 0 || price_of(level_) <= 0) return 0;
  const double own = std::max(1 - ratio, 1e-9);
  return share_beside(price / price_of(level_) * ratio / own);
}

Move Governor::go(Level to, uint64_t now_ns, double ratio, std::string why) {
  Move move{level_, to, ratio, 0, std::move(why)};
  if (to == Level::slices) start_slices(now_ns, ratio);
  level_ = to;
  level_since_ns_ = now_ns;
  window_.clear();
  quiet_.reset();
  mark_.reset();
  return move;
}

// From what is known of the level before.
void Governor::start_slices(uint64_t now_ns, double ratio) {
  const CostSample now = window_.empty() ? CostSample{.time_ns = now_ns} : window_.back();
  const double cpus = window_.size() < 2 ? 1 : cpus_between(window_.front(), now);
  slices_.start(now, options_.budget, std::max(ratio, kUsualSlice) * cpus, now_ns);
}

double Governor::allowed(const CostSample& begin, const CostSample& end) const {
  const uint64_t time = end.time_ns - begin.time_ns;
  if (time == 0) return options_.budget;
  const uint64_t cpu = std::max(end.cpu_ns - begin.cpu_ns, end.probe_ns - begin.probe_ns);
  return allowed_share(options_.budget, static_cast<double>(cpu) / static_cast<double>(time));
}

std::optional<Move> Governor::breach(uint64_t now_ns, double ratio, double latest, double allowed,
                                     const std::string& what) {
  auto to = below(level_);
  if (!to) return std::nullopt;
  Knowledge& left = known(level_);
  // To find out that the next level is too much as well would cost as much again; slices never are.
  while (ratio > kKillFactor * options_.budget && in_storm(*to, latest) > kSpentFactor * options_.budget) {
    const auto next = below(*to);
    if (!next || *next < Level::slices) break;
    known(*to).ns_per_allocation = price_of(*to);
    to = next;
  }
  // Trusted for long: the program has changed, so begin anew. Else it was tried too early.
  left.hold_ns =
      now_ns - level_since_ns_ >= kTrustAfter ? kFirstHold : std::min(2 * left.hold_ns, kLongestHold);
  return go(*to, now_ns, ratio, what + ", the budget is " + in_words(options_.budget, allowed));
}

// Between slices: what the probes that stay in take is more than may be spent in all. Then quiet_ is where that began.
bool Governor::others_breach(const CostSample& sample) {
  if (level_ != Level::slices || slices_.active()) {
    quiet_.reset();
    return false;
  }
  // A slice may have begun and ended since the last look.
  if (!quiet_ || quiet_->time_ns < slices_.last_end_ns()) quiet_ = sample;
  if (sample.time_ns - quiet_->time_ns < kWindow || !is_measured(*quiet_, sample)) return false;
  if (share(*quiet_, sample) > allowed(*quiet_, sample) && !is_negligible(*quiet_, sample)) return true;
  quiet_ = sample;
  return false;
}

std::optional<Move> Governor::storm(uint64_t now_ns) {
  return breach(now_ns, ratio_, ratio_, options_.budget, "a storm of probe hits");
}

void Governor::failed(Level actual, uint64_t now_ns) {
  known(level_).hold_ns = kLongestHold;
  level_ = actual;
  level_since_ns_ = now_ns;
  window_.clear();
  mark_.reset();
}

std::optional<Move> Governor::observe(const CostSample& sample,
                                      const std::function<uint64_t()>& allocations) {
  if (!window_.empty()) {
    const CostSample& last = window_.back();
    if (sample.time_ns <= last.time_ns) return std::nullopt;
    if (sample.cpu_ns < last.cpu_ns || sample.probe_ns < last.probe_ns) {  // counters began anew
      window_.clear();
      quiet_.reset();
      mark_.reset();
    }
  }
  if (!mark_ || sample.time_ns - mark_->sample.time_ns >= kLookUpAllocations) learn(sample, allocations());
  window_.push_back(sample);
  // The oldest that is kept is the youngest that is at least a window old, and enough has happened since.
  const bool in_slices = level_ == Level::slices;
  const uint64_t window = in_slices ? kSlicesWindow : kWindow;
  while (window_.size() > 2 && sample.time_ns - window_[1].time_ns >= window &&
         is_measured(window_[1], sample))
    window_.pop_front();
  const CostSample& oldest = window_.front();

  const auto leave = [&](double ratio, double allowed) {
    ratio_ = ratio;
    allowed_ = allowed;
    learn(sample, allocations());
    const double latest = window_.size() > 1 ? share(window_[window_.size() - 2], sample) : ratio;
    return breach(sample.time_ns, ratio, latest, allowed,
                  "probes took " + percent(ratio) + " of its CPU time");
  };
  // The last tenth of a second.
  const auto recent = std::find_if(window_.rbegin(), window_.rend(), [&](const CostSample& candidate) {
    return sample.time_ns - candidate.time_ns >= kKillWindow;
  });
  if (!in_slices && recent != window_.rend() && !is_negligible(*recent, sample)) {
    const double ratio = share(*recent, sample);
    if (ratio > kKillFactor * options_.budget) return leave(ratio, allowed(*recent, sample));
  }
  if (others_breach(sample)) return leave(share(*quiet_, sample), allowed(*quiet_, sample));
  const uint64_t covered = sample.time_ns - oldest.time_ns;
  if (!in_slices && covered < window && !is_negligible(oldest, sample)) {
    const double ratio = share(oldest, sample);
    const double most = allowed(oldest, sample);
    if (ratio * static_cast<double>(covered) > kSpentFactor * most * static_cast<double>(window))
      return leave(ratio, most);
  }
  if (covered < (in_slices ? kSlicesTold : window)) return std::nullopt;
  ratio_ = share(oldest, sample);
  const double limit = allowed(oldest, sample);
  allowed_ = limit;
  const double most = (in_slices ? kSlicesTolerance : 1) * limit;
  if (covered >= window && ratio_ > most && !is_negligible(oldest, sample)) return leave(ratio_, limit);
  const auto up = above();
  if (!up || sample.time_ns - level_since_ns_ < known(*up).hold_ns) return std::nullopt;
  // Slices come as seldom as what is taken already leaves room for them.
  const double expected = *up == Level::slices ? ratio_ : predicted(*up);
  // Samples do for a small program, too: to count each of its allocations is not worth more than the budget.
  const double room = *up == Level::exact ? options_.budget : limit;
  if (expected > kUpShare * room) return std::nullopt;
  Move move = go(*up, sample.time_ns, ratio_, "");
  move.predicted = expected;
  move.why = "probes are expected to take " + percent(expected) + " of its CPU time, the budget is " +
             in_words(options_.budget, room);
  return move;
}

}  // namespace goheapd::probe
