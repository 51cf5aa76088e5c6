// What the books of source spans tell: totals, sites, profiles and their comments. See span_ledger.h.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <map>

#include "daemon/profile/span_ledger.h"

namespace goheapd::profile {
namespace {

const StackPtr kNoStack = std::make_shared<const std::vector<uint64_t>>();
constexpr const char* kFromBefore = "[goheapd: allocated before goheapd attached]";
constexpr const char* kUnsampled = "[goheapd: allocated while nothing of this size was sampled]";
// More lost verdicts of late than this, and in-use values may be wrong.
constexpr double kUnreliableShare = 0.01;

model::HeapValues rounded(const ClassAmount& allocated, const ClassAmount& in_use) {
  const auto whole = [](double value) { return static_cast<int64_t>(std::llround(std::max(0.0, value))); };
  return {whole(allocated.objects), whole(allocated.bytes), whole(in_use.objects), whole(in_use.bytes)};
}

}  // namespace

double SpanLedger::live_bytes() const {
  double sum = 0;
  for (size_t i = 0; i < kSpanSizeClasses; ++i) sum += classes_.held(i).bytes;
  return sum;
}

double SpanLedger::live_objects() const {
  double sum = 0;
  for (size_t i = 0; i < kSpanSizeClasses; ++i) sum += classes_.held(i).objects;
  return sum;
}

std::array<ClassAmount, model::kAllocationKinds> SpanLedger::by_kind() const {
  std::array<ClassAmount, model::kAllocationKinds> sums{};
  for (size_t i = 0; i < counted_.size(); ++i) {
    const auto name = names_.find(accounts_[i].stack_hash);
    const auto kind = name == names_.end() ? model::AllocationKind::other : name->second.kind;
    sums[static_cast<size_t>(kind)] += counted_[i];
  }
  for (const ClassAmount& amount : counted_unsampled_)
    sums[static_cast<size_t>(model::AllocationKind::other)] += amount;
  return sums;
}

std::array<double, model::kAllocationKinds> SpanLedger::alloc_bytes() const {
  std::array<double, model::kAllocationKinds> bytes{};
  const auto sums = by_kind();
  for (size_t kind = 0; kind < sums.size(); ++kind) bytes[kind] = sums[kind].bytes;
  return bytes;
}

std::array<double, model::kAllocationKinds> SpanLedger::alloc_objects() const {
  std::array<double, model::kAllocationKinds> objects{};
  const auto sums = by_kind();
  for (size_t kind = 0; kind < sums.size(); ++kind) objects[kind] = sums[kind].objects;
  return objects;
}

std::vector<SiteTotals> SpanLedger::sites() const {
  std::map<std::string, SiteTotals> by_function;
  SiteTotals& other = by_function[kOtherSite];
  for (size_t i = 0; i < kSpanSizeClasses; ++i) {
    other.alloc_bytes += counted_unsampled_[i].bytes;
    other.live_bytes += books_[i].from_before.bytes + division().held.unsampled[i].bytes;
  }
  const InUse& held = division().held;
  for (size_t i = 0; i < accounts_.size(); ++i) {
    const auto name = names_.find(accounts_[i].stack_hash);
    SiteTotals& site = name == names_.end() ? other : by_function[name->second.function];
    site.live_bytes += held.amounts[i].bytes + accounts_[i].young.bytes;
    if (i < counted_.size()) site.alloc_bytes += counted_[i].bytes;
  }
  std::vector<SiteTotals> totals;
  totals.reserve(by_function.size());
  for (auto& [function, site] : by_function) {
    site.function = function;
    totals.push_back(std::move(site));
  }
  return totals;
}

std::vector<std::pair<uint64_t, StackPtr>> SpanLedger::take_unnamed_stacks() {
  return std::exchange(unnamed_, {});
}

void SpanLedger::name_stack(uint64_t stack_hash, model::AllocationKind kind, const std::string& function) {
  if (auto found = names_.find(stack_hash); found != names_.end()) found->second = {kind, function};
}

bool SpanLedger::inuse_is_unreliable() const { return recent_lost_ > kUnreliableShare * recent_due_; }

size_t SpanLedger::fill(RawSnapshot& snapshot) const {
  snapshot.sample_rate = mean_distance_;
  snapshot.is_scaled = true;
  snapshot.logical_stacks = false;
  snapshot.has_inuse = true;
  snapshot.gc_cycle = in_use_sweepgen_ / 2;
  const std::vector<uint32_t> shared = shared_classes();
  const std::vector<uint32_t> unresolved = unresolved_among(shared);
  const Division& divided = division();
  const auto add = [&](SampleKey key, const StackPtr& stack, uint64_t object_bytes, const char* note,
                       const ClassAmount& allocations, const ClassAmount& kept) {
    RawSample sample;
    sample.key = key;
    sample.stack = stack;
    sample.object_bytes = object_bytes;
    sample.note = note;
    const bool has_stack = sample.note.empty();
    sample.shares_class =
        has_stack && (std::binary_search(unresolved.begin(), unresolved.end(), key.size_class) ||
                      divided.held.doubtful_classes.contains(key.size_class >> 1));
    sample.is_remainder = sample.note == kUnsampled;
    sample.published = rounded(allocations, kept);
    sample.now_alloc_objects = sample.published.alloc_objects;
    sample.now_alloc_bytes = sample.published.alloc_bytes;
    if (sample.published != model::HeapValues{}) snapshot.samples.push_back(std::move(sample));
  };
  snapshot.samples.reserve(accounts_.size() + 2 * kSpanSizeClasses);
  for (size_t i = 0; i < accounts_.size(); ++i) {
    const Account& account = accounts_[i];
    add({account.stack_hash, 0, account.span_class, false}, account.stack, account.object_bytes, "",
        i < counted_.size() ? counted_[i] : ClassAmount{}, divided.held.amounts[i]);
  }
  // Keys that no stack has: stacks of spans tell no type.
  for (uint32_t i = 0; i < kSpanSizeClasses; ++i) {
    const ClassBook& book = books_[i];
    add({0, 1, 2 * i, false}, kNoStack, class_bytes(i), kFromBefore, classes_.before(i), book.from_before);
    add({0, 2, 2 * i, false}, kNoStack, class_bytes(i), kUnsampled, counted_unsampled_[i],
        divided.held.unsampled[i]);
  }
  // Their samples have a label; that all of them together are next to nothing is not worth a word.
  const size_t doubted = matter(unresolved) ? unresolved.size() : 0;
  add_comments(snapshot, shared.size(), doubted, divided.held.doubtful_classes.size());
  return doubted;
}

void SpanLedger::comment_on_division(RawSnapshot& snapshot) const {
  std::string seen;
  if (windows_ != 0)
    seen = std::to_string(windows_) + " short windows saw in which every allocation was counted";
  if (periods_ != 0) {
    if (!seen.empty()) seen += ", and as ";
    seen += "the counts of mode exact say";
  }
  if (seen.empty()) return;
  snapshot.comments.push_back("size classes are divided among the stacks that share them as " + seen +
                              "; inuse also by how long sampled objects of each stack live");
}

void SpanLedger::add_comments(RawSnapshot& snapshot, size_t shared, size_t unresolved,
                              size_t doubtful) const {
  auto& comments = snapshot.comments;
  comments.push_back(
      "the program's runtime does not sample: one of " + std::to_string(mean_distance_) +
      " bytes is sampled where the allocator takes a new span, scaled to the runtime's counters");
  if (finished_ns_ > reading_ns_) {
    std::array<char, 128> text{};
    std::snprintf(text.data(), text.size(), "its counters were last read %.2f s before it ended",
                  static_cast<double>(finished_ns_ - reading_ns_) * 1e-9);
    comments.push_back(std::string("the process has exited: ") +
                       (has_reading() ? text.data() : "its counters were never read") +
                       "; what it allocated later is as large as its samples say");
  }
  if (classes_.has_reading() && (!classes_.knows_live() || classes_.live_is_estimated())) {
    comments.emplace_back(
        "the last garbage collection ended before goheapd attached: what it has left is known in sum, and by "
        "size only estimated");
  }
  if (shared > 0) comment_on_division(snapshot);
  if (unresolved != 0) {
    comments.push_back(
        std::to_string(unresolved) +
        " size classes may be shared by several stacks, and no window has lately shown in what parts: where "
        "these allocate strictly in turns, bytes of one can be shown for another of the same class (label "
        "size_class: shared)");
  }
  if (doubtful != 0) {
    comments.push_back(
        "inuse of stacks that share " + std::to_string(doubtful) +
        " size classes is doubtful: samples cannot tell whether some hold what others drop, or "
        "all hold what is recent (label size_class: shared); alloc values are not concerned");
  }
  if (unmatched_window_objects_ >= 1) {
    comments.push_back(std::to_string(std::llround(unmatched_window_objects_)) +
                       " objects that windows counted have a stack that is lost or cut, and were left out");
  }
  if (inuse_is_unreliable()) {
    comments.emplace_back(
        "inuse is unreliable: garbage collections follow each other faster than goheapd can look");
  }
  if (lost_verdicts_ != 0) {
    comments.push_back(
        "since goheapd attached " + std::to_string(missed_cycles_) +
        " garbage collections were missed, and " + std::to_string(lost_verdicts_) +
        " times an object was not looked at in time" +
        (inuse_is_unreliable() ? ": dead objects may be shown as in use" : ", hardly of late"));
  }
  if (untracked_runs_ != 0) {
    comments.push_back(std::to_string(untracked_runs_) +
                       " samples were more than goheapd follows: their stack or their end is unknown");
  }
  if (truncated_stacks_ != 0)
    comments.push_back(std::to_string(truncated_stacks_) + " stacks are truncated at 127 frames");
}

}  // namespace goheapd::profile
