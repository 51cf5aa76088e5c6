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
// A probe that wants what a callee returned goes to the branch that tests it (R): functions cannot be probed where they
// return without single-stepping, and return probes break Go's stacks.
//
//          call (*mcentral).cacheSpan
//          test %rax,%rax
//     R    je   throw              emulated; once per call that returned; rax is the result, rbp the function's own
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

//   profile_alloc        runtime.profilealloc(mp, x, size)         a sample is taken             ┐
//   set_profile_bucket   runtime.setprofilebucket(p, b)            its object and bucket         │ sampled mode
//   free_special         runtime.freeSpecial(s, p, size)           the object is freed           ┘
//   profile_flush        runtime.mProf_Flush()                     end of a GC cycle             ┐
//   profile_post_sweep   runtime.mProf_PostSweep()                 end of a forced GC            │ the collector, in
//   gc_mark_termination  runtime.gcMarkTermination()               marking is about to end       │ all modes that have
//   world_stop           runtime.stopTheWorldWithSema(reason)      all goroutines are stopped    │ probes
//   world_start          runtime.startTheWorldWithSema(..)         and go on                     ┘
//   malloc               runtime.mallocgc*(size, typ, ..)          every allocation once         } exact mode
//   span_refill          behind the call of (*mcentral).cacheSpan  a P takes a span for a class  ┐
//   span_release         runtime.(*mcache).releaseAll(c)           a GC takes all of them back   │ sampled mode,
//   span_uncache         runtime.(*mcentral).uncacheSpan(c, s)     .. one of them, for builds    │ source spans
//                                                                  with copies of releaseAll     │
//   span_large           behind the call of (*mheap).alloc         a large object's span         ┘
enum class ProbeRole : unsigned char {
  profile_alloc,
  set_profile_bucket,
  free_special,
  profile_flush,
  profile_post_sweep,
  gc_mark_termination,
  world_stop,
  world_start,
  malloc,
  span_refill,
  span_release,
  span_uncache,
  span_large,
};
std::string_view name_of(ProbeRole role);

enum class SiteKind : unsigned char {
  after_frame,
  push_frame_pointer,
  stack_check,
  entry,
  result_branch,  // the test of a call's result right behind it: the result is still in its register
};                // F, P, J, entry, R

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
  // Mode sampled, source spans: see daemon/model/event.h. With the end of GC cycles.
  const Expected<std::vector<ProbePoint>>& spans() const { return spans_; }
  // What a GC cycle passes, whatever else is watched: profile_flush, and gc_mark_termination where a version needs it. And all
  // that stops the program, where both functions can carry a probe.
  const Expected<std::vector<ProbePoint>>& gc() const { return gc_; }

 private:
  Expected<std::vector<ProbePoint>> sampled_;
  Expected<std::vector<ProbePoint>> exact_;
  Expected<std::vector<ProbePoint>> spans_;
  Expected<std::vector<ProbePoint>> gc_;
};

// The candidates in one function, best first. `arguments` are the registers that the probe reads; `hot` prefers F to P,
// which saves a tenth of a hit. `file_offset` maps a vaddr to its place in the file. Empty: nothing is usable.
std::vector<SiteCandidate> site_candidates(
    const FunctionCode& function, Arch arch, RegisterSet arguments, bool hot,
    const std::function<std::optional<uint64_t>(uint64_t)>& file_offset);

// The conditional branches that test the result of each call of the function at `callee`, before anything has
// overwritten it. nullopt: a call is not followed by such a branch, or the branch is reached without the call.
std::optional<std::vector<SiteCandidate>> result_branches(
    const FunctionCode& function, Arch arch, uint64_t callee,
    const std::function<std::optional<uint64_t>(uint64_t)>& file_offset);

// The probes of source spans.
Expected<std::vector<ProbePoint>> find_span_points(const ElfFile& elf, const RuntimeLayout& layout,
                                                   const FunctionLookup& functions,
                                                   const InlineCopies& copies);

// True if every kernel since 5.10 emulates or simulates this instruction under a uprobe.
bool emulated_everywhere(const Instruction& instruction, Arch arch);

}  // namespace goheapd::gobin
