#include "daemon/profile/span_ledger.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "daemon/profile/unsampling.h"

namespace goheapd::profile {
namespace {

const StackPtr kNoStack = std::make_shared<const std::vector<uint64_t>>();

// So many sampled runs divide what their class has allocated well enough to leave it at that. If nothing were ever
// settled, each new sample would change what was said about the past, and differences would show it.
constexpr uint32_t kSettleRuns = 128;
// When they are so old: a burst that has just begun may outlast its samples.
constexpr uint64_t kSettleWaitNs = 100'000'000;
// Runs that wait for a reading. More than that, and readings fail.
constexpr size_t kMaxFreshRuns = size_t{1} << 18;
// Verdicts of late: what is older than some dozens of cycles fades.
constexpr double kVerdictMemory = 0.97;

uint64_t hash_of(const std::vector<uint64_t>& stack) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const uint64_t address : stack) {
    hash = (hash ^ address) * 0x100000001b3;
    hash ^= hash >> 32;
  }
  return hash;
}

uint64_t account_key(uint64_t stack_hash, uint32_t span_class) {
  return (stack_hash ^ span_class) * 0x9e3779b97f4a7c15;
}

}  // namespace

uint32_t SpanLedger::account_of(model::SpanRunOpened& run) {
  uint64_t stack_hash = hash_of(run.stack);
  auto found = account_ids_.find(account_key(stack_hash, run.span_class));
  if (found == account_ids_.end() && accounts_.size() >= kMaxAccounts) {
    // One more account for each class holds the rest, so that nothing is missing from the sums.
    ++untracked_runs_;
    run.stack.clear();
    stack_hash = hash_of(run.stack);
    found = account_ids_.find(account_key(stack_hash, run.span_class));
  }
  if (found != account_ids_.end()) return found->second;
  const uint32_t id = new_account(stack_hash, run.span_class, run.object_bytes);
  if (run.stack.empty()) return id;
  if (run.truncated) ++truncated_stacks_;
  Account& account = accounts_[id];
  account.stack = std::make_shared<const std::vector<uint64_t>>(std::move(run.stack));
  account.origin = origins_.find(*account.stack);
  if (account.origin) owners_.try_emplace(owner_key(*account.origin, run.span_class), id);
  if (names_.try_emplace(stack_hash).second) unnamed_.emplace_back(stack_hash, account.stack);
  return id;
}

uint32_t SpanLedger::new_account(uint64_t stack_hash, uint32_t span_class, uint64_t object_bytes) {
  const auto id = static_cast<uint32_t>(accounts_.size());
  account_ids_.emplace(account_key(stack_hash, span_class), id);
  std::vector<uint32_t>& ids = class_accounts_[span_class];
  Account& account = accounts_.emplace_back();
  account.stack_hash = stack_hash;
  account.span_class = span_class;
  account.place = static_cast<uint32_t>(ids.size());
  ids.push_back(id);
  account.object_bytes = object_bytes;
  account.stack = kNoStack;
  return id;
}

// Stacks that were sampled before a window counted them.
void SpanLedger::match_stacks() {
  for (uint32_t id = 0; id < accounts_.size(); ++id) {
    Account& account = accounts_[id];
    if (account.origin || account.stack->empty()) continue;
    account.origin = origins_.find(*account.stack);
    if (account.origin) owners_.try_emplace(owner_key(*account.origin, account.span_class), id);
  }
}

// The account that shows what a window saw of a stack. A stack that never opened a run has none yet.
std::optional<uint32_t> SpanLedger::owner_of(uint32_t span_class, OriginId origin) {
  const auto [owner, inserted] = owners_.try_emplace(owner_key(origin, span_class), 0);
  if (!inserted) return owner->second;
  if (accounts_.size() >= kMaxAccounts) {
    owners_.erase(owner);
    return std::nullopt;
  }
  const StackPtr& stack = origins_.stack(origin);
  const uint64_t stack_hash = hash_of(*stack);
  owner->second = new_account(stack_hash, span_class, class_bytes(span_class >> 1));
  Account& account = accounts_[owner->second];
  account.stack = stack;
  account.origin = origin;
  if (names_.try_emplace(stack_hash).second) unnamed_.emplace_back(stack_hash, account.stack);
  return owner->second;
}

void SpanLedger::set_alloc_counted_elsewhere(bool elsewhere) {
  counts_elsewhere_ = elsewhere;
  all_counted_ = elsewhere && !has_reading();
}

void SpanLedger::on_opened(model::SpanRunOpened event, double times) {
  if (event.span_class >> 1 >= kSpanSizeClasses || event.planned_objects == 0 || event.object_bytes == 0)
    return;
  division_.reset();
  ++births_;
  mean_distance_ = event.mean_distance;
  Run run;
  run.birth_ns = event.time_ns;
  run.sweepgen = event.sweepgen;
  run.planned = event.planned_objects;
  run.used = event.planned_objects;
  run.object_bytes = event.object_bytes;
  run.account = account_of(event);
  Account& account = accounts_[run.account];
  if (account.object_bytes != event.object_bytes) account.object_bytes = 0;
  const double planned_bytes = static_cast<double>(run.planned) * static_cast<double>(run.object_bytes);
  slice_weight_ = std::max(1.0, times);
  run.weight = times * unsampling_factor(planned_bytes, event.mean_distance);
  run.counts = !counts_elsewhere_;
  run.stretch = samples_in_slices() ? stretches_ : 0;
  const Sampled amount = run.amount();
  account.opened_bytes += amount.weighed.bytes;
  account.young += amount.weighed;
  reach_.on_sample(account.size_class(), amount.weighed.bytes / slice_weight_, slice_weight_, run.birth_ns);
  if (run.counts) {
    run.id = admitted_ + fresh_.size();
    fresh_.push_back({run.birth_ns, run.account, slice_weight_, amount});
    if (fresh_.size() > kMaxFreshRuns) admit_oldest();
  }

  // A slot that is handed out again held something dead.
  if (const auto reused = live_.find(event.address); reused != live_.end()) {
    bury(reused->second);
    live_.erase(reused);
  }
  dying_.erase(event.address);
  if (live_.size() >= kMaxLiveRuns) {
    ++untracked_runs_;
    return;
  }
  // Large objects have runs of their own: there is nothing to divide.
  if (account.size_class() != 0) {
    run.place_ns = timelines_[event.span_class].open(run.account, run.birth_ns, run.sweepgen,
                                                     amount.weighed.bytes, counts_elsewhere_);
  }
  live_.emplace(event.address, run);
}

void SpanLedger::bury(const Run& run) {
  ++deaths_;
  if (run.place_ns != 0) unsummed_deaths_.push_back({run.account, run.place_ns, run.amount().weighed.bytes});
}

// The counters of a reading know of all that was opened before it, but nothing of what was opened since: divided among
// both, what they say would be given in part to those who have come later, and what these have allocated would be left
// for others.
void SpanLedger::admit(uint64_t until_ns) {
  while (!fresh_.empty() && fresh_.front().birth_ns <= until_ns) admit_oldest();
}

void SpanLedger::admit_oldest() {
  const FreshRun& run = fresh_.front();
  Account& account = accounts_[run.account];
  ClassBook& book = books_[account.size_class()];
  account.open += run.amount;
  book.open += run.amount;
  ++book.open_runs;
  reach_.on_read_sample(account.size_class(), run.amount.weighed.bytes / run.times);
  fresh_.pop_front();
  ++admitted_;
}

void SpanLedger::correct(Run& run, uint32_t used, bool is_alive) {
  division_.reset();
  const Sampled change = run.amount_of(static_cast<double>(std::min(used, run.planned)) - run.used);
  run.used = std::min(used, run.planned);
  Account& account = accounts_[run.account];
  account.opened_bytes += change.weighed.bytes;
  if (run.place_ns != 0) {
    timelines_[account.span_class].correct(run.account, run.place_ns, change.weighed.bytes);
    if (!is_alive) unsummed_deaths_.push_back({run.account, run.place_ns, change.weighed.bytes});
  }
  ClassBook& book = books_[account.size_class()];
  if (run.counts && run.id >= admitted_) {
    fresh_[run.id - admitted_].amount += change;
  } else if (run.counts && run.id >= book.first_open_run) {
    // What is settled stays: taken from what is open now, it would be taken from others.
    account.open += change;
    book.open += change;
  }
  if (is_alive) account.young += change.weighed;
}

void SpanLedger::on_cut(const model::SpanRunCut& cut) {
  for (Runs* runs : {&live_, &dying_}) {
    auto found = runs->find(cut.address);
    if (found == runs->end() || found->second.birth_ns != cut.opened_ns) continue;
    correct(found->second, cut.used_objects, runs == &live_);
    return;
  }
}

void SpanLedger::on_cycle(const model::GcProfileFlush& flush) {
  if (!flush.post_sweep) classes_.on_cycle(flush.time_ns);
}

std::vector<model::TrackedObject> SpanLedger::tracked() const {
  std::vector<model::TrackedObject> objects;
  objects.reserve(live_.size());
  for (const auto& [address, run] : live_) objects.push_back({address, run.birth_ns, run.sweepgen});
  return objects;
}

void SpanLedger::judge(const model::LivenessReading& reading) {
  if (reading.sweepgen != sweepgen_) dying_.clear();
  for (const model::TrackedObject& dead : reading.dead) {
    auto found = live_.find(dead.address);
    // Meanwhile the slot may have been handed out again.
    if (found == live_.end() || found->second.birth_ns != dead.birth_ns) continue;
    bury(found->second);
    dying_.insert_or_assign(dead.address, found->second);
    live_.erase(found);
  }
  missed_cycles_ += reading.missed_cycles;
  lost_verdicts_ += reading.lost_verdicts;
  recent_due_ = recent_due_ * kVerdictMemory + static_cast<double>(reading.due_verdicts);
  recent_lost_ = recent_lost_ * kVerdictMemory + static_cast<double>(reading.lost_verdicts);
  sweepgen_ = reading.sweepgen;
}

// In slices a cycle finds all of what is younger than a slice, or nothing. Some cycles of some slices must be in the mean,
// but no more than two minutes: programs change.
void SpanLedger::begin_cycle_of_mean() {
  constexpr double kCyclesPerWeight = 8;
  constexpr double kMostCycles = 256;
  constexpr double kLongestNs = 120e9;
  const double cycle_ns = static_cast<double>(reading_ns_ - std::exchange(mean_ns_, reading_ns_));
  if (!samples_in_slices()) {
    // What was sampled all the time is as good as many cycles.
    mean_cycles_ = births_ > 0 ? kMostCycles : 0;
    part_of_mean_ = 1;
    return;
  }
  mean_cycles_ = std::min({mean_cycles_ + 1, kCyclesPerWeight * slice_weight_, kMostCycles});
  part_of_mean_ = std::min(1.0, std::max(1 / mean_cycles_, cycle_ns / kLongestNs));
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
    book.squares_in_use = 0;
  }
  std::map<std::pair<size_t, uint32_t>, double> of_slices;
  for (const auto& [address, run] : live_) {
    Account& account = accounts_[run.account];
    const Sampled amount = run.amount();
    if (static_cast<int32_t>(sweepgen_ - run.sweepgen) < 2) {
      account.young += amount.weighed;
      continue;
    }
    account.in_use += Sampled{amount.weighed * part, amount.alone};
    const double bytes = amount.weighed.bytes;
    ClassBook& book = books_[account.size_class()];
    // What was sampled in one slice is there or not there together.
    if (run.stretch == 0)
      book.squares_in_use += bytes * bytes;
    else
      of_slices[{account.size_class(), run.stretch}] += bytes;
  }
  for (const auto& [slice, bytes] : of_slices) books_[slice.first].squares_in_use += bytes * bytes;
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

SpanLedger::Scale SpanLedger::scale_to(const ClassAmount& total, const Sampled& amount, size_t size_class,
                                       double most) {
  if (total.bytes <= 0) return {0, 0, {}};
  // Rounding is nothing that was left.
  constexpr double kRounding = 1e-6;
  if (most < total.bytes * (1 - kRounding)) {
    const ClassAmount within = total * (most / total.bytes);
    Scale scale = scale_to(within, amount, size_class, most);
    scale.left += total - within;
    return scale;
  }
  const auto& [weighed, alone] = amount;
  if (size_class != 0) {
    const double factor = total.bytes / weighed.bytes;
    return {factor, factor, {}};
  }
  if (total.bytes <= alone.bytes) return {total.bytes / alone.bytes, 0, {}};
  // A few samples do not stand for any amount.
  constexpr double kMost = 8;
  const ClassAmount rest = weighed - alone;
  const double spare = total.bytes - alone.bytes;
  const double factor = rest.bytes > 0 ? std::min(spare / rest.bytes, kMost) : 0;
  const double left = spare - factor * rest.bytes;
  if (left < total.bytes * kRounding) return {1, factor, {}};
  return {1, factor, {std::max(0.0, total.objects - alone.objects - factor * rest.objects), left}};
}

void SpanLedger::measure_allocations() {
  std::array<bool, kSpanSizeClasses> settles{};
  for (size_t i = 0; i < kSpanSizeClasses; ++i) {
    ClassBook& book = books_[i];
    book.scale = {};
    if (book.open.weighed.bytes <= 0) continue;
    book.scale = scale_to(to_divide(i) - book.settled, book.open, i, most_to_divide(i));
    if (book.open_runs >= kSettleRuns && book.full_ns == 0) book.full_ns = reading_ns_;
    settles[i] = book.full_ns != 0 && reading_ns_ - book.full_ns >= kSettleWaitNs;
  }
  const std::vector<ClassAmount> allocated = allocations();
  for (size_t i = 0; i < accounts_.size(); ++i) {
    Account& account = accounts_[i];
    if (!settles[account.size_class()]) continue;
    if (mixture_of(account.span_class) != nullptr) {
      account.divided = allocated[i];
      account.settled = {};
    } else {
      account.settled += books_[account.size_class()].scale.of(account.open);
    }
    account.open = {};
  }
  for (size_t i = 0; i < kSpanSizeClasses; ++i) {
    if (!settles[i]) continue;
    ClassBook& book = books_[i];
    book.settled = to_divide(i) - book.scale.left;
    book.open = {};
    book.open_runs = 0;
    book.full_ns = 0;
    book.first_open_run = admitted_;
    book.scale = {};
  }
}

// What was allocated meanwhile, to tell how much of it samples can stand for.
void SpanLedger::note_growth() {
  std::array<double, kSpanSizeClasses> grown{};
  for (size_t i = 0; i < kSpanSizeClasses; ++i) {
    const double bytes = to_divide(i).bytes;
    grown[i] = bytes - std::exchange(divisible_before_[i], bytes);
  }
  reach_.on_reading(reading_ns_, grown, static_cast<double>(mean_distance_));
}

// What the samples do not explain is from before, if that much can be.
double SpanLedger::measure_from_before(size_t size_class) const {
  const ClassBook& book = books_[size_class];
  const double live = classes_.live(size_class).bytes;
  const double most = classes_.most_from_before(size_class).bytes;
  // More than was allocated since cannot be from since.
  const double least = (classes_.live(size_class) - classes_.allocated(size_class)).bytes;
  double from_before = std::clamp(live - book.in_use.weighed.bytes, 0.0, most);
  if (samples_in_slices()) {
    // The mean of a few slices is off by about as much as samples stand for more than themselves: what differs from what
    // was known by less than that is no news.
    constexpr double kNoise = 0.75;
    const double room = std::max(0.0, live - book.in_use.alone.bytes);
    const double known = std::min({from_before_measured_ ? book.from_before.bytes : most, most, room});
    if (std::abs(from_before - known) <= kNoise * (book.in_use.weighed - book.in_use.alone).bytes)
      from_before = known;
  }
  return std::max(from_before, least);
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
  // Who allocated something that no sample stands for may hold it, too, and samples that are alive do not stand for any
  // amount. Where windows have counted, they may: a stack that opens no runs has none.
  // What was sampled before the first reading makes the factor too small.
  const double factor = std::max(1.0, factor_of_all(size_class));
  const double likely = book.in_use.weighed.bytes * factor;
  const double least = std::max(0.0, ours - out_of_reach(size_class).bytes);
  const double seen = std::clamp(
      is_counted(size_class) ? likely
                             : likely + SamplingReach::kSigmas * factor * std::sqrt(book.squares_in_use),
      is_counted(size_class) ? least : 0.0, std::max(0.0, ours));
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

// Of what the runtime has counted since the last reading. Where the other source has counted only part of that time, it
// says how much of it.
void SpanLedger::leave_out(const CountedElsewhere& counted) {
  for (size_t i = 0; i < kSpanSizeClasses; ++i) {
    const ClassAmount allocated = classes_.allocated(i);
    const ClassAmount grown = allocated - allocated_before_[i];
    const ClassAmount theirs = counted.amounts[i] - counted_before_[i];
    elsewhere_[i] += counted.all ? grown
                                 : ClassAmount{std::min(grown.objects, theirs.objects),
                                               std::min(grown.bytes, theirs.bytes)};
    allocated_before_[i] = allocated;
  }
  counted_before_ = counted.amounts;
}

// Verdicts and counters of one cycle belong together. Between a cycle's end and that of its sweep there are verdicts only:
// what samples weigh in another cycle says nothing of what they weigh in this one, least of all where they are taken in
// slices. Until then all stays as the cycle before has left it.
void SpanLedger::update_in_use() {
  if (!classes_.knows_live()) {
    sum_in_use();
  } else if (classes_.live_sweepgen() == sweepgen_) {
    sum_in_use();
    measure_in_use();
  } else if (static_cast<int32_t>(sweepgen_ - classes_.live_sweepgen()) > 2) {
    sum_in_use();
    estimate_in_use();
  }
}

void SpanLedger::apply(const SpanReading& reading, const CountedElsewhere& counted) {
  reading_ns_ = reading.counters.end_ns;
  judge(reading.liveness);
  if (reading.heap_marked) classes_.on_marked(sweepgen_ / 2, *reading.heap_marked);
  classes_.apply(reading.counters, reading.liveness.sweepgen, reading.swept);
  leave_out(counted);
  admit(reading_ns_);
  note_growth();
  measure_allocations();
  update_in_use();
  count_allocations();
  counted_unsampled_ = division().unsampled;
}

void SpanLedger::count_allocations() {
  division_.reset();
  counted_ = division().allocated;
}

void SpanLedger::finish(uint64_t end_ns) {
  finished_ns_ = end_ns;
  admit(std::max(end_ns, fresh_.empty() ? 0 : fresh_.back().birth_ns));
  count_allocations();
}

ClassAmount SpanLedger::unsampled(size_t size_class) const {
  const ClassBook& book = books_[size_class];
  return book.open.weighed.bytes > 0 ? book.scale.left : to_divide(size_class) - book.settled;
}

ClassAmount SpanLedger::out_of_reach(size_t size_class) const {
  const ClassBook& book = books_[size_class];
  if (book.open.weighed.bytes > 0) return book.scale.left;
  const ClassAmount pending = to_divide(size_class) - book.settled;
  const double within = std::min(most_to_divide(size_class), pending.bytes);
  return pending.bytes > 0 ? pending * (1 - within / pending.bytes) : pending;
}

}  // namespace goheapd::profile
