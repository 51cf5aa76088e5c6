// What one garbage collection left in the runtime's variables.
//
//   parts of memory ──▶ copied by a probe at runtime.mProf_Flush ──▶ model::GcCycleMemory ──▶ model::GcCycle
//   (gc_cycle_parts)                                                  (decode_gc_cycle)
//
// https://github.com/golang/go/blob/go1.24.4/src/runtime/mgc.go#L1241 prints the same variables.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "daemon/base/expected.h"
#include "daemon/gobin/runtime_layout.h"
#include "daemon/model/event.h"
#include "daemon/model/gc_cycle.h"

namespace goheapd::runtime {

struct MemoryRange {
  uint64_t address = 0;
  uint32_t bytes = 0;
};

// Addresses of the runtime's variables, in the file or in a process.
struct GcVariables {
  uint64_t work = 0;
  uint64_t gc_controller = 0;
  uint64_t memstats = 0;
  uint64_t runtime_init_time = 0;
};

// What has to be copied, in the order of model::GcCycleMemory::parts.
std::array<MemoryRange, model::kGcParts> gc_cycle_parts(const gobin::RuntimeLayout& layout,
                                                        const GcVariables& variables);

// Error: the parts are too short, or no cycle has ended there: mProf_Flush runs in the middle of a cycle, too, with
// GODEBUG=gcstoptheworld=2.
Expected<model::GcCycle> decode_gc_cycle(const gobin::RuntimeLayout& layout,
                                         const model::GcCycleMemory& memory);

}  // namespace goheapd::runtime
