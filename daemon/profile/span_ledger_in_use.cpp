// The part of the books that measures how much of each size class is in use, and how much of that samples stand for. See
// span_ledger.h.
#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "daemon/profile/span_ledger.h"

namespace goheapd::profile {
namespace {

// A mean of cycles varies by so many standard deviations: with more, what was filled while nobody looked would be given to
// those who are sampled; with fewer, a good part of what these hold all the time would be given to nobody.
constexpr double kSigmasOfMean = 1;

// What was not known of a holder before it had enough samples is as it is known now.
Holder mean_of(const Holder& before, const Holder& now, double part) {
  if (part >= 1) return now;
  Holder mean = before * (1 - part) + now * part;
  if (!mean.alive && !before.alive && now.alive && now.others > 0) {
    const double scale = mean.others / now.others;
    mean.alive = AliveOfOthers{now.alive->bytes * scale, now.alive->doubtful * scale};
  }
  return mean;
}

}  // namespace

// In slices a cycle finds all of what is younger than a slice, or nothing. Some cycles of some slices must be in the mean,
// but no more than two minutes: programs change.
void SpanLedger::begin_cycle_of_mean() {
  constexpr double kCyclesPerWeight = 8;
  constexpr double kMostCycles = 256;
  constexpr double kLongestNs = 120e9;
  const double cycle_ns = static_cast<double>(reading_ns_ - std::exchange(mean_ns_, reading_ns_));
  if (samples_all_the_time()) {
    // Each cycle is the whole truth. As long as slices tell little, all goes on as it was, the longer the longer it was so.
    mean_cycles_ = births_ > 0 ? std::min(mean_cycles_ + 1, kMostCycles) : 0;
    part_of_mean_ = 1;
    return;
  }
  part_of_mean_ = std::min(1.0, cycle_ns / kLongestNs);
  // Before the first slice nothing is known of what is new, and what is missing is made up for by no weight.
  if (!samples_in_slices()) return;
  mean_cycles_ = std::min({mean_cycles_ + 1, kCyclesPerWeight * slice_weight_, kMostCycles});
  part_of_mean_ = std::max(part_of_mean_, 1 / mean_cycles_);
}

void SpanLedger::sum_in_use() {
  const bool is_new = std::exchange(in_use_sweepgen_, sweepgen_) != sweepgen_;
  if (is_new) begin_cycle_of_mean();
  const double part = part_of_mean_;
  for (Account& account : accounts_) {
    if (is_new) account.in_use_before = account.in_use.weighed;
    account.in_use = {account.in_use_before * (1 - part), {}};
    account.young = {};
  }
  for (ClassBook& book : books_) {
    book.in_use = {};
    if (is_new) book.slices_in_use.begin_cycle();
    book.slices_in_use.set_part(part);
  }
  std::array<double, kSpanSizeClasses> squares{};
  std::map<std::pair<size_t, uint32_t>, double> of_slices;
  for (const auto& [address, run] : live_) {
    Account& account = accounts_[run.account];
    const Sampled amount = run.amount();
    if (!classes_.nothing_was_freed() && static_cast<int32_t>(sweepgen_ - run.sweepgen) < 2) {
      account.young += amount.weighed;
      continue;
    }
    account.in_use += Sampled{amount.weighed * part, amount.alone};
    const double bytes = amount.weighed.bytes;
    if (run.stretch == 0)
      squares[account.size_class()] += bytes * bytes;
    else
      of_slices[{account.size_class(), run.stretch}] += bytes;
  }
  for (size_t i = 0; i < kSpanSizeClasses; ++i)
    if (squares[i] > 0) books_[i].slices_in_use.add(0, std::sqrt(squares[i]));
  for (const auto& [slice, bytes] : of_slices) books_[slice.first].slices_in_use.add(slice.second, bytes);
  for (Account& account : accounts_) {
    Sampled& in_use = account.in_use;
    if (in_use.weighed.bytes < in_use.alone.bytes) in_use.weighed = in_use.alone;
    books_[account.size_class()].in_use += in_use;
  }
  for (const Death& death : std::exchange(unsummed_deaths_, {}))
    timelines_[accounts_[death.account].span_class].die(death.account, death.place_ns, death.bytes);
  for (auto& [span_class, timeline] : timelines_) timeline.set_judged(sweepgen_);
  if (is_new) average_holders();
}

// What was known when samples were taken all the time is the beginning of the mean.
void SpanLedger::keep_holders() {
  for (auto& [span_class, measured] : measured_) {
    if (!measured.mixture.is_measured()) continue;
    measured.averaged_cycles = mean_cycles_;
    const std::vector<uint32_t>& ids = class_accounts_.at(span_class);
    const std::vector<LivingHolder> now = holders_of(span_class, measured.mixture);
    for (size_t i = 0; i < ids.size(); ++i) accounts_[ids[i]].holder = now[i].holder;
  }
}

// Where samples are taken in slices: what each holder has had in some cycles. A class that was counted later than others
// has fewer of them.
void SpanLedger::average_holders() {
  for (auto& [span_class, measured] : measured_) {
    if (samples_all_the_time()) {
      measured.averaged_cycles = 0;
      continue;
    }
    if (!measured.mixture.is_measured()) continue;
    const double part = std::max(part_of_mean_, 1 / ++measured.averaged_cycles);
    const std::vector<uint32_t>& ids = class_accounts_.at(span_class);
    const std::vector<LivingHolder> now = holders_of(span_class, measured.mixture);
    for (size_t i = 0; i < ids.size(); ++i)
      accounts_[ids[i]].holder = mean_of(accounts_[ids[i]].holder, now[i].holder, part);
  }
}

double SpanLedger::measure_from_before(size_t size_class) const {
  const double live = classes_.live(size_class).bytes;
  const double room = std::max(0.0, live - books_[size_class].in_use.alone.bytes);
  const double most = std::min(classes_.most_from_before(size_class).bytes, room);
  // More than was allocated since cannot be from since.
  const double least = (classes_.live(size_class) - classes_.allocated(size_class)).bytes;
  double from_before = 0;
  if (const auto alive = old_.alive_part(size_class)) {
    // What may be from before is so where samples could explain it if it were not; else nobody knows whose it is.
    const double held = classes_.held_before(size_class).bytes;
    from_before = samples_all_the_time()
                      ? std::max(std::min(alive->least * held, most),
                                 guess_from_before(size_class, std::min(alive->most * held, most)))
                      : std::min(alive->likely * held, most);
  } else {
    from_before = guess_from_before(size_class, most);
  }
  return std::max(from_before, least);
}

// What the samples do not explain is from before, if that much can be.
double SpanLedger::guess_from_before(size_t size_class, double most) const {
  const ClassBook& book = books_[size_class];
  const double live = classes_.live(size_class).bytes;
  double from_before = std::clamp(live - book.in_use.weighed.bytes, 0.0, most);
  if (samples_in_slices()) {
    // The mean of a few slices is off by about as much as samples stand for more than themselves: what differs from what
    // was known by less than that is no news.
    constexpr double kNoise = 0.75;
    const double known = std::min(from_before_measured_ ? book.from_before.bytes : most, most);
    if (std::abs(from_before - known) <= kNoise * (book.in_use.weighed - book.in_use.alone).bytes)
      from_before = known;
  }
  return from_before;
}

void SpanLedger::measure_in_use() {
  for (size_t i = 0; i < kSpanSizeClasses; ++i) divide_book(i, classes_.live(i), measure_from_before(i));
  in_use_measured_ = true;
  // A cycle that ended before we came has left out what was allocated between the two.
  from_before_measured_ = !classes_.live_is_estimated();
}

void SpanLedger::divide_book(size_t size_class, const ClassAmount& live, double from_before) {
  ClassBook& book = books_[size_class];
  const double per_byte = live.bytes > 0 ? live.objects / live.bytes : 0;
  const double ours = live.bytes - from_before;
  book.ours = {ours * per_byte, ours};
  book.from_before = {from_before * per_byte, from_before};
  book.in_use_scale = {};
  // What was sampled before the first reading makes the factor too small.
  const double factor = std::max(1.0, factor_of_all(size_class));
  // Samples that are alive do not stand for any amount. Where windows have counted, they may: a stack that opens no runs
  // has none. Then who allocated something that no sample stands for may still hold it.
  double least = 0;
  double most = book.in_use.weighed.bytes * factor;
  if (is_counted(size_class))
    least = ours - out_of_reach(size_class).bytes;
  else
    most += (samples_in_slices() ? kSigmasOfMean : SamplingReach::kSigmas) * factor *
            std::sqrt(book.slices_in_use.variance());
  const double seen = std::clamp(most, std::max(0.0, least), std::max(0.0, ours));
  book.unseen_in_use = {(ours - seen) * per_byte, ours - seen};
  book.unsampled = book.ours;
  if (book.in_use.weighed.bytes <= 0) return;
  book.in_use_scale = scale_to(book.ours, book.in_use, size_class, seen);
  book.unsampled = book.in_use_scale.left;
}

// The counters have never told what the cycle before has left, and cannot tell it of this one yet: a program that collects
// so often must not be shown as it was long ago. The samples that are alive weigh as all that were ever taken. That is
// wrong by as much as samples vary; but no class has more than the counters allow, and all together what was marked.
void SpanLedger::estimate_in_use() {
  std::array<double, kSpanSizeClasses> likely{};
  double sum = 0;
  for (size_t i = 0; i < kSpanSizeClasses; ++i) {
    ClassBook& book = books_[i];
    // No cycle was ever measured: what was there when we came may all be.
    if (!in_use_measured_) book.from_before = classes_.most_from_before(i);
    if (const auto alive = old_.alive_part(i); alive && classes_.held_before(i).bytes > 0) {
      const ClassAmount left =
          classes_.held_before(i) * (samples_all_the_time() ? alive->most : alive->likely);
      if (left.bytes < book.from_before.bytes) book.from_before = left;
    }
    const double ours =
        book.in_use.weighed.bytes > 0 ? book.in_use.weighed.bytes * factor_of_all(i) : book.unsampled.bytes;
    likely[i] = std::min(ours + book.from_before.bytes, classes_.most_live(i).bytes);
    sum += likely[i];
  }
  const std::optional<double> marked = classes_.marked();
  const double fit = marked && sum > 0 ? *marked / sum : 1;
  for (size_t i = 0; i < kSpanSizeClasses; ++i) {
    const ClassAmount most = classes_.most_live(i);
    const double bytes = std::min(likely[i] * fit, most.bytes);
    const double per_byte = most.bytes > 0 ? most.objects / most.bytes : 0;
    divide_book(i, {bytes * per_byte, bytes}, std::min(bytes, books_[i].from_before.bytes));
  }
}

// Verdicts and counters of one cycle belong together. Between a cycle's end and that of its sweep there are verdicts only:
// what samples weigh in another cycle says nothing of what they weigh in this one, least of all where they are taken in
// slices. Until then all stays as the cycle before has left it.
void SpanLedger::update_in_use() {
  if (!classes_.knows_live()) {
    sum_in_use();
    if (classes_.has_reading()) estimate_in_use();
  } else if (classes_.live_sweepgen() == sweepgen_) {
    sum_in_use();
    measure_in_use();
  } else if (static_cast<int32_t>(sweepgen_ - classes_.live_sweepgen()) > 2) {
    sum_in_use();
    estimate_in_use();
  }
}

}  // namespace goheapd::profile
