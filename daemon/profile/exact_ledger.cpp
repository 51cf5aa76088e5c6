#include "daemon/profile/exact_ledger.h"

#include <utility>

namespace goheapd::profile {
namespace {

const StackPtr kNoStack = std::make_shared<const std::vector<uint64_t>>();

SampleKey key_of(const model::ExactCount& count) {
  return {count.stack_hash, count.type, count.size_class, count.tiny};
}

}  // namespace

void ExactLedger::on_stack(model::ExactStack stack) {
  auto [entry, inserted] = stacks_.try_emplace(stack.stack_hash);
  if (!inserted) return;
  if (stack.truncated) ++truncated_stacks_;
  entry->second.truncated = stack.truncated;
  entry->second.frames = std::make_shared<const std::vector<uint64_t>>(std::move(stack.stack));
  unnamed_.push_back(stack.stack_hash);
  untaken_.push_back(stack.stack_hash);
}

void ExactLedger::apply(std::vector<model::ExactCount> counts) {
  counts_ = std::move(counts);
  if (!past_counts_.empty()) {
    std::map<SampleKey, model::ExactCount> sum = past_counts_;
    for (const model::ExactCount& count : counts_) {
      auto [entry, inserted] = sum.try_emplace(key_of(count), count);
      if (inserted) continue;
      entry->second.objects += count.objects;
      entry->second.requested_bytes += count.requested_bytes;
      entry->second.slot_bytes += count.slot_bytes;
    }
    counts_.clear();
    for (auto& [key, count] : sum) counts_.push_back(count);
  }
  objects_ = 0;
  bytes_ = 0;
  for (const model::ExactCount& count : counts_) {
    objects_ += count.objects;
    bytes_ += count.slot_bytes;
  }
}

void ExactLedger::end_period() {
  past_counts_.clear();
  for (const model::ExactCount& count : counts_) past_counts_.emplace(key_of(count), count);
}

ExactWindow ExactLedger::take_window(uint64_t time_ns) {
  ExactWindow window{.time_ns = time_ns, .stacks = {}, .counts = {}};
  for (const uint64_t hash : std::exchange(untaken_, {})) {
    const Stack& stack = stacks_.at(hash);
    window.stacks.push_back(
        {.pid = 0, .stack_hash = hash, .truncated = stack.truncated, .stack = *stack.frames});
  }
  for (const model::ExactCount& count : counts_) {
    model::ExactCount& taken = taken_counts_.try_emplace(key_of(count)).first->second;
    if (count.objects <= taken.objects) continue;
    model::ExactCount& since = window.counts.emplace_back(count);
    since.objects -= taken.objects;
    since.requested_bytes -= taken.requested_bytes;
    since.slot_bytes -= taken.slot_bytes;
    taken = count;
  }
  return window;
}

uint64_t ExactLedger::objects_without_stack() const {
  uint64_t objects = 0;
  for (const model::ExactCount& count : counts_) {
    if (!stacks_.contains(count.stack_hash)) objects += count.objects;
  }
  return objects;
}

std::vector<std::pair<uint64_t, StackPtr>> ExactLedger::take_unnamed_stacks() {
  std::vector<std::pair<uint64_t, StackPtr>> result;
  for (uint64_t hash : std::exchange(unnamed_, {})) result.emplace_back(hash, stacks_.at(hash).frames);
  return result;
}

void ExactLedger::name_stack(uint64_t stack_hash, model::AllocationKind kind, const std::string& function) {
  auto found = stacks_.find(stack_hash);
  if (found == stacks_.end()) return;
  found->second.kind = kind;
  found->second.function = function;
}

std::vector<SiteTotals> ExactLedger::sites() const {
  std::map<std::string, SiteTotals> by_function;
  for (const model::ExactCount& count : counts_) {
    auto stack = stacks_.find(count.stack_hash);
    const std::string& function = stack == stacks_.end() ? std::string(kOtherSite) : stack->second.function;
    SiteTotals& site = by_function[function];
    site.function = function;
    site.alloc_bytes += static_cast<double>(count.slot_bytes);
  }
  std::vector<SiteTotals> result;
  result.reserve(by_function.size());
  for (auto& [function, site] : by_function) result.push_back(std::move(site));
  return result;
}

std::array<ClassAmount, kSpanSizeClasses> ExactLedger::by_size_class() const {
  std::array<ClassAmount, kSpanSizeClasses> amounts{};
  for (const model::ExactCount& count : counts_) {
    const auto span_class = span_class_of(count);
    if (!span_class) {
      amounts[0] += {static_cast<double>(count.objects), static_cast<double>(count.slot_bytes)};
      continue;
    }
    const size_t size_class = *span_class >> 1;
    const double slots = slots_of(count);
    amounts[size_class] += {slots, slots * static_cast<double>(class_bytes(size_class))};
  }
  return amounts;
}

std::array<double, model::kAllocationKinds> ExactLedger::alloc_bytes() const {
  std::array<double, model::kAllocationKinds> totals{};
  for (const model::ExactCount& count : counts_) {
    auto stack = stacks_.find(count.stack_hash);
    const auto kind = stack == stacks_.end() ? model::AllocationKind::other : stack->second.kind;
    totals[static_cast<size_t>(kind)] += static_cast<double>(count.slot_bytes);
  }
  return totals;
}

std::array<double, model::kAllocationKinds> ExactLedger::alloc_objects() const {
  std::array<double, model::kAllocationKinds> totals{};
  for (const model::ExactCount& count : counts_) {
    auto stack = stacks_.find(count.stack_hash);
    const auto kind = stack == stacks_.end() ? model::AllocationKind::other : stack->second.kind;
    totals[static_cast<size_t>(kind)] += static_cast<double>(count.objects);
  }
  return totals;
}

void ExactLedger::fill(RawSnapshot& snapshot) const {
  snapshot.sample_rate = 1;
  snapshot.logical_stacks = false;
  snapshot.has_inuse = false;
  snapshot.samples = samples();
}

std::vector<RawSample> ExactLedger::samples() const {
  std::vector<RawSample> samples;
  samples.reserve(counts_.size());
  for (const model::ExactCount& count : counts_) {
    if (count.objects == 0) continue;
    RawSample sample;
    sample.key = key_of(count);
    auto stack = stacks_.find(count.stack_hash);
    sample.stack = stack == stacks_.end() ? kNoStack : stack->second.frames;
    sample.object_bytes = count.slot_bytes / count.objects;
    sample.published.alloc_objects = static_cast<int64_t>(count.objects);
    sample.published.alloc_bytes = static_cast<int64_t>(count.slot_bytes);
    sample.now_alloc_objects = sample.published.alloc_objects;
    sample.now_alloc_bytes = sample.published.alloc_bytes;
    samples.push_back(std::move(sample));
  }
  return samples;
}

}  // namespace goheapd::profile
