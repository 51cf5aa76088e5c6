#include "daemon/profile/span_ledger.h"

#include <algorithm>
#include <cmath>

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
  was_paused_ = samples_in_slices();
  run.weight = times * unsampling_factor(planned_bytes, event.mean_distance);
  run.counts = !counts_elsewhere_;
  run.stretch = samples_in_slices() ? stretches_ : 0;
  const Sampled amount = run.amount();
  account.opened_bytes += amount.weighed.bytes;
  account.young += amount.weighed;
  reach_.on_sample(account.size_class(), amount.weighed.bytes / slice_weight_, slice_weight_, run.birth_ns);
  if (run.counts) {
    run.id = admitted_ + fresh_.size();
    fresh_.push_back({run.birth_ns, run.account, slice_weight_, run.stretch, amount});
    if (fresh_.size() > kMaxFreshRuns) admit_oldest();
  }

  // A slot that is handed out again held something dead.
  old_.forget(event.address);
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
  const double bytes = run.amount.weighed.bytes;
  if (run.stretch == 0 || run.stretch != book.slice) book.slice_bytes = 0;
  book.slice = run.stretch;
  book.squares_open += bytes * bytes + 2 * book.slice_bytes * bytes;
  book.slice_bytes += bytes;
  reach_.on_read_sample(account.size_class(), bytes / run.times);
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
  old_.add_to(objects);
  return objects;
}

void SpanLedger::judge(const model::LivenessReading& reading) {
  if (reading.sweepgen != sweepgen_) dying_.clear();
  old_.begin_reading(reading.sweepgen);
  // What makes no sense is of this cycle alone.
  const uint32_t unseen_cycles = std::max(1u, reading.missed_cycles);
  for (const model::TrackedObject& old : reading.out_of_sight) old_.lose_sight(old.address, unseen_cycles);
  for (const model::TrackedObject& dead : reading.dead) {
    if (dead.is_old) {
      old_.forget(dead.address);
      continue;
    }
    auto found = live_.find(dead.address);
    // Meanwhile the slot may have been handed out again.
    if (found == live_.end() || found->second.birth_ns != dead.birth_ns) continue;
    bury(found->second);
    dying_.insert_or_assign(dead.address, found->second);
    live_.erase(found);
  }
  old_.end_reading();
  missed_cycles_ += reading.missed_cycles;
  lost_verdicts_ += reading.lost_verdicts;
  recent_due_ = recent_due_ * kVerdictMemory + static_cast<double>(reading.due_verdicts);
  recent_lost_ = recent_lost_ * kVerdictMemory + static_cast<double>(reading.lost_verdicts);
  sweepgen_ = reading.sweepgen;
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

// And by what they weigh: a program that changes when sampling ends, or because of whose change it does, has not been
// sampled, however long it went on as before. What was sampled in one slice came together.
double SpanLedger::most_to_divide(size_t size_class) const {
  const ClassBook& book = books_[size_class];
  const double sigma = std::sqrt(book.squares_open) + static_cast<double>(mean_distance_);
  return std::min(most_within_reach(size_class), book.open.weighed.bytes + SamplingReach::kSigmas * sigma);
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
    book.squares_open = book.slice_bytes = 0;
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

void SpanLedger::apply(const SpanReading& reading, const CountedElsewhere& counted) {
  reading_ns_ = reading.counters.end_ns;
  judge(reading.liveness);
  if (reading.heap_marked) classes_.on_marked(sweepgen_ / 2, *reading.heap_marked);
  classes_.apply(reading.counters, reading.liveness.sweepgen, reading.swept);
  if (reading.census) old_.begin(*reading.census);
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
  const double within = std::min(most_within_reach(size_class), pending.bytes);
  return pending.bytes > 0 ? pending * (1 - within / pending.bytes) : pending;
}

}  // namespace goheapd::profile
