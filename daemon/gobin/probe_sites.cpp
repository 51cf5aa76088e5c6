#include "daemon/gobin/probe_sites.h"

#include <algorithm>
#include <iterator>

namespace goheapd::gobin {
namespace {

constexpr RegisterSet kAmd64G = register_bit(14);
constexpr RegisterSet kArm64G = register_bit(28);
constexpr RegisterSet kAmd64Arguments[] = {register_bit(0), register_bit(3),
                                           register_bit(1)};  // rax, rbx, rcx
constexpr RegisterSet kArm64Arguments[] = {register_bit(0), register_bit(1), register_bit(2)};

// The registers of the first `count` arguments and of g.
// https://github.com/golang/go/blob/go1.24.4/src/cmd/compile/abi-internal.md
RegisterSet argument_registers(Arch arch, size_t count) {
  RegisterSet set = arch == Arch::amd64 ? kAmd64G : kArm64G;
  for (size_t i = 0; i < count; ++i) set |= arch == Arch::amd64 ? kAmd64Arguments[i] : kArm64Arguments[i];
  return set;
}

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
  site.caller = kind == SiteKind::after_frame ? CallerPlace::own_frame : CallerPlace::return_address;
  site.may_hit_twice = kind == SiteKind::entry;
  site.reason = reason_of(kind);
  return site;
}

struct SampledFunction {
  ProbeRole role;
  std::string_view name;
  size_t arguments;
};
constexpr SampledFunction kSampled[] = {
    {ProbeRole::profile_alloc, "runtime.profilealloc", 3},
    {ProbeRole::set_profile_bucket, "runtime.setprofilebucket", 2},
    {ProbeRole::free_special, "runtime.freeSpecial", 3},
    {ProbeRole::profile_flush, "runtime.mProf_Flush", 0},
    {ProbeRole::profile_post_sweep, "runtime.mProf_PostSweep", 0},
};

// Functions that allocate small objects of one size class and are called by compiled code directly, in place of mallocgc.
// mallocgc calls them too, so it sees only larger sizes when they are there.
// https://github.com/golang/go/blob/go1.27.3/src/runtime/malloc_generated.go
struct SpecializedFamily {
  std::string_view prefix;
  int first, last;  // numbers behind the prefix
  PointerKnowledge pointers;
};
constexpr SpecializedFamily kSpecialized[] = {
    {"runtime.mallocgcTinySize", 1, 15, PointerKnowledge::never},       // GOEXPERIMENT in 1.26
    {"runtime.mallocgcTinySC", 2, 2, PointerKnowledge::never},          // 1.27
    {"runtime.mallocgcSmallNoScanSC", 2, 26, PointerKnowledge::never},  // to 7 in 1.27
    {"runtime.mallocgcSmallScanNoHeaderSC", 1, 26, PointerKnowledge::always},
};
// The second halves of the size-specialised functions of 1.27.
constexpr std::string_view kSlowPaths[] = {"runtime.mallocgcTinySlowPath",
                                           "runtime.mallocgcSmallNoScanSlowPath",
                                           "runtime.mallocgcSmallScanSlowPath"};
constexpr std::string_view kTiny = "runtime.mallocgcTinySC2";
constexpr std::string_view kLargestFamily = "runtime.mallocgcSmallScanNoHeaderSC";
constexpr std::string_view kMallocgc = "runtime.mallocgc";

// The largest size class that has functions of its own.
int specialized_size_classes(int minor) { return minor == 26 ? 26 : minor == 27 ? 7 : 0; }

class SiteFinder {
 public:
  SiteFinder(const ElfFile& elf, const RuntimeLayout& layout, const FunctionLookup& functions)
      : elf_(elf), layout_(layout), functions_(functions) {}

  Expected<std::vector<ProbePoint>> sampled() const {
    std::vector<ProbePoint> points;
    for (const SampledFunction& wanted : kSampled) {
      auto point = find_point(wanted.role, wanted.name, wanted.arguments);
      if (!point) return Unexpected(point.error());
      points.push_back(std::move(*point));
    }
    return points;
  }

  // 1.27 has two ways to count everything once. mallocgc hands small sizes on to the specialised functions, so it can be
  // left out for these; but a profile-guided build may have copied their code into mallocgc, and what goes
  // through the copy is seen by mallocgc only. There mallocgc counts all sizes, and the specialised functions count
  // only when somebody else calls them.
  Expected<std::vector<ProbePoint>> exact() const {
    std::vector<ProbePoint> points;
    int largest = 0;
    for (const SpecializedFamily& family : kSpecialized) {
      for (int number = family.first; number <= family.last; ++number) {
        const std::string name = std::string(family.prefix) + std::to_string(number);
        if (!functions_(name)) continue;
        auto point = find_malloc(name, family.pointers);
        if (!point) return Unexpected(point.error());
        points.push_back(std::move(*point));
        if (family.prefix == kLargestFamily) largest = number;
      }
    }
    if (!points.empty() && largest != specialized_size_classes(layout_.minor)) {
      return fail("a set of size-specialised allocation functions that this Go version does not have");
    }
    auto mallocgc = find_malloc(kMallocgc, PointerKnowledge::by_type);
    if (!mallocgc) return Unexpected(mallocgc.error());
    if (hands_small_sizes_on()) {
      mallocgc->min_size = kSizeClassBytes[static_cast<size_t>(largest)] + uint64_t{1};
    } else if (auto function = functions_(kMallocgc)) {
      for (ProbePoint& point : points) point.ignored_caller = CodeRange{function->entry, function->end};
    }
    points.insert(points.begin(), std::move(*mallocgc));
    return points;
  }

 private:
  Expected<ProbePoint> find_point(ProbeRole role, std::string_view name, size_t arguments) const {
    auto function = functions_(name);
    if (!function) return fail("the function was inlined away or is not linked", std::string(name));
    ProbePoint point;
    point.role = role;
    point.function = name;
    point.candidates = site_candidates(*function, layout_.arch, argument_registers(layout_.arch, arguments),
                                       role == ProbeRole::malloc,
                                       [this](uint64_t vaddr) { return elf_.file_offset(vaddr); });
    if (point.candidates.empty())
      return fail("no instruction of the function can carry a probe", std::string(name));
    return point;
  }

  // Proof that mallocgc still calls every specialised function: it calls the one for tiny objects, and none of the
  // slow paths, which only these functions do.
  bool hands_small_sizes_on() const {
    const auto mallocgc = functions_(kMallocgc);
    const auto tiny = functions_(kTiny);
    if (!mallocgc || !tiny) return false;
    const auto code = disassemble(*mallocgc, layout_.arch);
    if (!code) return false;
    const auto calls = [&](const FunctionCode& callee) {
      return std::any_of(code->begin(), code->end(), [&](const Instruction& instruction) {
        return instruction.flow == Flow::call && instruction.target == callee.entry;
      });
    };
    return calls(*tiny) &&
           std::none_of(std::begin(kSlowPaths), std::end(kSlowPaths), [&](std::string_view name) {
             const auto slow_path = functions_(name);
             return slow_path && calls(*slow_path);
           });
  }

  Expected<ProbePoint> find_malloc(std::string_view name, PointerKnowledge pointers) const {
    auto point = find_point(ProbeRole::malloc, name, 2);
    if (!point) return point;
    point->min_size = 1;
    point->pointers = pointers;
    return point;
  }

  const ElfFile& elf_;
  const RuntimeLayout& layout_;
  const FunctionLookup& functions_;
};

}  // namespace

std::string_view name_of(ProbeRole role) {
  static constexpr std::string_view kNames[] = {"profile_alloc", "set_profile_bucket", "free_special",
                                                "profile_flush", "profile_post_sweep", "malloc"};
  return kNames[static_cast<size_t>(role)];
}

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

ProbeSites ProbeSites::find(const ElfFile& elf, const RuntimeLayout& layout,
                            const FunctionLookup& functions) {
  const SiteFinder finder(elf, layout, functions);
  ProbeSites sites;
  sites.sampled_ = finder.sampled();
  sites.exact_ = finder.exact();
  return sites;
}

}  // namespace goheapd::gobin
