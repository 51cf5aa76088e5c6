#include "daemon/probe/attach_request.h"

#include <algorithm>
#include <cerrno>
#include <string_view>

#include "daemon/gobin/go_binary.h"

namespace goheapd::probe {

TargetLayout target_layout(const gobin::RuntimeLayout& layout) {
  return TargetLayout{
      .g_m = layout.g.m.offset,
      .m_curg = layout.m.curg.offset,
      .g_goid = layout.g.goid.offset,
      .special_kind = layout.special.kind.offset,
      .special_bucket = layout.special_profile.bucket.offset,
      .type_ptr_bytes = layout.type.ptr_bytes.offset,
      .max_small_size = layout.max_small_size,
      .malloc_header_over = layout.malloc_header.scan_size_over,
      .profile_special_kind = layout.special_kinds.profile,
      .m_p = layout.m.p.offset,
      .p_mcache = layout.p.mcache.offset,
      .span_start = layout.mspan.start_addr.offset,
      .span_freeindex = layout.mspan.freeindex.offset,
      .span_nelems = layout.mspan.nelems.offset,
      .span_alloc_cache = layout.mspan.alloc_cache.offset,
      .span_alloc_bits = layout.mspan.alloc_bits.offset,
      .span_alloc_count = layout.mspan.alloc_count.offset,
      .span_class = layout.mspan.spanclass.offset,
      .span_elemsize = layout.mspan.elemsize.offset,
      .span_index_bytes = layout.mspan.nelems.size,
      .span_bytes = layout.mspan.sizeof_struct,
      .mcache_alloc = layout.mcache.alloc.offset,
      .stop_has_reason = layout.minor >= 21,
      .m_preemptoff = layout.m.preemptoff.offset,
  };
}

Expected<void> check_still_runs(const RunningFile& program) {
  const auto same = program.file->is_at(program.path);
  if (!same) return Unexpected(same.error());
  if (!*same) return fail("the process runs another program by now", program.path, ESTALE);
  return {};
}

StackRoots stack_roots(const gobin::GoBinary& binary, uint64_t load_bias) {
  constexpr std::array<std::string_view, 2> kNames = {"runtime.mstart", "runtime.mcall"};
  StackRoots roots;
  for (size_t i = 0; i < roots.size(); ++i) {
    if (const auto function = binary.function(kNames[i])) {
      roots[i] = {function->entry + load_bias, function->end + load_bias};
    }
  }
  return roots;
}

Expected<SpanWindow> span_window(const TargetLayout& layout) {
  constexpr uint32_t kWord = 8;
  constexpr uint32_t kCountBytes = 2;
  constexpr uint32_t kClassBytes = 1;
  const uint32_t first = std::min({layout.span_nelems, layout.span_alloc_count, layout.span_class});
  const uint32_t begin = first / kWord * kWord;
  const uint32_t end = begin + kSpanWindowBytes;
  const auto fits = [end](uint32_t offset, uint32_t bytes) {
    return offset + bytes <= end && offset % kWord + bytes <= kWord;
  };
  if (end > layout.span_bytes || !fits(layout.span_nelems, layout.span_index_bytes) ||
      !fits(layout.span_alloc_count, kCountBytes) || !fits(layout.span_class, kClassBytes))
    return fail("the counts of a span lie too far apart in this version of Go");
  const auto bit = [begin](uint32_t offset) { return 8 * (offset - begin); };
  return SpanWindow{begin, bit(layout.span_nelems), bit(layout.span_alloc_count), bit(layout.span_class)};
}

}  // namespace goheapd::probe
