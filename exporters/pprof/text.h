// A heap snapshot as people read it: what Go's /debug/pprof/heap?debug=1 prints.
#pragma once

#include <string>

#include "daemon/model/memory_reading.h"
#include "daemon/model/snapshot.h"

namespace goheapd::exporters::pprof {

// The layout of https://github.com/golang/go/blob/go1.23.0/src/runtime/pprof/pprof.go#L622 (writeHeapInternal):
// a header with totals and twice the sampling rate, then a record per sample, smallest inuse first (as Go 1.23 and
// later), values as recorded and NOT scaled, return addresses, and frames behind '#'. Two differences: inlined frames
// have no address of their own here, and before the runtime.MemStats at the end there are the profile's comments.
// `memory`: what is known of these statistics; null = nothing.
std::string encode_text(const model::HeapSnapshot& snapshot, const model::MemStatsReading* memory = nullptr);

// A generic function's name as Go prints it: "main.F[go.shape.int]" is "main.F[...]".
std::string name_for_print(const std::string& name);

}  // namespace goheapd::exporters::pprof
