// The part of the books that divides what stacks have opened among those who allocated it. See span_ledger.h.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "daemon/gobin/runtime_layout.h"
#include "daemon/profile/span_ledger.h"

namespace goheapd::profile {
namespace {

// A stack that has this much of a class is worth a word.
constexpr double kSharedShare = 0.05;
// A class that has this much of what was allocated, or of what is in use.
constexpr double kClassThatMatters = 0.01;
// Of what was opened in a class, so much may be by stacks of which windows know nothing.
constexpr double kUnknownShare = 0.1;
// A division counts as measured lately for so long, and beyond, until the class has grown by this factor.
constexpr uint64_t kLatelyNs = 600'000'000'000;
constexpr double kGrown = 1.2;
// However young it is, most of a class that has grown by this factor since may have been allocated by others: a program
// that was counted while it started, and then storms. Between two windows of a steady one a class grows by two or three.
constexpr double kGrownAnew = 4;
// Windows whose shares differ by less agree.
constexpr double kAgreement = 0.1;
// Two ways to divide what is in use may differ by so much.
constexpr double kDoubt = 0.1;

std::array<uint32_t, 2> span_classes_of(size_t size_class) {
  const auto scan = static_cast<uint32_t>(size_class << 1);
  return {scan, scan | 1};
}

}  // namespace

const ClassMixture* SpanLedger::mixture_of(uint32_t span_class) const {
  const auto found = measured_.find(span_class);
  return found != measured_.end() && found->second.mixture.is_measured() ? &found->second.mixture : nullptr;
}

bool SpanLedger::is_counted(size_t size_class) const {
  const auto span_classes = span_classes_of(size_class);
  return std::any_of(span_classes.begin(), span_classes.end(),
                     [this](uint32_t span_class) { return mixture_of(span_class) != nullptr; });
}

bool SpanLedger::add_window(const ExactWindow& window) {
  ++windows_;
  return take_in(window, false);
}

void SpanLedger::add_period(const ExactWindow& period) {
  ++periods_;
  take_in(period, true);
}

bool SpanLedger::take_in(const ExactWindow& window, bool is_period) {
  const size_t known_stacks = origins_.size();
  const WindowCounts counted = count_window(window, origins_);
  double unmatched = counted.unmatched;
  if (origins_.size() != known_stacks) match_stacks();
  // Whether it agrees is asked of windows only; periods come ten times a second.
  const std::map<uint32_t, double> weights = is_period ? std::map<uint32_t, double>() : weights_of_classes();
  bool agrees = true;
  for (const auto& [span_class, objects] : counted.by_class) {
    OriginAmounts known;
    for (const auto& [origin, count] : objects) {
      if (owner_of(span_class, origin))
        known.emplace(origin, count);
      else
        unmatched += count;
    }
    Measured& measured = measured_[span_class];
    if (is_period) {
      const double run_objects =
          static_cast<double>(gobin::kGoPageSize) / static_cast<double>(class_bytes(span_class >> 1));
      if (const OriginAmounts* company = measured.mixture.add_period(known, window.time_ns, run_objects))
        count_openers(span_class, *company);
    } else if (measured.mixture.add(known, window.time_ns) > kAgreement && weights.contains(span_class)) {
      agrees = false;
    }
    measured.opened_bytes = 0;
    for (const uint32_t id : class_accounts_[span_class]) measured.opened_bytes += accounts_[id].opened_bytes;
  }
  if (!is_period) unmatched_window_objects_ += unmatched;  // what periods have of it, those who count tell
  division_.reset();
  if (!all_counted_) divide_counted();  // else there is nothing to divide but what is in use
  return agrees;
}

// What was opened since the last period.
void SpanLedger::count_openers(uint32_t span_class, const OriginAmounts& company) {
  const auto timeline = timelines_.find(span_class);
  if (timeline == timelines_.end()) return;
  std::unordered_map<uint32_t, double> objects;
  for (const auto& [origin, count] : company) objects[owners_.at(owner_key(origin, span_class))] += count;
  timeline->second.count(objects, [this](uint32_t account) { return shown_at(account); });
}

// As a window has just shown, but no more in sum than the counters did: what was opened since is not measured yet.
void SpanLedger::divide_counted() {
  const std::vector<ClassAmount>& allocated = division().allocated;
  std::array<double, kSpanSizeClasses> counted{};
  std::array<double, kSpanSizeClasses> divided{};
  for (size_t i = 0; i < counted_.size(); ++i) counted[accounts_[i].size_class()] += counted_[i].bytes;
  for (size_t i = 0; i < accounts_.size(); ++i) divided[accounts_[i].size_class()] += allocated[i].bytes;
  counted_.resize(accounts_.size());
  for (size_t i = 0; i < accounts_.size(); ++i) {
    const size_t size_class = accounts_[i].size_class();
    if (divided[size_class] > 0) counted_[i] = allocated[i] * (counted[size_class] / divided[size_class]);
  }
}

template <typename Bytes>
std::vector<double> SpanLedger::divide_class(uint32_t span_class, const ClassMixture& mixture,
                                             const Bytes& opened) const {
  const std::vector<uint32_t>& ids = class_accounts_.at(span_class);
  std::vector<double> divided(ids.size());
  OriginAmounts amounts;
  for (const uint32_t id : ids) {
    const Account& account = accounts_[id];
    if (account.origin && mixture.knows(*account.origin))
      amounts[*account.origin] += opened(account);
    else
      divided[account.place] += opened(account);
  }
  for (const auto& [origin, amount] : mixture.divide(amounts))
    divided[accounts_[owners_.at(owner_key(origin, span_class))].place] += amount;
  return divided;
}

uint32_t SpanLedger::shown_at(uint32_t id) const {
  const Account& account = accounts_[id];
  return account.origin ? owners_.at(owner_key(*account.origin, account.span_class)) : id;
}

const SpanLedger::Division& SpanLedger::division() const {
  if (!division_) {
    division_ = Division{};
    division_->allocated = allocations();
    for (size_t i = 0; i < kSpanSizeClasses; ++i) division_->unsampled[i] = unsampled(i);
    division_->held = in_use();
    reconcile(*division_);
  }
  return *division_;
}

std::vector<ClassAmount> SpanLedger::allocations() const {
  std::vector<ClassAmount> result(accounts_.size());
  for (const auto& [span_class, ids] : class_accounts_) {
    const auto since = [this](const Account& account) {
      ClassAmount amount = account.settled;
      amount += books_[account.size_class()].scale.of(account.open);
      return amount;
    };
    const ClassMixture* mixture = mixture_of(span_class);
    if (mixture == nullptr) {
      for (const uint32_t id : ids) {
        result[id] = accounts_[id].divided;
        result[id] += since(accounts_[id]);
      }
      continue;
    }
    const std::vector<double> bytes =
        divide_class(span_class, *mixture, [&](const Account& account) { return since(account).bytes; });
    const auto object_bytes = static_cast<double>(class_bytes(span_class >> 1));
    for (const uint32_t id : ids) {
      result[id] = accounts_[id].divided;
      const double share = bytes[accounts_[id].place];
      result[id] += {share / object_bytes, share};
    }
  }
  for (ClassAmount& amount : result) amount = {std::max(0.0, amount.objects), std::max(0.0, amount.bytes)};
  return result;
}

// By what the samples of a class that were ever taken have to be multiplied, to be all that they stand for.
double SpanLedger::factor_of_all(size_t size_class) const {
  double opened = 0;
  for (const uint32_t span_class : span_classes_of(size_class)) {
    const auto ids = class_accounts_.find(span_class);
    if (ids == class_accounts_.end()) continue;
    for (const uint32_t id : ids->second) opened += accounts_[id].opened_bytes;
  }
  return opened > 0 ? (classes_.allocated(size_class) - out_of_reach(size_class)).bytes / opened : 1;
}

SpanLedger::InUse SpanLedger::in_use() const {
  InUse result;
  result.amounts.resize(accounts_.size());
  for (size_t i = 0; i < accounts_.size(); ++i)
    result.amounts[i] = books_[accounts_[i].size_class()].in_use_scale.of(accounts_[i].in_use);
  for (size_t i = 0; i < kSpanSizeClasses; ++i) result.unsampled[i] = books_[i].unsampled;
  const double held = held_bytes();
  for (size_t i = 1; i < kSpanSizeClasses; ++i) {
    const auto [scan, noscan] = span_classes_of(i);
    if (!is_counted(i)) continue;
    const double doubt = divide_in_use_of(i, result.amounts);
    double divided = 0;
    for (const uint32_t span_class : {scan, noscan}) {
      const auto ids = class_accounts_.find(span_class);
      if (ids == class_accounts_.end()) continue;
      for (const uint32_t id : ids->second) divided += result.amounts[id].bytes;
    }
    // All that was ever sampled is dead while much is alive, and no stack is without samples.
    const bool is_unexplained = books_[i].ours.bytes - books_[i].unseen_in_use.bytes - divided >
                                std::max(kClassThatMatters * held, kDoubt * books_[i].ours.bytes);
    if (doubt > kDoubt || is_unexplained) result.doubtful_classes.insert(i);
    // Given to a stack that has no samples.
    const double object_bytes = static_cast<double>(class_bytes(i));
    const double unseen = books_[i].unseen_in_use.bytes;
    const double left = unseen + std::max(0.0, books_[i].unsampled.bytes - unseen - divided);
    result.unsampled[i] = {left / object_bytes, left};
  }
  return result;
}

// Samples of what is alive and of all that was allocated vary by themselves, but whoever holds something has allocated at
// least that. The others of his class, who together have what the counters say, have allocated less. So has everybody if
// what is in use without a stack is more than what was allocated without one, as far as there is anything that no sample
// stands for. What no stack can have allocated no stack holds.
void SpanLedger::reconcile(Division& division) const {
  auto& [allocated, unsampled, held] = division;
  std::array<double, kSpanSizeClasses> missing{};
  std::array<double, kSpanSizeClasses> spare{};
  for (size_t i = 0; i < accounts_.size(); ++i) {
    const double more = allocated[i].bytes - held.amounts[i].bytes;
    (more < 0 ? missing : spare)[accounts_[i].size_class()] += std::abs(more);
  }
  std::array<double, kSpanSizeClasses> moved{};
  for (size_t i = 0; i < kSpanSizeClasses; ++i) {
    // What another source has counted is not in our books.
    if (elsewhere_[i].bytes > 0) continue;
    double without_stack = 0;
    if (out_of_reach(i).bytes > 0)
      without_stack = std::max(0.0, held.unsampled[i].bytes - unsampled[i].bytes);
    moved[i] = std::min(missing[i] + without_stack, spare[i]);
    const double to_remainder = std::max(0.0, moved[i] - missing[i]);
    if (to_remainder > 0) unsampled[i] += held.unsampled[i] * (to_remainder / held.unsampled[i].bytes);
  }
  for (size_t i = 0; i < accounts_.size(); ++i) {
    const size_t size_class = accounts_[i].size_class();
    const double more = allocated[i].bytes - held.amounts[i].bytes;
    if (elsewhere_[size_class].bytes > 0 || more == 0) continue;
    const double part = more < 0 ? std::min(moved[size_class], missing[size_class]) / missing[size_class]
                                 : moved[size_class] / spare[size_class];
    const double bytes = allocated[i].bytes - more * part;
    // Objects of class 0 differ in size.
    const ClassAmount& alike = more < 0 ? held.amounts[i] : allocated[i];
    allocated[i] = {alike.bytes > 0 ? alike.objects * bytes / alike.bytes : 0, bytes};
    if (more > 0) continue;
    held.unsampled[size_class] += held.amounts[i] - allocated[i];
    held.amounts[i] = allocated[i];
  }
}

void SpanLedger::add_moments(uint32_t span_class, const ClassTimeline::Segment& segment,
                             const ClassMixture& mixture, std::vector<LivingHolder>& holders) const {
  std::vector<Moment> moments(holders.size());
  OriginAmounts undivided;
  for (const ClassTimeline::Entry& entry : segment.entries) {
    const uint32_t place = accounts_[shown_at(entry.account)].place;
    LivingHolder& living = holders[place];
    Moment& moment = moments[place];
    moment.samples += entry.samples;
    moment.opened += entry.opened;
    moment.died += entry.died;
    if (living.own_part) undivided[*accounts_[entry.account].origin] += entry.undivided;
    const double own = entry.own + entry.undivided * living.own_part.value_or(1);
    moment.others += entry.allocated + (living.own_part ? 0 : entry.undivided) - own;
    living.holder.own += own * alive_share(entry.opened, entry.died);
  }
  for (const auto& [origin, bytes] : mixture.divide(undivided))
    moments[accounts_[owners_.at(owner_key(origin, span_class))].place].others += bytes;
  const double openers_alive = alive_share(segment.opened, segment.died);
  for (size_t i = 0; i < moments.size(); ++i) {
    Moment& moment = moments[i];
    if (moment.opened <= 0 && moment.others <= 0) continue;
    moment.time = static_cast<double>(segment.first_ns) / 2 + static_cast<double>(segment.last_ns) / 2;
    moment.others = std::max(0.0, moment.others);
    moment.openers_alive = openers_alive;
    holders[i].holder.others += moment.others;
    holders[i].holder.alike += moment.others * openers_alive;
    holders[i].moments.push_back(moment);
  }
}

// Of a class that windows have counted. Sampled stacks that differ within the allocator only are one holder: what one
// of them tells of how long objects live holds for all that the stack has allocated, which its owner shows.
std::vector<SpanLedger::LivingHolder> SpanLedger::holders_of(uint32_t span_class,
                                                             const ClassMixture& mixture) const {
  const std::vector<uint32_t>& ids = class_accounts_.at(span_class);
  std::vector<LivingHolder> holders(ids.size());
  for (const uint32_t id : ids) {
    const std::optional<OriginId> origin = accounts_[id].origin;
    if (origin && mixture.knows(*origin)) holders[accounts_[id].place].own_part = mixture.own_part(*origin);
  }
  const auto timeline = timelines_.find(span_class);
  if (timeline == timelines_.end()) return holders;
  for (const ClassTimeline::Segment& segment : timeline->second.segments())
    if (timeline->second.is_judged(segment)) add_moments(span_class, segment, mixture, holders);
  for (LivingHolder& living : holders) {
    living.holder.alive = alive_of_others(living.moments);
  }
  return holders;
}

double SpanLedger::divide_in_use_of(size_t size_class, std::vector<ClassAmount>& in_use) const {
  const double factor = factor_of_all(size_class);
  std::vector<uint32_t> ids;
  std::vector<Holder> holders;
  double samples = 0;
  double opened = 0;
  for (const uint32_t span_class : span_classes_of(size_class)) {
    const auto accounts = class_accounts_.find(span_class);
    if (accounts == class_accounts_.end()) continue;
    if (const auto timeline = timelines_.find(span_class); timeline != timelines_.end()) {
      samples += timeline->second.samples();
      opened += timeline->second.opened();
    }
    const ClassMixture* mixture = mixture_of(span_class);
    for (const uint32_t id : accounts->second) {
      in_use[id] = {};
      if (mixture != nullptr) continue;
      const Account& account = accounts_[id];
      ids.push_back(id);
      Holder& holder = holders.emplace_back();
      holder.own = account.in_use.weighed.bytes * factor;
      holder.alive = AliveOfOthers{};
    }
    if (mixture == nullptr) continue;
    ids.insert(ids.end(), accounts->second.begin(), accounts->second.end());
    if (measured_.at(span_class).averaged_cycles > 0) {
      for (const uint32_t id : accounts->second) holders.push_back(accounts_[id].holder * factor);
    } else {
      for (const LivingHolder& living : holders_of(span_class, *mixture))
        holders.push_back(living.holder * factor);
    }
  }
  const double total = books_[size_class].ours.bytes - books_[size_class].unseen_in_use.bytes;
  const double doubt = divide_in_use(holders, total, opened > 0 ? total * samples / (opened * factor) : 0);
  const auto object_bytes = static_cast<double>(class_bytes(size_class));
  for (size_t i = 0; i < ids.size(); ++i)
    in_use[ids[i]] = {holders[i].in_use / object_bytes, holders[i].in_use};
  return doubt;
}

// What another source has counted is in its books; then what was opened says who has how much.
std::vector<double> SpanLedger::parts_of(uint32_t span_class) const {
  const std::vector<uint32_t>& ids = class_accounts_.at(span_class);
  std::vector<double> parts(ids.size());
  if (elsewhere_[span_class >> 1].bytes <= 0) {
    const std::vector<ClassAmount>& allocated = division().allocated;
    for (size_t i = 0; i < ids.size(); ++i) parts[i] = allocated[ids[i]].bytes;
    return parts;
  }
  if (const ClassMixture* mixture = mixture_of(span_class); mixture != nullptr)
    return divide_class(span_class, *mixture, [](const Account& account) { return account.opened_bytes; });
  for (size_t i = 0; i < ids.size(); ++i) parts[i] = accounts_[ids[i]].opened_bytes;
  return parts;
}

std::vector<uint32_t> SpanLedger::shared_classes() const {
  std::vector<uint32_t> shared;
  for (const auto& [span_class, ids] : class_accounts_) {
    double sum = 0;
    double first = 0;
    double second = 0;
    for (const double bytes : parts_of(span_class)) {
      sum += bytes;
      second = std::max(second, std::min(bytes, first));
      first = std::max(first, bytes);
    }
    // Large objects have runs of their own.
    if (span_class >> 1 != 0 && second > kSharedShare * sum) shared.push_back(span_class);
  }
  return shared;
}

bool SpanLedger::is_resolved(uint32_t span_class) const {
  const ClassMixture* mixture = mixture_of(span_class);
  // Where nothing goes uncounted, there is no time that could be unlike what was seen.
  if (mixture == nullptr || !(all_counted_ || mixture->is_confirmed())) return false;
  double opened = 0;
  double unknown = 0;
  double in_use = 0;
  double unknown_in_use = 0;
  for (const uint32_t id : class_accounts_.at(span_class)) {
    const Account& account = accounts_[id];
    opened += account.opened_bytes;
    in_use += account.in_use.weighed.bytes;
    if (account.origin && mixture->knows(*account.origin)) continue;
    unknown += account.opened_bytes;
    unknown_in_use += account.in_use.weighed.bytes;
  }
  const double grown = reading_ns_ > mixture->time_ns() + kLatelyNs ? kGrown : kGrownAnew;
  const bool is_late = opened > grown * measured_.at(span_class).opened_bytes;
  return unknown <= kUnknownShare * opened && unknown_in_use <= kUnknownShare * in_use && !is_late;
}

std::vector<uint32_t> SpanLedger::unresolved_classes() const { return unresolved_among(shared_classes()); }

std::vector<uint32_t> SpanLedger::unresolved_among(const std::vector<uint32_t>& shared) const {
  std::set<uint32_t> classes(shared.begin(), shared.end());
  for (const auto& [span_class, weight] : weights_of_classes()) classes.insert(span_class);
  std::erase_if(classes, [this](uint32_t span_class) { return is_resolved(span_class); });
  return {classes.begin(), classes.end()};
}

double SpanLedger::allocated_bytes() const {
  double sum = 0;
  for (size_t i = 0; i < kSpanSizeClasses; ++i) sum += classes_.allocated(i).bytes;
  return sum;
}

double SpanLedger::held_bytes() const {
  return std::accumulate(books_.begin(), books_.end(), 0.0,
                         [](double sum, const ClassBook& book) { return sum + book.ours.bytes; });
}

// Classes of small objects that matter, with what they have of the heap or of all allocations, 0 to 1. Also those that
// only one stack was ever seen to open: in perfect lockstep the others never do.
std::map<uint32_t, double> SpanLedger::weights_of_classes() const {
  const double allocated = allocated_bytes();
  const double held = held_bytes();
  std::map<uint32_t, double> weights;
  for (const auto& [span_class, ids] : class_accounts_) {
    const size_t size_class = span_class >> 1;
    if (size_class == 0) continue;
    const double of_allocated = allocated > 0 ? classes_.allocated(size_class).bytes / allocated : 0;
    const double of_held = held > 0 ? books_[size_class].ours.bytes / held : 0;
    const double weight = std::max(of_allocated, of_held);
    if (weight >= kClassThatMatters) weights.emplace(span_class, weight);
  }
  return weights;
}

bool SpanLedger::matter(const std::vector<uint32_t>& span_classes) const {
  std::set<size_t> size_classes;
  for (const uint32_t span_class : span_classes) size_classes.insert(span_class >> 1);
  double allocated = 0;
  double held = 0;
  for (const size_t size_class : size_classes) {
    allocated += classes_.allocated(size_class).bytes;
    held += books_[size_class].ours.bytes;
  }
  return (allocated > 0 && allocated >= kClassThatMatters * allocated_bytes()) ||
         (held > 0 && held >= kClassThatMatters * held_bytes());
}

bool SpanLedger::is_divided() const {
  const std::map<uint32_t, double> weights = weights_of_classes();
  return std::all_of(weights.begin(), weights.end(),
                     [this](const auto& entry) { return is_resolved(entry.first); });
}

bool SpanLedger::wants_windows() const { return has_reading() && !weights_of_classes().empty(); }

std::vector<std::string> SpanLedger::uncertain_sites() const {
  const std::map<uint32_t, double> weights = weights_of_classes();
  const InUse& held = division().held;
  std::set<std::string> sites;
  for (const auto& [span_class, weight] : weights) {
    if (is_resolved(span_class) && !held.doubtful_classes.contains(span_class >> 1)) continue;
    const auto& ids = class_accounts_.at(span_class);
    const std::vector<double> parts = parts_of(span_class);
    const double sum = std::accumulate(parts.begin(), parts.end(), 0.0);
    for (size_t i = 0; i < ids.size(); ++i) {
      const auto name = names_.find(accounts_[ids[i]].stack_hash);
      if (parts[i] > kSharedShare * sum && name != names_.end()) sites.insert(name->second.function);
    }
  }
  return {sites.begin(), sites.end()};
}

}  // namespace goheapd::profile
