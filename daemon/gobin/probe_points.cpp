// Which functions of the runtime are probed in which mode.
#include <algorithm>
#include <iterator>
#include <span>

#include "daemon/gobin/probe_sites.h"

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

struct ProbedFunction {
  ProbeRole role;
  std::string_view name;
  size_t arguments;
};
// gcMarkTermination tells of leak checks, which came with 1.26.
constexpr ProbedFunction kGc[] = {
    {ProbeRole::profile_flush, "runtime.mProf_Flush", 0},
    {ProbeRole::gc_mark_termination, "runtime.gcMarkTermination", 0},
};
// The reason is an argument from 1.21 on. https://github.com/golang/go/blob/go1.21.6/src/runtime/proc.go#L1353
constexpr ProbedFunction kStops[] = {
    {ProbeRole::world_stop, "runtime.stopTheWorldWithSema", 1},
    {ProbeRole::world_start, "runtime.startTheWorldWithSema", 0},
};
constexpr ProbedFunction kSampled[] = {
    {ProbeRole::profile_alloc, "runtime.profilealloc", 3},
    {ProbeRole::set_profile_bucket, "runtime.setprofilebucket", 2},
    {ProbeRole::free_special, "runtime.freeSpecial", 3},
    {ProbeRole::profile_flush, "runtime.mProf_Flush", 0},
    {ProbeRole::profile_post_sweep, "runtime.mProf_PostSweep", 0},
};

// Every allocation enters mallocgc, which hands it on:
//
//   user code ──▶ newobject, makeslice, ... ──▶ mallocgc ──▶ one of its parts (1.24 and later)
//        └────────────── 1.27: small fixed sizes ──────────────▶ a size-specialised part
//
// So probing mallocgc is enough up to 1.26, and in 1.27 the specialised parts are probed as well. But a probe on a function
// does not see what runs through an inlined copy of it, and builds with a profile copy parts into mallocgc, and mallocgc
// into its callers. See AllocationSet below.
constexpr std::string_view kMallocgc = "runtime.mallocgc";

struct Part {
  std::string_view name;
  PointerKnowledge pointers;
};
// https://github.com/golang/go/blob/go1.24.4/src/runtime/malloc.go#L1050
constexpr Part kParts[] = {
    {"runtime.mallocgcTiny", PointerKnowledge::never},  // not in 1.27
    {"runtime.mallocgcSmallNoscan", PointerKnowledge::never},
    {"runtime.mallocgcSmallScanNoHeader", PointerKnowledge::always},
    {"runtime.mallocgcSmallScanHeader", PointerKnowledge::always},
    {"runtime.mallocgcLarge", PointerKnowledge::by_type},
};
constexpr int kFirstMinorWithParts = 24;

// Parts for one size class each, called by compiled code directly.
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
constexpr std::string_view kLargestFamily = "runtime.mallocgcSmallScanNoHeaderSC";

// The largest size class that has functions of its own.
int specialized_size_classes(int minor) { return minor == 26 ? 26 : minor == 27 ? 7 : 0; }

Expected<ProbePoint> find_point(const ElfFile& elf, const RuntimeLayout& layout,
                                const FunctionLookup& functions, ProbeRole role, std::string_view name,
                                size_t arguments) {
  auto function = functions(name);
  if (!function) return fail("the function was inlined away or is not linked", std::string(name));
  ProbePoint point;
  point.role = role;
  point.function = name;
  point.candidates =
      site_candidates(*function, layout.arch, argument_registers(layout.arch, arguments),
                      role == ProbeRole::malloc, [&](uint64_t vaddr) { return elf.file_offset(vaddr); });
  if (point.candidates.empty())
    return fail("no instruction of the function can carry a probe", std::string(name));
  return point;
}

// The set of functions that sees every allocation exactly once.
class AllocationSet {
 public:
  AllocationSet(const ElfFile& elf, const RuntimeLayout& layout, const FunctionLookup& functions,
                const InlineCopies& copies)
      : elf_(elf), layout_(layout), functions_(functions), copies_(copies) {}

  Expected<std::vector<ProbePoint>> find() const {
    auto mallocgc = find_malloc(kMallocgc, PointerKnowledge::by_type);
    if (!mallocgc) return Unexpected(mallocgc.error());
    int largest = 0;
    auto parts = specialized(largest);
    if (!parts) return parts;
    // mallocgc copied into its callers: from there, only its parts are called.
    const bool mallocgc_copied = !copies_.hosts_of(kMallocgc).empty();
    if (mallocgc_copied) {
      if (auto added = add_general_parts(*parts); !added) return Unexpected(added.error());
    }
    bool parts_copied = false;
    for (const ProbePoint& part : *parts) {
      for (std::string_view host : copies_.hosts_of(part.function)) {
        parts_copied = true;
        if (host == kMallocgc) continue;
        return fail("built with a profile that copied the allocator into its callers, past all probes",
                    part.function);
      }
    }
    if (parts_copied) {
      // What goes through the copy is seen by mallocgc only. So it counts all sizes, and the parts count only when
      // somebody else calls them.
      const auto function = functions_(kMallocgc);
      for (ProbePoint& part : *parts) part.ignored_caller = CodeRange{function->entry, function->end};
    } else if (mallocgc_copied) {
      return parts;  // whoever calls mallocgc or holds a copy of it calls one of them
    } else if (largest != 0) {
      mallocgc->min_size = kSizeClassBytes[static_cast<size_t>(largest)] + uint64_t{1};
    }
    parts->insert(parts->begin(), std::move(*mallocgc));
    return parts;
  }

 private:
  Expected<ProbePoint> find_malloc(std::string_view name, PointerKnowledge pointers) const {
    auto point = find_point(elf_, layout_, functions_, ProbeRole::malloc, name, 2);
    if (!point) return point;
    point->min_size = 1;
    point->pointers = pointers;
    return point;
  }

  // Those that are there; `largest` = the largest size class among them, 0 = none.
  Expected<std::vector<ProbePoint>> specialized(int& largest) const {
    std::vector<ProbePoint> points;
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
    return points;
  }

  // Parts that are not there are copied wherever they are used, and nothing can be probed then; mallocgcTiny is replaced by
  // a specialised part in 1.27.
  Expected<void> add_general_parts(std::vector<ProbePoint>& points) const {
    const bool has_specialized = !points.empty();
    for (const Part& part : kParts) {
      if (has_specialized && part.name == kParts[0].name) continue;
      auto point = layout_.minor < kFirstMinorWithParts
                       ? fail("built with a profile that copied it into its callers", std::string(kMallocgc))
                       : find_malloc(part.name, part.pointers);
      if (!point) return Unexpected(point.error());
      points.push_back(std::move(*point));
    }
    return {};
  }

  const ElfFile& elf_;
  const RuntimeLayout& layout_;
  const FunctionLookup& functions_;
  const InlineCopies& copies_;
};

Expected<std::vector<ProbePoint>> find_all(std::span<const ProbedFunction> functions_wanted,
                                           const ElfFile& elf, const RuntimeLayout& layout,
                                           const FunctionLookup& functions, const InlineCopies& copies) {
  std::vector<ProbePoint> points;
  for (const ProbedFunction& wanted : functions_wanted) {
    // Only runtime.GC() calls it, and not every program links that.
    if (wanted.role == ProbeRole::profile_post_sweep && !functions(wanted.name)) continue;
    if (!copies.hosts_of(wanted.name).empty()) {
      return fail("built with a profile that copied a function to be probed into its callers",
                  std::string(wanted.name));
    }
    auto point = find_point(elf, layout, functions, wanted.role, wanted.name, wanted.arguments);
    if (!point) return Unexpected(point.error());
    points.push_back(std::move(*point));
  }
  return points;
}

}  // namespace

std::string_view name_of(ProbeRole role) {
  static constexpr std::string_view kNames[] = {
      "profile_alloc",       "set_profile_bucket", "free_special", "profile_flush", "profile_post_sweep",
      "gc_mark_termination", "world_stop",         "world_start",  "malloc",        "span_refill",
      "span_release",        "span_uncache",       "span_large"};
  return kNames[static_cast<size_t>(role)];
}

ProbeSites ProbeSites::find(const ElfFile& elf, const RuntimeLayout& layout, const FunctionLookup& functions,
                            const InlineCopies& copies) {
  ProbeSites sites;
  sites.sampled_ = find_all(kSampled, elf, layout, functions, copies);
  const size_t gc_functions = layout.work.goroutine_leak_done.present() ? 2 : 1;
  sites.gc_ = find_all(std::span(kGc).first(gc_functions), elf, layout, functions, copies);
  // Cycles are told without them, too.
  if (auto stops = find_all(kStops, elf, layout, functions, copies); stops && sites.gc_) {
    sites.gc_->insert(sites.gc_->end(), stops->begin(), stops->end());
  }
  sites.exact_ = AllocationSet(elf, layout, functions, copies).find();
  sites.spans_ = find_span_points(elf, layout, functions, copies);
  return sites;
}

}  // namespace goheapd::gobin
