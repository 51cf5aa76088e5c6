#include "daemon/runtime/heap_pacing.h"

#include <algorithm>

namespace goheapd::runtime {
namespace {

uint64_t saturating_subtract(uint64_t from, uint64_t what) { return from > what ? from - what : 0; }

// https://github.com/golang/go/blob/go1.24.4/src/runtime/mgcpacer.go#L1033
uint64_t memory_limit_goal(const HeapGoalInputs& in, int minor) {
  constexpr uint64_t kLeastHeadroom = 1 << 20;
  constexpr uint64_t kHeadroomPercent = 3;
  // The runtime waits until the sum fits; its parts are never far apart.
  const uint64_t other = saturating_subtract(in.mapped_ready, in.heap_free + in.heap_alloc);
  const uint64_t overage = saturating_subtract(in.mapped_ready, in.memory_limit);
  if (other + overage >= in.memory_limit) return in.heap_marked;
  const uint64_t room = in.memory_limit - (other + overage);
  // A fixed headroom in 1.19: https://github.com/golang/go/blob/go1.19.8/src/runtime/mgcpacer.go#L1118
  const uint64_t headroom =
      minor < 21 ? kLeastHeadroom : std::max(kLeastHeadroom, room / 100 * kHeadroomPercent);
  const uint64_t goal = room < 2 * headroom ? headroom : room - headroom;
  return std::max(goal, in.heap_marked);
}

struct Goal {
  uint64_t goal = 0;
  uint64_t least_trigger = 0;
};

Goal find_goal(const HeapGoalInputs& in, int minor) {
  constexpr uint64_t kMinRunway = 64 << 10;
  const uint64_t by_limit = memory_limit_goal(in, minor);
  if (by_limit < in.percent_goal) return {by_limit, 0};
  uint64_t goal = std::max(in.percent_goal, in.sweep_distance_trigger);
  if (in.triggered != UINT64_MAX) goal = std::max(goal, in.triggered + kMinRunway);
  return {goal, in.sweep_distance_trigger};
}

}  // namespace

Expected<HeapGoalInputs> heap_goal_inputs(const gobin::RuntimeLayout& layout, ByteView controller) {
  const auto& c = layout.gc_controller;
  bool complete = true;
  const auto field = [&](gobin::Field place) {
    const auto value = gobin::read_field(controller, place);
    if (!value) complete = false;
    return value.value_or(0);
  };
  HeapGoalInputs inputs;
  inputs.percent_goal = field(c.gc_percent_heap_goal);
  inputs.sweep_distance_trigger = field(c.sweep_dist_min_trigger);
  inputs.triggered = field(c.triggered);
  inputs.runway = field(c.runway);
  inputs.heap_marked = field(c.heap_marked);
  inputs.heap_free = field(c.heap_free);
  inputs.heap_alloc = field(c.total_alloc) - field(c.total_free);
  inputs.mapped_ready = field(c.mapped_ready);
  inputs.memory_limit = field(c.memory_limit);
  if (!complete) return fail("a part of the collector's pacing is missing");
  return inputs;
}

uint64_t heap_goal(const HeapGoalInputs& inputs, int minor) { return find_goal(inputs, minor).goal; }

uint64_t heap_trigger(const HeapGoalInputs& inputs, int minor) {
  constexpr uint64_t kDenominator = 64;
  constexpr uint64_t kLeastShare = 45;
  constexpr uint64_t kMostShare = 61;
  constexpr uint64_t kHeapMinimum = 4 << 20;
  const auto [goal, least_trigger] = find_goal(inputs, minor);
  const uint64_t marked = inputs.heap_marked;
  if (marked >= goal) return goal;
  const uint64_t part = (goal - marked) / kDenominator;
  const uint64_t least = std::max({least_trigger, marked, part * kLeastShare + marked});
  // A large heap may leave more than its share: as much as the smallest heap has.
  const uint64_t most =
      std::max({part * kMostShare + marked, saturating_subtract(goal, kHeapMinimum), least});
  return std::clamp(saturating_subtract(goal, inputs.runway), least, most);
}

}  // namespace goheapd::runtime
