#include "daemon/probe/wire_target.h"

#include <algorithm>
#include <tuple>

#include "daemon/gobin/runtime_layout.h"

namespace goheapd::probe {

uint32_t wire_groups(ProbeGroups groups) {
  uint32_t bits = 0;
  if (groups.contains(ProbeGroup::gc)) bits |= wire::kGroupGc;
  if (groups.contains(ProbeGroup::sampled)) bits |= wire::kGroupSampled;
  if (groups.contains(ProbeGroup::exact)) bits |= wire::kGroupExact;
  if (groups.contains(ProbeGroup::spans)) bits |= wire::kGroupSpans;
  return bits;
}

bool wants(const AttachRequest& request, ProbeGroup group) {
  return std::any_of(request.points.begin(), request.points.end(),
                     [group](const gobin::ProbePoint& point) { return group_of(point.role) == group; });
}

Expected<void> set_spans(wire::WireTarget& target, const AttachRequest& request) {
  static_assert(kSpanWindowBytes == wire::kSpanWindowWords * sizeof(uint64_t));
  if (!wants(request, ProbeGroup::spans)) return {};
  const TargetLayout& layout = request.layout;
  const auto window = span_window(layout);
  if (!window) return tl::unexpected(window.error());
  target.span_window = window->offset;
  target.span_nelems_bit = window->nelems_bit;
  target.span_alloc_count_bit = window->alloc_count_bit;
  target.span_class_bit = window->class_bit;
  target.sweepgen_address = request.sweepgen_address;
  target.mean_distance = request.mean_distance;
  target.burst_distance = request.burst_distance;
  target.releases_by_span = std::any_of(
      request.points.begin(), request.points.end(),
      [](const gobin::ProbePoint& point) { return point.role == gobin::ProbeRole::span_uncache; });
  target.span_index_mask = layout.span_index_bytes == sizeof(uint16_t) ? 0xffff : ~uint32_t{0};
  target.m_p = layout.m_p;
  target.p_mcache = layout.p_mcache;
  target.span_start = layout.span_start;
  target.span_freeindex = layout.span_freeindex;
  target.span_alloc_cache = layout.span_alloc_cache;
  target.span_alloc_bits = layout.span_alloc_bits;
  target.span_alloc_count = layout.span_alloc_count;
  target.span_class = layout.span_class;
  target.span_elemsize = layout.span_elemsize;
  target.mcache_alloc = layout.mcache_alloc;
  return {};
}

void set_ignored_caller(wire::WireTarget& target, const AttachRequest& request) {
  for (const gobin::ProbePoint& point : request.points) {
    if (!point.ignored_caller) continue;
    target.ignored_caller_begin = point.ignored_caller->begin + request.load_bias;
    target.ignored_caller_end = point.ignored_caller->end + request.load_bias;
  }
}

wire::WireTarget wire_target(const AttachRequest& request, uint32_t session) {
  const TargetLayout& layout = request.layout;
  wire::WireTarget target{};
  target.tgid = static_cast<uint32_t>(request.process.pid);
  target.session = session;
  target.recording = 0;
  target.max_small = layout.max_small_size;
  target.header_over = layout.malloc_header_over == 0 ? ~uint32_t{0} : layout.malloc_header_over;
  target.profile_special_kind = layout.profile_special_kind;
  target.g_m = layout.g_m;
  target.m_curg = layout.m_curg;
  target.g_goid = layout.g_goid;
  target.special_kind = layout.special_kind;
  target.special_bucket = layout.special_bucket;
  target.type_ptr_bytes = layout.type_ptr_bytes;
  target.storm_ns = request.storm_ns;
  for (size_t i = 0; i < request.gc_parts.size(); ++i)
    target.gc_parts[i] = {request.gc_parts[i].first, request.gc_parts[i].second, 0};
  target.gc_leak_check = request.gc_leak_check;
  target.gc_triggered = request.gc_triggered;
  target.stop_has_reason = layout.stop_has_reason ? 1 : 0;
  target.m_preemptoff = layout.m_preemptoff;
  static_assert(std::tuple_size_v<StackRoots> == wire::kStackRoots);
  for (size_t i = 0; i < request.stack_roots.size(); ++i)
    target.stack_roots[i] = {request.stack_roots[i].begin, request.stack_roots[i].end};
  set_ignored_caller(target, request);
  return target;
}

}  // namespace goheapd::probe
