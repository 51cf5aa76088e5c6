#include "daemon/probe/breakpoint.h"

#include <algorithm>
#include <array>

namespace goheapd::probe {
namespace {

constexpr uint8_t kInt3 = 0xcc;
constexpr uint8_t kCall = 0xe8;
// Newer kernels replace it by a call of their own.
constexpr std::array<uint8_t, 5> kNop5 = {0x0f, 0x1f, 0x44, 0x00, 0x00};
// BRK #imm16; the kernel's uprobes have a number of their own, which is none of our business.
constexpr uint32_t kBrk = 0xd4200000;
constexpr uint32_t kBrkMask = 0xffe0001f;

uint32_t arm64_instruction(std::span<const uint8_t> bytes) {
  return uint32_t{bytes[0]} | uint32_t{bytes[1]} << 8 | uint32_t{bytes[2]} << 16 | uint32_t{bytes[3]} << 24;
}

bool is_brk(std::span<const uint8_t> bytes) { return (arm64_instruction(bytes) & kBrkMask) == kBrk; }

}  // namespace

bool is_breakpoint(gobin::Arch arch, std::span<const uint8_t, kBreakpointBytes> found,
                   std::span<const uint8_t> original) {
  // The kernel puts no probe where the file itself has a breakpoint.
  if (arch == gobin::Arch::arm64)
    return is_brk(found) && original.size() >= kBreakpointBytes && !is_brk(original);
  if (original.empty() || original[0] == kInt3) return false;
  return found[0] == kInt3 || (found[0] == kCall && std::ranges::equal(original, kNop5));
}

}  // namespace goheapd::probe
