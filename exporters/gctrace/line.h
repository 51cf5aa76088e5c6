#pragma once

#include <string>

#include "daemon/model/gc_cycle.h"

namespace goheapd::exporters::gctrace {

// The line that GODEBUG=gctrace=1 prints for the cycle, byte for byte, with its newline. All versions from 1.19 to 1.27
// print alike: https://github.com/golang/go/blob/go1.24.4/src/runtime/mgc.go#L1241
std::string line(const model::GcCycle& cycle);

}  // namespace goheapd::exporters::gctrace
