#include "daemon/gobin/disassembler.h"

#include <capstone/capstone.h>

#include <algorithm>
#include <cstring>

namespace goheapd::gobin {
namespace {

// g.stackguard0 and g.stackguard1, the same in all supported versions:
// https://github.com/golang/go/blob/go1.24.4/src/runtime/runtime2.go#L405
constexpr int64_t kStackGuard0 = 16;
constexpr int64_t kStackGuard1 = 24;

// Closes what cs_open opened.
class Capstone {
 public:
  explicit Capstone(Arch arch) {
    const bool arm64 = arch == Arch::arm64;
    if (cs_open(arm64 ? CS_ARCH_ARM64 : CS_ARCH_X86, arm64 ? CS_MODE_LITTLE_ENDIAN : CS_MODE_64, &handle_) !=
        CS_ERR_OK) {
      return;
    }
    open_ = cs_option(handle_, CS_OPT_DETAIL, CS_OPT_ON) == CS_ERR_OK;
    instruction_ = open_ ? cs_malloc(handle_) : nullptr;
  }
  Capstone(const Capstone&) = delete;
  Capstone& operator=(const Capstone&) = delete;
  ~Capstone() {
    if (instruction_ != nullptr) cs_free(instruction_, 1);
    if (handle_ != 0) cs_close(&handle_);
  }

  bool ok() const { return instruction_ != nullptr; }
  csh handle() const { return handle_; }
  cs_insn* instruction() const { return instruction_; }

 private:
  csh handle_ = 0;
  bool open_ = false;
  cs_insn* instruction_ = nullptr;
};

// Number of a general purpose register in machine code, whatever its width; -1 = another register.
int amd64_register(unsigned reg) {
  static constexpr std::array<std::array<x86_reg, 5>, 16> kNames = {{
      {X86_REG_RAX, X86_REG_EAX, X86_REG_AX, X86_REG_AL, X86_REG_AH},
      {X86_REG_RCX, X86_REG_ECX, X86_REG_CX, X86_REG_CL, X86_REG_CH},
      {X86_REG_RDX, X86_REG_EDX, X86_REG_DX, X86_REG_DL, X86_REG_DH},
      {X86_REG_RBX, X86_REG_EBX, X86_REG_BX, X86_REG_BL, X86_REG_BH},
      {X86_REG_RSP, X86_REG_ESP, X86_REG_SP, X86_REG_SPL},
      {X86_REG_RBP, X86_REG_EBP, X86_REG_BP, X86_REG_BPL},
      {X86_REG_RSI, X86_REG_ESI, X86_REG_SI, X86_REG_SIL},
      {X86_REG_RDI, X86_REG_EDI, X86_REG_DI, X86_REG_DIL},
      {X86_REG_R8, X86_REG_R8D, X86_REG_R8W, X86_REG_R8B},
      {X86_REG_R9, X86_REG_R9D, X86_REG_R9W, X86_REG_R9B},
      {X86_REG_R10, X86_REG_R10D, X86_REG_R10W, X86_REG_R10B},
      {X86_REG_R11, X86_REG_R11D, X86_REG_R11W, X86_REG_R11B},
      {X86_REG_R12, X86_REG_R12D, X86_REG_R12W, X86_REG_R12B},
      {X86_REG_R13, X86_REG_R13D, X86_REG_R13W, X86_REG_R13B},
      {X86_REG_R14, X86_REG_R14D, X86_REG_R14W, X86_REG_R14B},
      {X86_REG_R15, X86_REG_R15D, X86_REG_R15W, X86_REG_R15B},
  }};
  for (size_t number = 0; number < kNames.size(); ++number) {
    for (x86_reg name : kNames[number]) {
      if (name != X86_REG_INVALID && name == reg) return static_cast<int>(number);
    }
  }
  return -1;
}

int arm64_register(unsigned reg) {
  if (reg >= ARM64_REG_X0 && reg <= ARM64_REG_X28) return static_cast<int>(reg - ARM64_REG_X0);
  if (reg >= ARM64_REG_W0 && reg <= ARM64_REG_W30) return static_cast<int>(reg - ARM64_REG_W0);
  if (reg == ARM64_REG_X29) return 29;
  if (reg == ARM64_REG_X30) return 30;
  return -1;
}

RegisterSet written_registers(const Capstone& capstone, int (*number_of)(unsigned)) {
  cs_regs read, written;
  uint8_t read_count = 0, written_count = 0;
  if (cs_regs_access(capstone.handle(), capstone.instruction(), read, &read_count, written, &written_count) !=
      CS_ERR_OK) {
    return ~RegisterSet{0};  // unknown: count every register as lost
  }
  RegisterSet set = 0;
  for (uint8_t i = 0; i < written_count; ++i) {
    if (int number = number_of(written[i]); number >= 0) set |= register_bit(static_cast<unsigned>(number));
  }
  return set;
}

void read_amd64(const Capstone& capstone, Instruction& out) {
  const cs_insn& insn = *capstone.instruction();
  const cs_x86& x86 = insn.detail->x86;
  out.is_nop = insn.id == X86_INS_NOP;
  out.written = written_registers(capstone, amd64_register);

  const bool direct = x86.op_count == 1 && x86.operands[0].type == X86_OP_IMM;
  if (direct) out.target = static_cast<uint64_t>(x86.operands[0].imm);
  if (insn.id == X86_INS_CALL) {
    out.flow = direct ? Flow::call : Flow::indirect_call;
  } else if (insn.id == X86_INS_JMP) {
    out.flow = direct ? Flow::jump : Flow::indirect_jump;
  } else if (insn.id == X86_INS_RET || insn.id == X86_INS_RETF || insn.id == X86_INS_UD2) {
    out.flow = Flow::ret;
  } else if (cs_insn_group(capstone.handle(), &insn, X86_GRP_JUMP)) {
    out.flow = Flow::conditional;
  } else {
    out.target = 0;
  }

  for (uint8_t i = 0; i < x86.op_count; ++i) {
    const cs_x86_op& operand = x86.operands[i];
    if (operand.type != X86_OP_MEM) continue;
    if (operand.mem.base == X86_REG_RIP && !out.is_nop) {
      out.data_address = insn.address + insn.size + static_cast<uint64_t>(operand.mem.disp);
    }
    if (insn.id == X86_INS_CMP && operand.mem.base == X86_REG_R14 && operand.mem.index == X86_REG_INVALID &&
        (operand.mem.disp == kStackGuard0 || operand.mem.disp == kStackGuard1)) {
      out.loads_stack_guard = true;
    }
    if (insn.id == X86_INS_LEA && operand.mem.base == X86_REG_RSP && x86.operands[0].reg == X86_REG_RBP) {
      out.sets_frame_pointer = true;
    }
  }
  if (insn.id == X86_INS_MOV && x86.op_count == 2 && x86.operands[0].type == X86_OP_REG &&
      x86.operands[0].reg == X86_REG_RBP && x86.operands[1].type == X86_OP_REG &&
      x86.operands[1].reg == X86_REG_RSP) {
    out.sets_frame_pointer = true;
  }
}

// Pages that ADRP has put into registers: an address needs a second instruction.
using Pages = std::array<std::optional<uint64_t>, 31>;

void read_arm64(const Capstone& capstone, Pages& pages, Instruction& out) {
  const cs_insn& insn = *capstone.instruction();
  const cs_arm64& arm = insn.detail->arm64;
  out.is_nop = insn.id == ARM64_INS_NOP;
  // capstone counts the first operand of a comparison as written.
  const bool compares = insn.id == ARM64_INS_CMP || insn.id == ARM64_INS_CMN || insn.id == ARM64_INS_TST;
  out.written = compares ? 0 : written_registers(capstone, arm64_register);

  const auto immediate = [&](unsigned index) -> std::optional<int64_t> {
    if (index >= arm.op_count || arm.operands[index].type != ARM64_OP_IMM) return std::nullopt;
    return arm.operands[index].imm;
  };
  const auto reg = [&](unsigned index) -> int {
    if (index >= arm.op_count || arm.operands[index].type != ARM64_OP_REG) return -1;
    return arm64_register(arm.operands[index].reg);
  };
  switch (insn.id) {
    case ARM64_INS_B:
      out.flow = arm.cc == ARM64_CC_INVALID || arm.cc == ARM64_CC_AL || arm.cc == ARM64_CC_NV
                     ? Flow::jump
                     : Flow::conditional;
      out.target = static_cast<uint64_t>(immediate(0).value_or(0));
      break;
    case ARM64_INS_CBZ:
    case ARM64_INS_CBNZ:
      out.flow = Flow::conditional;
      out.target = static_cast<uint64_t>(immediate(1).value_or(0));
      break;
    case ARM64_INS_TBZ:
    case ARM64_INS_TBNZ:
      out.flow = Flow::conditional;
      out.target = static_cast<uint64_t>(immediate(2).value_or(0));
      break;
    case ARM64_INS_BL:
      out.flow = Flow::call;
      out.target = static_cast<uint64_t>(immediate(0).value_or(0));
      break;
    case ARM64_INS_BLR:
      out.flow = Flow::indirect_call;
      break;
    case ARM64_INS_BR:
      out.flow = Flow::indirect_jump;
      break;
    case ARM64_INS_RET:
    case ARM64_INS_BRK:
      out.flow = Flow::ret;
      break;
    default:
      break;
  }

  // ADRP x, page; then ADD y, x, #low or a load or store at [x, #low].
  if (insn.id == ARM64_INS_ADD && arm.op_count == 3 && reg(1) >= 0 && immediate(2)) {
    const unsigned shift = arm.operands[2].shift.type == ARM64_SFT_LSL ? arm.operands[2].shift.value : 0;
    if (auto page = pages[static_cast<size_t>(reg(1))]) {
      out.data_address = *page + (static_cast<uint64_t>(*immediate(2)) << shift);
    }
  }
  for (uint8_t i = 0; i < arm.op_count; ++i) {
    const cs_arm64_op& operand = arm.operands[i];
    if (operand.type != ARM64_OP_MEM) continue;
    const int base = arm64_register(operand.mem.base);
    if (base >= 0 && operand.mem.index == ARM64_REG_INVALID && pages[static_cast<size_t>(base)]) {
      out.data_address = *pages[static_cast<size_t>(base)] + static_cast<uint64_t>(int64_t{operand.mem.disp});
    }
    if (insn.id == ARM64_INS_LDR && base == 28 &&
        (operand.mem.disp == kStackGuard0 || operand.mem.disp == kStackGuard1)) {
      out.loads_stack_guard = true;
    }
  }
  const bool reads_sp =
      arm.op_count == 3 && arm.operands[1].type == ARM64_OP_REG && arm.operands[1].reg == ARM64_REG_SP;
  if ((insn.id == ARM64_INS_ADD || insn.id == ARM64_INS_SUB) && reg(0) == 29 && reads_sp)
    out.sets_frame_pointer = true;

  for (unsigned number = 0; number < pages.size(); ++number) {
    if (out.written & register_bit(number)) pages[number].reset();
  }
  if (insn.id == ARM64_INS_ADRP && reg(0) >= 0 && immediate(1)) {
    pages[static_cast<size_t>(reg(0))] = static_cast<uint64_t>(*immediate(1));
  }
}

// Capstone does not know all of arm64 (the atomic instructions of 8.1, say), but every instruction has four bytes
// there. False: what follows cannot be found.
bool skip_unknown(Arch arch, const uint8_t*& code, size_t& left, uint64_t& address,
                  std::vector<Instruction>& out) {
  constexpr size_t kWord = 4;
  if (arch != Arch::arm64 || left < kWord) return false;
  Instruction& unknown = out.emplace_back();
  unknown.address = address;
  unknown.size = kWord;
  std::memcpy(unknown.bytes.data(), code, kWord);
  unknown.written = ~RegisterSet{0};
  unknown.text = "unknown";
  code += kWord;
  left -= kWord;
  address += kWord;
  return true;
}

}  // namespace

Expected<std::vector<Instruction>> disassemble(const FunctionCode& function, Arch arch) {
  const Capstone capstone(arch);
  if (!capstone.ok()) return fail("the disassembler does not start", std::string(function.name));
  std::vector<Instruction> out;
  const auto* code = reinterpret_cast<const uint8_t*>(function.code.data());
  size_t left = std::min(function.code.size(), kMaxDisassembledBytes);
  uint64_t address = function.entry;
  Pages pages;
  while (left > 0) {
    if (!cs_disasm_iter(capstone.handle(), &code, &left, &address, capstone.instruction())) {
      if (!skip_unknown(arch, code, left, address, out)) break;
      pages = {};
      continue;
    }
    const cs_insn& insn = *capstone.instruction();
    Instruction& next = out.emplace_back();
    next.address = insn.address;
    next.size = static_cast<uint8_t>(std::min<size_t>(insn.size, next.bytes.size()));
    std::memcpy(next.bytes.data(), insn.bytes, next.size);
    next.text = insn.mnemonic;
    if (insn.op_str[0] != 0) next.text += std::string(" ") + insn.op_str;
    if (arch == Arch::amd64) {
      read_amd64(capstone, next);
    } else {
      read_arm64(capstone, pages, next);
    }
    // Code that is reached from elsewhere may find other pages in the registers.
    if (next.flow == Flow::jump || next.flow == Flow::ret || next.flow == Flow::indirect_jump) pages = {};
  }
  return out;
}

}  // namespace goheapd::gobin
