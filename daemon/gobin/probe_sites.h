// Where to put a uprobe into a function of the Go runtime.
//
// The cost and the truth of a probe depend on the instruction under it. The kernel emulates a few kinds (nop, jumps,
// calls, push) and single-steps all others, which is 2 to 20 times dearer. And a Go function starts with a stack
// check that, when the stack must grow or the goroutine is asked to yield, runs the function again from its first byte:
//
//   entry  cmp  0x10(%r14),%rsp     single-stepped; hit twice when the stack grows                (last resort)
//     J    jbe  morestack           emulated; hits with carry or zero flag set will come again    (filter those)
//     P    push %rbp                emulated; once per call; rbp is still the caller's, [rsp] the return address
//          mov  %rsp,%rbp
//          sub  $0x58,%rsp
//     F    test/jcc, nop, call ..   first emulated instruction behind that: once per call; rbp is the function's own
//
// On arm64 there is no P; J is `b.ls`, and at J the link register has the return address.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/byte_view.h"
#include "daemon/base/expected.h"
#include "daemon/gobin/disassembler.h"
#include "daemon/gobin/function_code.h"
#include "daemon/gobin/globals.h"
#include "daemon/gobin/inline_copies.h"
#include "daemon/gobin/runtime_layout.h"

namespace goheapd::gobin {

enum class ProbeRole : unsigned char {
  profile_alloc,       // runtime.profilealloc(mp, x, size)          a sample is taken      ┐
  set_profile_bucket,  // runtime.setprofilebucket(p, b)             its object and bucket  │ sampled
  free_special,        // runtime.freeSpecial(s, p, size)            the object is freed    │ mode
  profile_flush,       // runtime.mProf_Flush()                      end of a GC cycle      │
  profile_post_sweep,  // runtime.mProf_PostSweep()                  end of a forced GC     ┘
  malloc,              // runtime.mallocgc*(size, typ, ..)           every allocation once: exact mode
};
std::string_view name_of(ProbeRole role);

enum class SiteKind : unsigned char {
  after_frame,
  push_frame_pointer,
  stack_check,
  entry
};  // F, P, J, entry

enum class HitCost : unsigned char {
  emulated,
  filtered_emulated,  // emulated; hits on which the branch is taken must be ignored (see SiteKind::stack_check)
  single_step,
};
std::string_view name_of(HitCost cost);

// How the stack walk finds the function's caller when the probe is hit.
enum class CallerPlace : unsigned char {
  return_address,  // at [rsp] (amd64) or in the link register (arm64); the frame pointer is the caller's
  own_frame,       // the frame pointer is the function's own: start the walk there
};
std::string_view name_of(CallerPlace place);

struct SiteCandidate {
  SiteKind kind = SiteKind::entry;
  uint64_t vaddr = 0;
  uint64_t file_offset = 0;
  uint32_t function_offset = 0;
  std::array<uint8_t, 16> bytes{};  // of the instruction, the first `size` of them
  uint8_t size = 0;
  std::string text;  // of the instruction
  HitCost cost = HitCost::single_step;
  CallerPlace caller = CallerPlace::return_address;
  bool may_hit_twice = false;  // hits again when the stack grows, and nothing tells
  std::string reason;          // why here, in words
};

struct CodeRange {
  uint64_t begin = 0;
  uint64_t end = 0;
};

// What the objects of a malloc function are known to contain.
enum class PointerKnowledge : unsigned char { by_type, always, never };

struct ProbePoint {
  ProbeRole role = ProbeRole::malloc;
  std::string function;
  // malloc: sizes in bytes outside of [min_size, max_size] are counted by another point, or are no allocation (0).
  uint64_t min_size = 0;
  uint64_t max_size = UINT64_MAX;
  PointerKnowledge pointers = PointerKnowledge::by_type;
  // malloc: hits whose return address lies in here were already counted by another point. Link-time addresses.
  std::optional<CodeRange> ignored_caller;
  std::vector<SiteCandidate> candidates;  // best first: a kernel may refuse one
};

class ProbeSites {
 public:
  static ProbeSites find(const ElfFile& elf, const RuntimeLayout& layout, const FunctionLookup& functions,
                         const InlineCopies& copies);

  // Errors say which function is missing or has no usable instruction.
  const Expected<std::vector<ProbePoint>>& sampled() const { return sampled_; }
  const Expected<std::vector<ProbePoint>>& exact() const { return exact_; }

 private:
  Expected<std::vector<ProbePoint>> sampled_;
  Expected<std::vector<ProbePoint>> exact_;
};

// The candidates in one function, best first. `arguments` are the registers that the probe reads; `hot` prefers F to P,
// which saves a tenth of a hit. `file_offset` maps a vaddr to its place in the file. Empty: nothing is usable.
std::vector<SiteCandidate> site_candidates(
    const FunctionCode& function, Arch arch, RegisterSet arguments, bool hot,
    const std::function<std::optional<uint64_t>(uint64_t)>& file_offset);

// True if every kernel since 5.10 emulates or simulates this instruction under a uprobe.
bool emulated_everywhere(const Instruction& instruction, Arch arch);

}  // namespace goheapd::gobin
