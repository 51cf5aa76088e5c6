#include "daemon/profile/exact_window.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "daemon/gobin/runtime_layout.h"

namespace goheapd::profile {
namespace {

// Span class of tiny blocks: 16 bytes without pointers.
constexpr uint32_t kTinySpanClass = 2 << 1 | 1;

// From the outermost frame inwards, so that all ends of a stack get their hashes in one pass.
uint64_t hash_step(uint64_t hash, uint64_t address) {
  hash = (hash ^ address) * 0x9e3779b97f4a7c15;
  return hash ^ (hash >> 29);
}

uint64_t hash_of(const std::vector<uint64_t>& stack) {
  uint64_t hash = 0;
  for (auto frame = stack.rbegin(); frame != stack.rend(); ++frame) hash = hash_step(hash, *frame);
  return hash;
}

}  // namespace

std::optional<OriginId> StackOrigins::add(std::vector<uint64_t> stack) {
  const uint64_t hash = hash_of(stack);
  const auto [begin, end] = by_hash_.equal_range(hash);
  for (auto entry = begin; entry != end; ++entry)
    if (*stacks_[entry->second] == stack) return entry->second;
  if (stacks_.size() >= kMaxOrigins) return std::nullopt;
  const auto id = static_cast<OriginId>(stacks_.size());
  stacks_.push_back(std::make_shared<const std::vector<uint64_t>>(std::move(stack)));
  by_hash_.emplace(hash, id);
  return id;
}

void StackOrigins::add(uint64_t number, std::vector<uint64_t> stack) {
  if (const auto origin = add(std::move(stack))) by_number_.insert_or_assign(number, *origin);
}

std::optional<OriginId> StackOrigins::numbered(uint64_t number) const {
  const auto found = by_number_.find(number);
  return found == by_number_.end() ? std::nullopt : std::optional(found->second);
}

std::optional<OriginId> StackOrigins::find(const std::vector<uint64_t>& sampled) const {
  std::optional<OriginId> longest;
  uint64_t hash = 0;
  for (size_t first = sampled.size(); first-- > 0;) {
    hash = hash_step(hash, sampled[first]);
    if (first > kMaxAllocatorFrames) continue;
    const auto [begin, end] = by_hash_.equal_range(hash);
    for (auto entry = begin; entry != end; ++entry) {
      const auto& counted = *stacks_[entry->second];
      if (counted.size() == sampled.size() - first &&
          std::equal(counted.begin(), counted.end(), sampled.begin() + static_cast<std::ptrdiff_t>(first)))
        longest = entry->second;
    }
  }
  return longest;
}

std::optional<uint32_t> span_class_of(const model::ExactCount& count) {
  if (count.tiny) return kTinySpanClass;
  if (count.size_class == 0 || count.size_class >= gobin::kSizeClasses) return std::nullopt;
  return count.size_class << 1 | (count.noscan ? 1 : 0);
}

double slots_of(const model::ExactCount& count) {
  if (count.tiny) return static_cast<double>(count.requested_bytes) / gobin::kTinyBlockBytes;
  return static_cast<double>(count.objects);
}

WindowCounts count_window(const ExactWindow& window, StackOrigins& origins) {
  for (const model::ExactStack& stack : window.stacks) {
    // The end of a stack that is cut is not where the sampled one ends.
    if (!stack.truncated && !stack.stack.empty()) origins.add(stack.stack_hash, stack.stack);
  }
  WindowCounts counts;
  for (const model::ExactCount& count : window.counts) {
    const auto origin = origins.numbered(count.stack_hash);
    const auto span_class = span_class_of(count);
    if (!origin) {
      counts.unmatched += static_cast<double>(count.objects);
    } else if (span_class) {
      counts.by_class[*span_class][*origin] += slots_of(count);
    }
  }
  return counts;
}

}  // namespace goheapd::profile
