// Functions of our own, to probe: made of single known instructions, one for each way in which the kernel
// gets past a breakpoint.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "daemon/base/expected.h"

namespace goheapd::probe {

enum class CostClass : unsigned char {
  push,         // push of the frame pointer: emulated, with a write to the stack
  branch,       // conditional jump: emulated
  single_step,  // anything else: executed out of line under the trap flag
};
inline constexpr size_t kCostClasses = 3;
inline constexpr std::array<std::string_view, kCostClasses> kCostClassNames = {"push", "branch",
                                                                               "single_step"};

struct OwnFunction {
  void (*call)();
  uint64_t address;      // of the instruction to probe, its first
  uint64_t file_offset;  // of that in /proc/self/exe
};
// Error: our own mapping was not found, which cannot happen with a mounted /proc.
Expected<OwnFunction> own_function(CostClass cost_class);

}  // namespace goheapd::probe
