// A profile as the owner thread hands it over: counts and program counters, no names. Copying one is cheap
// (stacks are shared), so the owner never waits for symbols.
#pragma once

#include <compare>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/expected.h"
#include "daemon/model/process_key.h"
#include "daemon/model/snapshot.h"

namespace goheapd::profile {

using StackPtr = std::shared_ptr<const std::vector<uint64_t>>;

// What makes two samples of one process the same sample at two moments.
struct SampleKey {
  uint64_t stack = 0;  // bucket address, or stack hash in exact mode
  uint64_t type = 0;
  uint32_t size_class = 0;
  bool tiny = false;
  auto operator<=>(const SampleKey&) const = default;
};

struct RawSample {
  SampleKey key;
  StackPtr stack;              // innermost first
  std::string_view note = {};  // static text, shown in place of a stack that is empty
  uint64_t object_bytes = 0;
  bool shares_class =
      false;  // part of it may belong to another stack of the same size class, and the reverse
  bool is_remainder = false;    // what no stack of its size class was given: one may get it later
  model::HeapValues published;  // counts as the runtime publishes them (as of a completed GC cycle), unscaled
  int64_t now_alloc_objects = 0;  // allocations up to now, unscaled; equals `published` where there is no lag
  int64_t now_alloc_bytes = 0;
};

struct RawSnapshot {
  model::ProcessKey process;
  std::string comm;
  std::string exe;
  // Moments by CLOCK_BOOTTIME, and of the later one what the wall clock said: it may be set in between.
  int64_t start_boot_ns = 0;
  int64_t end_boot_ns = 0;
  int64_t end_wall_ns = 0;
  uint64_t sample_rate = 1;
  bool logical_stacks = true;  // stacks of runtime buckets: inlined frames have pseudo pcs of their own
  bool has_inuse = true;
  bool is_delta = false;
  bool is_scaled = false;  // the values of `samples` are estimates already; sample_rate is only told
  uint32_t gc_cycle = 0;
  // Of one process the books can begin anew, and with them the values of all samples ...
  uint32_t books = 0;
  // ... unless each is the runtime's own record, which is the same whoever reads it.
  bool is_of_records = false;
  std::string mode;
  std::string source;
  std::vector<std::string> comments;
  std::vector<RawSample> samples;
  // Allocations that were counted one by one while the others were sampled, or before: return addresses, not to be
  // scaled, no inuse.
  std::vector<RawSample> counted;
};

// What happened between two snapshots of one process: allocations up to now, and the change of the published
// inuse. Both ends are scaled with the end's rate, so a rate change cannot make differences out of equal
// counts. What a stack has been given of a remainder in between was allocated before, and so it is not in the difference. Samples without any difference are left out. Error if the two are not of the same process, or of
// sources or books that cannot be compared.
Expected<RawSnapshot> difference(const RawSnapshot& end, const RawSnapshot& begin);

}  // namespace goheapd::profile
