#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "daemon/gobin/go_version.h"

namespace goheapd::probe {

// So much of an instruction in memory tells whether it is a probe.
inline constexpr size_t kBreakpointBytes = 4;

// Has the kernel put a probe where the file has the instruction `original`? `found` is what the process has there.
bool is_breakpoint(gobin::Arch arch, std::span<const uint8_t, kBreakpointBytes> found,
                   std::span<const uint8_t> original);

}  // namespace goheapd::probe
