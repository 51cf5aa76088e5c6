// What the loaded programs are made of, without loading them.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <gtest/gtest.h>
#include <heap.skel.h>

#include <algorithm>
#include <memory>
#include <span>
#include <string>

namespace goheapd::testing {
namespace {

bool is_tail_call(const bpf_insn& instruction) {
  return instruction.code == (BPF_JMP | BPF_CALL) && instruction.src_reg == 0 &&
         instruction.imm == BPF_FUNC_tail_call;
}

// Each program on a uprobe has the tail call that keeps it off the CPU's private stack (bpf/maps.bpf.h): a compiler that
// drops it would bring back a kernel oops that comes once in many runs.
TEST(PrivateStack, IsRefusedByAllProgramsOnUprobes) {
  const std::unique_ptr<heap_bpf, void (*)(heap_bpf*)> skeleton(heap_bpf__open(), heap_bpf__destroy);
  ASSERT_TRUE(skeleton);
  int programs = 0;
  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, skeleton->obj) {
    if (std::string(bpf_program__section_name(program)) != "uprobe") continue;
    ++programs;
    const std::span instructions(bpf_program__insns(program), bpf_program__insn_cnt(program));
    EXPECT_EQ(std::ranges::count_if(instructions, is_tail_call), 1) << bpf_program__name(program);
  }
  EXPECT_EQ(programs, 4);
}

}  // namespace
}  // namespace goheapd::testing
