#include "daemon/gobin/probe_sites.h"

#include <algorithm>
#include <iterator>

namespace goheapd::gobin {
namespace {

enum class Branch : unsigned char { other, below, below_or_equal };

// Condition of a conditional branch as far as stack checks use it.
Branch branch_condition(const Instruction& instruction, Arch arch) {
  if (instruction.flow != Flow::conditional) return Branch::other;
  const auto& bytes = instruction.bytes;
  unsigned condition = 0;
  if (arch == Arch::arm64) {
    if (bytes[3] != 0x54) return Branch::other;  // not b.cond
    condition = bytes[0] & 15u;
    return condition == 9 ? Branch::below_or_equal : condition == 3 ? Branch::below : Branch::other;
  }
  condition = bytes[0] == 0x0f ? bytes[1] & 15u : bytes[0] & 15u;
  return condition == 6 ? Branch::below_or_equal : condition == 2 ? Branch::below : Branch::other;
}

bool pushes_frame_pointer(const Instruction& instruction, Arch arch) {
  return arch == Arch::amd64 && instruction.size == 1 && instruction.bytes[0] == 0x55;
}

// 0f 1f 44 00 00: kernel 6.18 turns it into a call that writes below the stack pointer and does not survive fork.
bool is_five_byte_nop(const Instruction& instruction) {
  static constexpr std::array<uint8_t, 5> kNop5 = {0x0f, 0x1f, 0x44, 0x00, 0x00};
  return instruction.size == kNop5.size() &&
         std::equal(kNop5.begin(), kNop5.end(), instruction.bytes.begin());
}

// Instructions on which every kernel refuses a uprobe.
bool refused_by_kernel(const Instruction& instruction, Arch arch) {
  if (arch == Arch::arm64) {
    // Literal loads and exclusive accesses.
    const unsigned top = instruction.bytes[3];
    return (top & 0x3b) == 0x18 || (top & 0x3f) == 0x08;
  }
  for (size_t i = 0; i < instruction.size; ++i) {
    switch (instruction.bytes[i]) {
      case 0xf0:
      case 0x26:
      case 0x2e:
      case 0x36:
      case 0x3e:
      case 0xcc:
        return true;
      case 0x66:
      case 0x67:
      case 0xf2:
      case 0xf3:
        continue;  // prefixes that are allowed
      default:
        return false;
    }
  }
  return false;
}

// What a walk over the first instructions of a function finds.
struct Landmarks {
  const Instruction* entry = nullptr;
  const Instruction* after_frame = nullptr;
  const Instruction* push = nullptr;
  const Instruction* stack_check = nullptr;
};

Landmarks find_landmarks(const std::vector<Instruction>& code, Arch arch, RegisterSet arguments) {
  Landmarks found;
  if (code.empty()) return found;
  found.entry = &code.front();
  std::vector<uint64_t> targets;
  for (const Instruction& instruction : code) {
    if (instruction.flow == Flow::conditional || instruction.flow == Flow::jump)
      targets.push_back(instruction.target);
  }
  const bool has_check =
      std::any_of(code.begin(), code.end(), [](const Instruction& i) { return i.loads_stack_guard; });
  bool checked = !has_check;  // NOSPLIT functions are never restarted
  bool guard_loaded = false;
  bool frame = false;
  RegisterSet lost = 0;
  for (const Instruction& instruction : code) {
    const bool is_entry = &instruction == found.entry;
    // An instruction that is jumped to may run twice or not at all per call.
    if (!is_entry && std::find(targets.begin(), targets.end(), instruction.address) != targets.end()) break;
    if (!checked && instruction.flow == Flow::conditional) {
      const Branch branch = branch_condition(instruction, arch);
      if (guard_loaded && branch == Branch::below_or_equal) {
        if ((lost & arguments) == 0) found.stack_check = &instruction;
        checked = true;
        continue;
      }
      if (branch == Branch::below) continue;  // huge frames: would the stack pointer wrap around?
    }
    guard_loaded = guard_loaded || instruction.loads_stack_guard;
    if (checked && (lost & arguments) == 0 && emulated_everywhere(instruction, arch)) {
      if (!frame && found.push == nullptr && pushes_frame_pointer(instruction, arch))
        found.push = &instruction;
      if (frame && found.after_frame == nullptr) found.after_frame = &instruction;
    }
    if (instruction.flow != Flow::sequential) break;  // behind it not every call arrives
    lost |= instruction.written;
    frame = frame || instruction.sets_frame_pointer;
  }
  return found;
}

std::string_view reason_of(SiteKind kind) {
  switch (kind) {
    case SiteKind::after_frame:
      return "first emulated instruction behind the frame setup: once per call, arguments still in registers";
    case SiteKind::push_frame_pointer:
      return "push of the frame pointer behind the stack check: once per call, arguments still in registers";
    case SiteKind::stack_check:
      return "branch of the stack check: exact if hits on which it is taken are ignored";
    case SiteKind::result_branch:
      return "branch on the result of a call: once per call, the result still in its register";
    case SiteKind::entry:
      break;
  }
  return "first instruction, for want of a better one: single-stepped, and hit twice when the stack grows";
}

SiteCandidate make_candidate(SiteKind kind, const Instruction& instruction, const FunctionCode& function,
                             uint64_t file_offset) {
  SiteCandidate site;
  site.kind = kind;
  site.vaddr = instruction.address;
  site.file_offset = file_offset;
  site.function_offset = static_cast<uint32_t>(instruction.address - function.entry);
  site.bytes = instruction.bytes;
  site.size = instruction.size;
  site.text = instruction.text;
  site.cost = kind == SiteKind::entry         ? HitCost::single_step
              : kind == SiteKind::stack_check ? HitCost::filtered_emulated
                                              : HitCost::emulated;
  site.caller = kind == SiteKind::after_frame || kind == SiteKind::result_branch
                    ? CallerPlace::own_frame
                    : CallerPlace::return_address;
  site.may_hit_twice = kind == SiteKind::entry;
  site.reason = reason_of(kind);
  return site;
}

}  // namespace

std::string_view name_of(HitCost cost) {
  static constexpr std::string_view kNames[] = {"emulated", "filtered_emulated", "single_step"};
  return kNames[static_cast<size_t>(cost)];
}

std::string_view name_of(CallerPlace place) {
  return place == CallerPlace::own_frame ? "own_frame" : "return_address";
}

// x86: branch_setup_xol_ops() and push_setup_xol_ops() of arch/x86/kernel/uprobes.c; arm64: decode-insn.c. Multi-byte nops
// are emulated only from 6.18 on, arm64's nop after 6.12.
bool emulated_everywhere(const Instruction& instruction, Arch arch) {
  if (arch == Arch::arm64)
    return instruction.flow != Flow::sequential && instruction.bytes[3] != 0xd4;  // not brk
  const auto& bytes = instruction.bytes;
  switch (instruction.size) {
    case 1:
      return bytes[0] == 0x90 || (bytes[0] & 0xf8) == 0x50;
    case 2:
      return (bytes[0] == 0x66 && bytes[1] == 0x90) || (bytes[0] == 0xf3 && bytes[1] == 0x90) ||
             bytes[0] == 0xeb || (bytes[0] & 0xf0) == 0x70 || (bytes[0] == 0x41 && (bytes[1] & 0xf8) == 0x50);
    case 5:
      return bytes[0] == 0xe8 || bytes[0] == 0xe9;
    case 6:
      return bytes[0] == 0x0f && (bytes[1] & 0xf0) == 0x80;
    default:
      return false;
  }
}

std::vector<SiteCandidate> site_candidates(
    const FunctionCode& function, Arch arch, RegisterSet arguments, bool hot,
    const std::function<std::optional<uint64_t>(uint64_t)>& file_offset) {
  std::vector<SiteCandidate> sites;
  auto code = disassemble(function, arch);
  if (!code) return sites;
  const Landmarks found = find_landmarks(*code, arch, arguments);
  const auto add = [&](SiteKind kind, const Instruction* instruction) {
    if (instruction == nullptr || is_five_byte_nop(*instruction) || refused_by_kernel(*instruction, arch))
      return;
    if (auto offset = file_offset(instruction->address)) {
      sites.push_back(make_candidate(kind, *instruction, function, *offset));
    }
  };
  if (hot) add(SiteKind::after_frame, found.after_frame);
  add(SiteKind::push_frame_pointer, found.push);
  if (!hot) add(SiteKind::after_frame, found.after_frame);
  add(SiteKind::stack_check, found.stack_check);
  add(SiteKind::entry, found.entry);
  return sites;
}

std::optional<std::vector<SiteCandidate>> result_branches(
    const FunctionCode& function, Arch arch, uint64_t callee,
    const std::function<std::optional<uint64_t>(uint64_t)>& file_offset) {
  constexpr RegisterSet kResult = register_bit(0);  // rax, x0
  const auto code = disassemble(function, arch);
  if (!code) return std::nullopt;
  std::vector<SiteCandidate> sites;
  for (auto call = code->begin(); call != code->end(); ++call) {
    if (call->flow != Flow::call || call->target != callee) continue;
    const auto branch = std::find_if(call + 1, code->end(), [](const Instruction& instruction) {
      return instruction.flow != Flow::sequential || (instruction.written & kResult) != 0;
    });
    if (branch == code->end() || branch->flow != Flow::conditional || !emulated_everywhere(*branch, arch))
      return std::nullopt;
    const bool bypassed = std::any_of(code->begin(), code->end(), [&](const Instruction& other) {
      return (other.flow == Flow::conditional || other.flow == Flow::jump) && other.target > call->address &&
             other.target <= branch->address;
    });
    const auto offset = file_offset(branch->address);
    if (bypassed || !offset) return std::nullopt;
    sites.push_back(make_candidate(SiteKind::result_branch, *branch, function, *offset));
  }
  return sites;
}

}  // namespace goheapd::gobin
