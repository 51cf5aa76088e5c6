// The part of the books that divides what stacks have opened among those who allocated it. See span_ledger.h.
#include <algorithm>
#include <set>

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

bool SpanLedger::add_window(const ExactWindow& window) {
  const WindowCounts counted = count_window(window, origins_);
  unmatched_window_objects_ += counted.unmatched;
  ++windows_;
  match_stacks();
  const std::map<uint32_t, double> weights = weights_of_classes();
  bool agrees = true;
  for (const auto& [span_class, objects] : counted.by_class) {
    OriginAmounts known;
    for (const auto& [origin, count] : objects) {
      if (owner_of(span_class, origin))
        known.emplace(origin, count);
      else
        unmatched_window_objects_ += count;
    }
    Measured& measured = measured_[span_class];
    const double difference = measured.mixture.add(known, window.time_ns);
    measured.opened_bytes = 0;
    for (const uint32_t id : class_accounts_[span_class]) measured.opened_bytes += accounts_[id].opened_bytes;
    if (difference > kAgreement && weights.contains(span_class)) agrees = false;
  }
  return agrees;
}

template <typename Bytes>
void SpanLedger::divide_class(uint32_t span_class, const ClassMixture& mixture, const Bytes& opened,
                              std::vector<double>& divided) const {
  OriginAmounts amounts;
  for (const uint32_t id : class_accounts_.at(span_class)) {
    const Account& account = accounts_[id];
    if (account.origin && mixture.knows(*account.origin))
      amounts[*account.origin] += opened(account);
    else
      divided[id] += opened(account);
  }
  for (const auto& [origin, amount] : mixture.divide(amounts))
    divided[owners_.at(uint64_t{origin} << 32 | span_class)] += amount;
}

std::vector<ClassAmount> SpanLedger::allocations() const {
  std::vector<ClassAmount> result(accounts_.size());
  std::vector<double> bytes(accounts_.size());
  for (const auto& [span_class, ids] : class_accounts_) {
    const auto since = [this](const Account& account) {
      ClassAmount amount = account.settled;
      amount += account.open * books_[account.size_class()].factor;
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
    divide_class(
        span_class, *mixture, [&](const Account& account) { return since(account).bytes; }, bytes);
    const auto object_bytes = static_cast<double>(class_bytes(span_class >> 1));
    for (const uint32_t id : ids) {
      result[id] = accounts_[id].divided;
      result[id] += {bytes[id] / object_bytes, bytes[id]};
    }
  }
  for (ClassAmount& amount : result) amount = {std::max(0.0, amount.objects), std::max(0.0, amount.bytes)};
  return result;
}

// By what the samples of a class that were ever taken have to be multiplied.
double SpanLedger::factor_of_all(size_t size_class) const {
  double opened = 0;
  for (const uint32_t span_class : span_classes_of(size_class)) {
    const auto ids = class_accounts_.find(span_class);
    if (ids == class_accounts_.end()) continue;
    for (const uint32_t id : ids->second) opened += accounts_[id].opened_bytes;
  }
  return opened > 0 ? classes_.allocated(size_class).bytes / opened : 1;
}

SpanLedger::InUse SpanLedger::in_use() const {
  InUse result;
  result.amounts.resize(accounts_.size());
  for (size_t i = 0; i < accounts_.size(); ++i)
    result.amounts[i] = accounts_[i].in_use * books_[accounts_[i].size_class()].in_use_factor;
  for (size_t i = 1; i < kSpanSizeClasses; ++i) {
    const auto [scan, noscan] = span_classes_of(i);
    if (mixture_of(scan) != nullptr || mixture_of(noscan) != nullptr) {
      if (divide_in_use_of(i, result.amounts) > kDoubt) result.doubtful_classes.insert(i);
    }
  }
  return result;
}

double SpanLedger::divide_in_use_of(size_t size_class, std::vector<ClassAmount>& in_use) const {
  const double factor = factor_of_all(size_class);
  std::vector<uint32_t> ids;
  std::vector<Holder> holders;
  double samples = 0;
  for (const uint32_t span_class : span_classes_of(size_class)) {
    const auto accounts = class_accounts_.find(span_class);
    if (accounts == class_accounts_.end()) continue;
    const ClassMixture* mixture = mixture_of(span_class);
    // What each has allocated, by age; less what of it was in runs of its own.
    std::array<std::vector<double>, kAgeClasses> by_age;
    for (size_t age = 0; mixture != nullptr && age < kAgeClasses; ++age) {
      by_age[age].resize(accounts_.size());
      divide_class(
          span_class, *mixture, [age](const Account& account) { return account.ages.bytes()[age]; },
          by_age[age]);
    }
    std::vector<double> alike(mixture != nullptr ? accounts_.size() : 0);
    if (mixture != nullptr)
      divide_class(
          span_class, *mixture, [](const Account& account) { return account.in_use.bytes; }, alike);
    for (const uint32_t id : accounts->second) {
      const Account& account = accounts_[id];
      samples += static_cast<double>(account.live_runs);
      Holder holder;
      const double own = mixture != nullptr && account.origin ? mixture->own_part(*account.origin) : 1;
      holder.own = own * account.in_use.bytes * factor;
      if (mixture != nullptr) holder.alike = std::max(0.0, alike[id] * factor - holder.own);
      const auto alive = account.survival.alive();
      if (alive) holder.alive = 0;
      for (size_t age = 0; mixture != nullptr && age < kAgeClasses; ++age) {
        const double others = std::max(0.0, by_age[age][id] - own * account.ages.bytes()[age]) * factor;
        holder.others += others;
        if (alive) *holder.alive += others * (*alive)[age];
      }
      ids.push_back(id);
      holders.push_back(holder);
    }
  }
  const double doubt = divide_in_use(holders, books_[size_class].ours.bytes, samples);
  const auto object_bytes = static_cast<double>(class_bytes(size_class));
  for (size_t i = 0; i < ids.size(); ++i)
    in_use[ids[i]] = {holders[i].in_use / object_bytes, holders[i].in_use};
  return doubt;
}

std::vector<uint32_t> SpanLedger::shared_classes() const {
  const std::vector<ClassAmount> allocated = allocations();
  std::vector<uint32_t> shared;
  for (const auto& [span_class, ids] : class_accounts_) {
    double sum = 0;
    double first = 0;
    double second = 0;
    for (const uint32_t id : ids) {
      const double bytes = allocated[id].bytes;
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
  if (mixture == nullptr) return false;
  double opened = 0;
  double unknown = 0;
  for (const uint32_t id : class_accounts_.at(span_class)) {
    const Account& account = accounts_[id];
    opened += account.opened_bytes;
    if (!account.origin || !mixture->knows(*account.origin)) unknown += account.opened_bytes;
  }
  const bool is_late =
      reading_ns_ > mixture->time_ns() + kLatelyNs && opened > kGrown * measured_.at(span_class).opened_bytes;
  return unknown <= kUnknownShare * opened && !is_late;
}

std::vector<uint32_t> SpanLedger::unresolved_classes() const {
  const std::vector<uint32_t> shared = shared_classes();
  std::set<uint32_t> classes(shared.begin(), shared.end());
  for (const auto& [span_class, weight] : weights_of_classes()) classes.insert(span_class);
  std::erase_if(classes, [this](uint32_t span_class) { return is_resolved(span_class); });
  return {classes.begin(), classes.end()};
}

// Classes of small objects that matter, with what they have of the heap or of all allocations, 0 to 1. Also those that
// only one stack was ever seen to open: in perfect lockstep the others never do.
std::map<uint32_t, double> SpanLedger::weights_of_classes() const {
  double allocated = 0;
  double held = 0;
  for (size_t i = 0; i < kSpanSizeClasses; ++i) {
    allocated += classes_.allocated(i).bytes;
    held += books_[i].ours.bytes;
  }
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

bool SpanLedger::is_divided() const {
  const std::map<uint32_t, double> weights = weights_of_classes();
  return std::all_of(weights.begin(), weights.end(),
                     [this](const auto& entry) { return is_resolved(entry.first); });
}

bool SpanLedger::wants_windows() const { return has_reading() && !weights_of_classes().empty(); }

std::vector<std::string> SpanLedger::uncertain_sites() const {
  const std::map<uint32_t, double> weights = weights_of_classes();
  const std::vector<ClassAmount> allocated = allocations();
  const std::set<size_t> doubtful = in_use().doubtful_classes;
  std::set<std::string> sites;
  for (const auto& [span_class, weight] : weights) {
    if (is_resolved(span_class) && !doubtful.contains(span_class >> 1)) continue;
    const auto& ids = class_accounts_.at(span_class);
    double sum = 0;
    for (const uint32_t id : ids) sum += allocated[id].bytes;
    for (const uint32_t id : ids) {
      const auto name = names_.find(accounts_[id].stack_hash);
      if (allocated[id].bytes > kSharedShare * sum && name != names_.end())
        sites.insert(name->second.function);
    }
  }
  return {sites.begin(), sites.end()};
}

}  // namespace goheapd::profile
