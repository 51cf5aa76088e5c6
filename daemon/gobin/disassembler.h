// Machine code as a list of the few facts that probe placement and the search for runtime variables need.
// Only this folder's code meets these values; capstone stays inside disassembler.cpp.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "daemon/base/byte_view.h"
#include "daemon/base/expected.h"
#include "daemon/gobin/function_code.h"
#include "daemon/gobin/go_version.h"

namespace goheapd::gobin {

enum class Flow : unsigned char {
  sequential,
  conditional,  // jcc, cbz, tbnz, b.cond: may go to `target` or on
  jump,         // to `target`
  indirect_jump,
  call,  // of `target`
  indirect_call,
  ret,
};

// General purpose registers by their number in machine code: amd64 rax=0 rcx=1 rdx=2 rbx=3 rsp=4 rbp=5 rsi=6 rdi=7
// r8..r15; arm64 x0..x30 (29 frame pointer, 30 link register). The width of an access does not matter here.
using RegisterSet = uint32_t;
constexpr RegisterSet register_bit(unsigned number) { return RegisterSet{1} << number; }

struct Instruction {
  uint64_t address = 0;
  uint8_t size = 0;
  std::array<uint8_t, 16> bytes{};  // the first `size` of them
  Flow flow = Flow::sequential;
  bool is_nop = false;
  // amd64: mov %rsp,%rbp or lea x(%rsp),%rbp; arm64: add or sub of sp into x29. From here on the frame pointer is
  // this function's own.
  bool sets_frame_pointer = false;
  // Compares the stack pointer (or an address below it) with g.stackguard0 or g.stackguard1: the stack check.
  // On arm64 the load of the guard is what is marked; the compare follows.
  bool loads_stack_guard = false;
  uint64_t target = 0;  // of a direct jump or call
  std::optional<uint64_t>
      data_address;  // of a memory operand or address computation relative to the program counter
  RegisterSet written = 0;
  std::string text;  // "jbe 0x40d3f5", in Intel syntax on amd64
};

// Disassembles from the entry to the end of the function, but no more than kMaxDisassembledBytes. On amd64 it ends at the
// first bytes that are no instruction; on arm64 such a word counts as one that writes every register. Errors: only a disassembler that cannot start.
inline constexpr size_t kMaxDisassembledBytes = 64 * 1024;
Expected<std::vector<Instruction>> disassemble(const FunctionCode& function, Arch arch);

}  // namespace goheapd::gobin
