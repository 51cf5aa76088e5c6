// What the daemon asks the kernel to watch in one process. Plain values, made from a recognised binary and a
// process.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "daemon/model/process_key.h"

namespace goheapd::probe {

enum class ProbeRole : unsigned char {
  set_profile_bucket,  // runtime.setprofilebucket      ┐
  free_special,        // runtime.freeSpecial           │ sampled mode
  profile_alloc,       // runtime.profilealloc          │
  profile_flush,       // runtime.mProf_Flush           │
  profile_post_sweep,  // runtime.mProf_PostSweep       ┘
  malloc,              // a member of the set of functions that sees every allocation once (exact mode)
};

// What the function of a malloc site is known to allocate.
enum class SitePointers : unsigned char { by_type, always, never };

// One instruction that can carry the probe.
struct SiteCandidate {
  uint64_t file_offset = 0;
  uint64_t address = 0;       // in the process: vaddr + load bias
  bool filter_taken = false;  // the `jbe` of the stack check: hits on which it jumps do not count
  bool own_frame = false;     // the function's frame is set up; else [rsp] is the return address
};

// A function to watch, with the instructions that can serve, best first: the kernel may refuse one.
struct ProbePoint {
  ProbeRole role = ProbeRole::malloc;
  std::string function;
  uint32_t min_size = 0;  // malloc: only sizes above this
  SitePointers pointers = SitePointers::by_type;
  std::vector<SiteCandidate> candidates;
};

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

struct AttachRequest {
  model::ProcessKey process;
  std::string
      path;  // of the executable as the kernel shall open it: "/proc/PID/exe" names the file that really runs
  TargetLayout layout;
  std::vector<ProbePoint> points;
};

}  // namespace goheapd::probe
