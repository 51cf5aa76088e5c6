// A time in which every allocation of a process was counted, a short window or a part of all its time, in the terms of
// source spans: how many slots of which span class each stack took.
//
// Both walks go up the same frames, but begin at different functions: the counting one at the entry of the allocator, the
// sampling one deep in it, where a span is taken. So the counted stack is the end of the sampled one:
//
//   sampled   refill's caller, nextFree's caller, mallocgc's caller (in newobject), main.fill, main.main
//   counted                                       mallocgc's caller (in newobject), main.fill, main.main
//
// and no function needs a name for that: size-specialised allocators, copies that a profile-guided build has made and
// callers that skip newobject come out right, because both walks saw the same machine frames.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <unordered_map>
#include <vector>

#include "daemon/model/event.h"
#include "daemon/profile/class_mixture.h"
#include "daemon/profile/raw_snapshot.h"

namespace goheapd::profile {

struct ExactWindow {
  uint64_t time_ns = 0;
  std::vector<model::ExactStack> stacks;  // those that no window before has brought, or more
  std::vector<model::ExactCount> counts;  // of this time alone
};

// The stacks that windows have counted, each once.
class StackOrigins {
 public:
  static constexpr size_t kMaxOrigins = size_t{1} << 15;
  // A sampled stack has at most so many frames below the allocator's entry.
  static constexpr size_t kMaxAllocatorFrames = 16;

  // nullopt: there are too many already.
  std::optional<OriginId> add(std::vector<uint64_t> stack);
  // The same, of a stack that counts call by this number from now on.
  void add(uint64_t number, std::vector<uint64_t> stack);
  std::optional<OriginId> numbered(uint64_t number) const;
  size_t size() const { return stacks_.size(); }
  // Of a sampled stack: the longest counted one that it ends with.
  std::optional<OriginId> find(const std::vector<uint64_t>& sampled) const;
  const StackPtr& stack(OriginId origin) const { return stacks_[origin]; }

 private:
  std::vector<StackPtr> stacks_;
  std::unordered_multimap<uint64_t, OriginId> by_hash_;
  std::unordered_map<uint64_t, OriginId> by_number_;
};

// Which span class an allocation takes a slot of; nullopt: it is large, or not known.
// https://github.com/golang/go/blob/go1.24.4/src/runtime/mheap.go#L569 (func makeSpanClass)
std::optional<uint32_t> span_class_of(const model::ExactCount& count);
// How many slots. Tiny objects share them: as many as their bytes fill.
double slots_of(const model::ExactCount& count);

struct WindowCounts {
  std::map<uint32_t, OriginAmounts> by_class;  // by span class: slots
  double unmatched = 0;  // objects whose stack did not arrive, is cut, or is one too many
};
WindowCounts count_window(const ExactWindow& window, StackOrigins& origins);

}  // namespace goheapd::profile
