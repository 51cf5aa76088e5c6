#include "daemon/probe/own_function.h"

#include <charconv>
#include <fstream>
#include <string>

// Whole functions in assembly: a compiler might inline, clone or prefix anything else. The probed instruction
// is the first one; each function keeps what its caller relies on.
#if defined(__x86_64__)
asm(R"(
  .pushsection .text
  .p2align 4
  .type goheapd_probe_push, @function
goheapd_probe_push:
  push %rbp
  pop %rbp
  ret
  .size goheapd_probe_push, . - goheapd_probe_push
  .p2align 4
  .type goheapd_probe_branch, @function
goheapd_probe_branch:
  jbe 1f
1:
  ret
  .size goheapd_probe_branch, . - goheapd_probe_branch
  .p2align 4
  .type goheapd_probe_step, @function
goheapd_probe_step:
  mov %rsp, %rax
  ret
  .size goheapd_probe_step, . - goheapd_probe_step
  .popsection
)");
#elif defined(__aarch64__)
asm(R"(
  .pushsection .text
  .p2align 4
  .type goheapd_probe_push, @function
goheapd_probe_push:
  stp x29, x30, [sp, #-16]!
  ldp x29, x30, [sp], #16
  ret
  .size goheapd_probe_push, . - goheapd_probe_push
  .p2align 4
  .type goheapd_probe_branch, @function
goheapd_probe_branch:
  b.ls 1f
1:
  ret
  .size goheapd_probe_branch, . - goheapd_probe_branch
  .p2align 4
  .type goheapd_probe_step, @function
goheapd_probe_step:
  mov x9, sp
  ret
  .size goheapd_probe_step, . - goheapd_probe_step
  .popsection
)");
#endif

extern "C" {
void goheapd_probe_push();
void goheapd_probe_branch();
void goheapd_probe_step();
}

namespace goheapd::probe {
namespace {

// File offset of an address of ours, from /proc/self/maps ("start-end perms offset dev inode path").
Expected<uint64_t> file_offset_of(uint64_t address) {
  std::ifstream maps("/proc/self/maps");
  std::string line;
  while (std::getline(maps, line)) {
    const char* const end = line.data() + line.size();
    uint64_t start = 0;
    uint64_t limit = 0;
    uint64_t offset = 0;
    auto parsed = std::from_chars(line.data(), end, start, 16);
    if (parsed.ptr == end || *parsed.ptr != '-') continue;
    parsed = std::from_chars(parsed.ptr + 1, end, limit, 16);
    if (address < start || address >= limit) continue;
    const size_t permissions = static_cast<size_t>(parsed.ptr - line.data()) + 1;
    const size_t offset_at = permissions + 5;  // "r-xp "
    if (offset_at >= line.size()) continue;
    std::from_chars(line.data() + offset_at, end, offset, 16);
    return address - start + offset;
  }
  return fail("cannot find our own code in /proc/self/maps");
}

}  // namespace

Expected<OwnFunction> own_function(CostClass cost_class) {
  void (*function)() = goheapd_probe_push;
  if (cost_class == CostClass::branch) function = goheapd_probe_branch;
  if (cost_class == CostClass::single_step) function = goheapd_probe_step;
  const auto address = reinterpret_cast<uint64_t>(function);
  const auto offset = file_offset_of(address);
  if (!offset) return tl::unexpected(offset.error());
  return OwnFunction{function, address, *offset};
}

}  // namespace goheapd::probe
