// What the daemon asks the kernel to watch in one process: a plain value, made from a recognised binary and a process.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "daemon/base/expected.h"
#include "daemon/base/open_file.h"
#include "daemon/gobin/probe_sites.h"
#include "daemon/gobin/runtime_layout.h"
#include "daemon/model/event.h"
#include "daemon/model/process_key.h"

namespace goheapd::gobin {
class GoBinary;
}

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
  // For source spans.
  uint32_t m_p = 0;
  uint32_t p_mcache = 0;
  uint32_t span_start = 0;
  uint32_t span_freeindex = 0;
  uint32_t span_nelems = 0;
  uint32_t span_alloc_cache = 0;
  uint32_t span_alloc_bits = 0;
  uint32_t span_alloc_count = 0;
  uint32_t span_class = 0;
  uint32_t span_elemsize = 0;
  uint32_t span_index_bytes = 0;  // width of nelems and freeindex
  uint32_t span_bytes = 0;        // of an mspan
  uint32_t mcache_alloc = 0;
  // Why the world stops: stopTheWorldWithSema is told by its argument, or m.preemptoff says it.
  bool stop_has_reason = true;
  uint32_t m_preemptoff = 0;
};
TargetLayout target_layout(const gobin::RuntimeLayout& layout);

// Where stacks of threads begin; empty ranges where the binary lacks one.
using StackRoots = std::array<gobin::CodeRange, 2>;
StackRoots stack_roots(const gobin::GoBinary& binary, uint64_t load_bias);

// What the program reads of an mspan at each refill: kSpanWindowBytes at `offset`, and the first bits of fields in there.
inline constexpr uint32_t kSpanWindowBytes = 64;
struct SpanWindow {
  uint32_t offset = 0;
  uint32_t nelems_bit = 0;
  uint32_t alloc_count_bit = 0;
  uint32_t class_bit = 0;
};
// Error: the fields are not within one window, or it would reach beyond the mspan.
Expected<SpanWindow> span_window(const TargetLayout& layout);

// Probes that come and go together: one link and one recording switch each.
enum class ProbeGroup : unsigned char {
  gc,       // the collector's cycles, and the runs that they cut
  sampled,  // births and deaths by the runtime's sampler
  exact,    // every allocation
  spans,    // runs of span classes, where the runtime's sampler is off
};
inline constexpr size_t kProbeGroups = 4;
ProbeGroup group_of(gobin::ProbeRole role);

// A set of groups.
class ProbeGroups {
 public:
  constexpr ProbeGroups() = default;
  constexpr ProbeGroups(std::initializer_list<ProbeGroup> groups) {
    for (const ProbeGroup group : groups) bits_ |= bit(group);
  }
  static constexpr ProbeGroups all() {
    return {ProbeGroup::gc, ProbeGroup::sampled, ProbeGroup::exact, ProbeGroup::spans};
  }
  constexpr bool contains(ProbeGroup group) const { return (bits_ & bit(group)) != 0; }
  constexpr bool operator==(const ProbeGroups&) const = default;

 private:
  static constexpr unsigned bit(ProbeGroup group) { return 1U << static_cast<unsigned>(group); }
  unsigned bits_ = 0;
};

// As wire::kStormHits.
inline constexpr uint64_t kStormHits = 16384;

// The program of a process. By the path alone it would be another one as soon as the process executes something.
struct RunningFile {
  std::string path;                      // "/proc/PID/exe": what the process runs at present
  std::shared_ptr<const OpenFile> file;  // what it ran when we looked, which the points below belong to
};
// Error: the process runs another file by now (errno ESTALE), or there is no such process any more.
Expected<void> check_still_runs(const RunningFile& program);

struct AttachRequest {
  model::ProcessKey process;
  RunningFile program;
  // Address in the process - vaddr in the file.
  uint64_t load_bias = 0;
  TargetLayout layout;
  // What is copied from the process's memory at the end of a GC cycle: address (0 = not known) and length.
  std::array<std::pair<uint64_t, uint32_t>, model::kGcParts> gc_parts{};
  uint64_t gc_leak_check = 0;  // address of a byte; 0 = the version has none
  uint64_t gc_triggered = 0;   // address of gcController.triggered; 0 = not known
  // Functions, as addresses in the process, at which the walk of a stack ends.
  StackRoots stack_roots{};
  // probe_sites().sampled(), .exact(), .spans(), .gc(), or several of them.
  std::vector<gobin::ProbePoint> points;
  // The kill switch: kStormHits hits within less than this on one CPU stop the recording of all groups but gc and send a
  // model::HitStorm at once. 0 = never.
  uint64_t storm_ns = 0;
  // For the group spans: mheap_.sweepgen in the process, how many bytes there are to a sample (model::SpanRunOpened), and up to
  // how many the kernel may make them while there are hundreds of samples in a tenth of a second.
  uint64_t sweepgen_address = 0;
  uint64_t mean_distance = 0;
  uint64_t burst_distance = 0;
  // The group exact is for a window: it counts only while Collector::record_window() says.
  bool for_window = false;
};

}  // namespace goheapd::probe
