#include "daemon/profile/gc_history.h"

#include <algorithm>

namespace goheapd::profile {

bool GcHistory::add(const model::GcCycle& cycle) {
  model::GcCycle added = cycle;
  if (!cycles_.empty()) {
    const model::GcCycle& last = cycles_.back();
    if (cycle.number <= last.number) return false;
    totals_.missed += cycle.number - last.number - 1;
    // The runtime counts forced ones before it lets the next begin, so the count is right where its flag is not.
    if (cycle.number == last.number + 1) added.forced = cycle.forced_so_far != last.forced_so_far;
  }
  cycles_.push_back(added);
  if (cycles_.size() > kKept) cycles_.pop_front();
  ++totals_.seen;
  const int64_t stopped = cycle.mark_ns - cycle.start_ns + cycle.end_ns - cycle.mark_end_ns;
  const std::array<int64_t, model::kGcCpuKinds.size()> spent = {
      cycle.assist_ns, cycle.dedicated_ns, cycle.fractional_ns, cycle.idle_ns, cycle.stop_procs * stopped};
  for (size_t kind = 0; kind < spent.size(); ++kind) {
    // Hostile memory may say anything; a counter never falls.
    totals_.cpu_seconds[kind] += static_cast<double>(std::max<int64_t>(0, spent[kind])) * 1e-9;
  }
  return true;
}

std::optional<model::GcCycle> GcHistory::find(uint32_t number) const {
  const auto found =
      std::lower_bound(cycles_.begin(), cycles_.end(), number,
                       [](const model::GcCycle& cycle, uint32_t n) { return cycle.number < n; });
  if (found == cycles_.end() || found->number != number) return std::nullopt;
  return *found;
}

}  // namespace goheapd::profile
