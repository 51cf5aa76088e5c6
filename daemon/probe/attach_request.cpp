#include "daemon/probe/attach_request.h"

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
  };
}

}  // namespace goheapd::probe
