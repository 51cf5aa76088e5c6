// What the daemon asks the kernel to watch in one process: a plain value, made from a recognised binary and a process.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "daemon/gobin/probe_sites.h"
#include "daemon/gobin/runtime_layout.h"
#include "daemon/model/process_key.h"

namespace goheapd::probe {

// Offsets and rules of the target's Go version, for the programs in the kernel.
struct TargetLayout {
  uint32_t g_m = 0;
  uint32_t m_curg = 0;
  uint32_t g_goid = 0;
  uint32_t special_kind = 0;
  uint32_t special_bucket = 0;  // specialprofile.b
  uint32_t type_ptr_bytes = 0;
  uint32_t max_small_size = 0;  // larger objects have size class 0
  // Objects with pointers above this size (up to max_small_size) carry a header of 8 bytes; 0 = this version
  // has none.
  uint32_t malloc_header_over = 0;
  uint8_t profile_special_kind = 0;
};
TargetLayout target_layout(const gobin::RuntimeLayout& layout);

struct AttachRequest {
  model::ProcessKey process;
  // Of the executable as the kernel shall open it: "/proc/PID/exe" names the file that really runs.
  std::string path;
  // Address in the process - vaddr in the file.
  uint64_t load_bias = 0;
  TargetLayout layout;
  // probe_sites().sampled(), .exact(), or both of a binary.
  std::vector<gobin::ProbePoint> points;
};

}  // namespace goheapd::probe
