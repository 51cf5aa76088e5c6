// What the daemon asks the kernel to watch in one process: a plain value, made from a recognised binary and a process.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
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

// Probes that come and go together: one link and one recording switch each.
enum class ProbeGroup : unsigned char {
  gc,       // the collector's cycles
  sampled,  // births and deaths by the runtime's sampler
  exact,    // every allocation
};
inline constexpr size_t kProbeGroups = 3;
ProbeGroup group_of(gobin::ProbeRole role);

// A set of groups.
class ProbeGroups {
 public:
  constexpr ProbeGroups() = default;
  constexpr ProbeGroups(std::initializer_list<ProbeGroup> groups) {
    for (const ProbeGroup group : groups) bits_ |= bit(group);
  }
  static constexpr ProbeGroups all() { return {ProbeGroup::gc, ProbeGroup::sampled, ProbeGroup::exact}; }
  constexpr bool contains(ProbeGroup group) const { return (bits_ & bit(group)) != 0; }
  constexpr bool operator==(const ProbeGroups&) const = default;

 private:
  static constexpr unsigned bit(ProbeGroup group) { return 1U << static_cast<unsigned>(group); }
  unsigned bits_ = 0;
};

struct AttachRequest {
  model::ProcessKey process;
  // Of the executable as the kernel shall open it: "/proc/PID/exe" names the file that really runs.
  std::string path;
  // Address in the process - vaddr in the file.
  uint64_t load_bias = 0;
  TargetLayout layout;
  // probe_sites().sampled(), .exact(), or both of a binary.
  std::vector<gobin::ProbePoint> points;
  // The kill switch: wire::kStormHits (1024) hits within less than this on one CPU stop all recording and send a
  // model::HitStorm at once. 0 = never.
  uint64_t storm_ns = 0;
};

}  // namespace goheapd::probe
