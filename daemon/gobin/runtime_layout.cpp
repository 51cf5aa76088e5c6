#include "daemon/gobin/runtime_layout.h"

#include <algorithm>
#include <iterator>

#include "daemon/gobin/runtime_layout_table.h"

namespace goheapd::gobin {

using layout_table::group_for;

// https://github.com/golang/go/blob/go1.24.4/src/runtime/sizeclasses.go#L95, the same in every supported release.
const std::array<uint32_t, kSizeClasses> kSizeClassBytes = {
    0,     8,     16,    24,    32,    48,    64,    80,    96,    112,   128,   144,  160,   176,
    192,   208,   224,   240,   256,   288,   320,   352,   384,   416,   448,   480,  512,   576,
    640,   704,   768,   896,   1024,  1152,  1280,  1408,  1536,  1792,  2048,  2304, 2688,  3072,
    3200,  3456,  4096,  4864,  5376,  6144,  6528,  6784,  6912,  8192,  9472,  9728, 10240, 10880,
    12288, 13568, 14336, 16384, 18432, 19072, 20480, 21760, 24576, 27264, 28672, 32768};

namespace {

struct Release {
  int minor;
  std::string_view name;
};
// The releases whose structs were measured. 1.20 is missing: no toolchain of it was at hand.
constexpr Release kMeasured[] = {{19, "go1.19.8"}, {21, "go1.21.13"}, {22, "go1.22.12"}, {23, "go1.23.5"},
                                 {24, "go1.24.4"}, {25, "go1.25.12"}, {26, "go1.26.10"}, {27, "go1.27.3"}};

const Release* measured(int minor) {
  const auto* found = std::find_if(std::begin(kMeasured), std::end(kMeasured),
                                   [&](const Release& release) { return release.minor == minor; });
  return found == std::end(kMeasured) ? nullptr : found;
}

// A constant of the runtime: its value since a minor version, and where that release declares it.
struct ConstantSince {
  int minor = 0;
  uint32_t value = 0;
  const char* path = nullptr;
  uint32_t line = 0;
};
struct Constant {
  const char* name;
  ConstantSince groups[4];

  uint32_t at(int minor) const {
    const ConstantSince* group = group_for(groups, minor);
    return group == nullptr ? 0 : group->value;
  }
};

constexpr Constant kKindSpecialFinalizer = {
    "KindSpecialFinalizer", {{19, 1, "runtime/mheap.go", 1717}, {25, 2, "runtime/mheap.go", 1997}}};
constexpr Constant kKindSpecialProfile = {"KindSpecialProfile",
                                          {{19, 2, "runtime/mheap.go", 1718},
                                           {23, 3, "runtime/mheap.go", 1820},
                                           {25, 4, "runtime/mheap.go", 2001}}};
constexpr Constant kFuncIdWrapper = {"FuncIDWrapper",
                                     {{19, 21, "runtime/symtab.go", 365},
                                      {22, 22, "internal/abi/symtab.go", 64},
                                      {25, 23, "internal/abi/symtab.go", 65}}};
constexpr Constant kFuncIdGopanic = {
    "FuncID_gopanic", {{19, 9, "runtime/symtab.go", 353}, {22, 10, "internal/abi/symtab.go", 52}}};
constexpr Constant kFuncIdSigpanic = {"FuncID_sigpanic",
                                      {{19, 18, "runtime/symtab.go", 362},
                                       {22, 19, "internal/abi/symtab.go", 61},
                                       {25, 20, "internal/abi/symtab.go", 62}}};
constexpr Constant kFuncIdPanicwrap = {
    "FuncID_panicwrap", {{19, 14, "runtime/symtab.go", 358}, {22, 15, "internal/abi/symtab.go", 57}}};
constexpr Constant kMallocHeaderSize = {"mallocHeaderSize", {{22, 8, "runtime/mbitmap_allocheaders.go", 72}}};
constexpr Constant kMinSizeForMallocHeader = {"minSizeForMallocHeader",
                                              {{22, 512, "runtime/mbitmap_allocheaders.go", 102}}};
constexpr Constant kMaxSmallSize = {"maxSmallSize", {{19, 32768, "runtime/malloc.go", 115}}};
constexpr Constant kMaxProfStackDepth = {
    "maxProfStackDepth", {{19, 32, "runtime/mprof.go", 42}, {23, 1024, "runtime/mprof.go", 57}}};
constexpr Constant kMapTypeSize = {"maptype",
                                   {{19, 88, "runtime/type.go", 356},
                                    {24, 112, "internal/abi/map_swiss.go", 32},
                                    {27, 136, "internal/abi/map.go", 32}}};

// mProf_Malloc asks for debug.profstackdepth + 2 frames from 1.26 on; the constant itself limits the setting.
// https://github.com/golang/go/blob/go1.26.10/src/runtime/mprof.go#L447
constexpr uint32_t kProfileStackSlack = 2;

void fill_constants(RuntimeLayout& layout) {
  const int minor = layout.minor;
  const auto byte = [&](const Constant& constant) { return static_cast<uint8_t>(constant.at(minor)); };
  layout.special_kinds = {byte(kKindSpecialFinalizer), byte(kKindSpecialProfile)};
  layout.func_ids = {byte(kFuncIdWrapper), byte(kFuncIdGopanic), byte(kFuncIdSigpanic),
                     byte(kFuncIdPanicwrap)};
  layout.malloc_header = {kMinSizeForMallocHeader.at(minor), kMallocHeaderSize.at(minor)};
  // mallocgc compares with maxSmallSize-mallocHeaderSize for objects with and without pointers:
  // https://github.com/golang/go/blob/go1.22.12/src/runtime/malloc.go#L1059
  layout.max_small_size = kMaxSmallSize.at(minor) - layout.malloc_header.bytes;
  layout.max_profile_stack_depth = kMaxProfStackDepth.at(minor) + (minor >= 26 ? kProfileStackSlack : 0);
  layout.map_type_size = kMapTypeSize.at(minor);
  // https://github.com/golang/go/blob/go1.24.4/src/runtime/pprof/label.go#L38
  layout.label_format = minor >= 24 ? LabelFormat::sorted_slice : LabelFormat::go_map;
  // https://github.com/golang/go/blob/go1.24.4/src/runtime/malloc.go#L308
  layout.arena_base = layout.arch == Arch::amd64 ? 0xffff800000000000 : 0;
  // https://github.com/golang/go/blob/go1.26.10/src/runtime/symtab.go#L384
  layout.pc_header_has_text_start = minor < 26;
  // The runtime gives "" for offset 0 from 1.21 on; until 1.23 the linker puts a real function's name there.
  // https://github.com/golang/go/blob/go1.21.13/src/runtime/symtab.go#L640
  layout.name_offset_zero_is_empty = minor >= 21 && minor <= 23;
}

void describe_constants(const RuntimeLayout& layout, std::vector<FieldDescription>& out) {
  const std::pair<const Constant*, uint32_t> values[] = {
      {&kKindSpecialFinalizer, layout.special_kinds.finalizer},
      {&kKindSpecialProfile, layout.special_kinds.profile},
      {&kFuncIdWrapper, layout.func_ids.wrapper},
      {&kFuncIdGopanic, layout.func_ids.gopanic},
      {&kFuncIdSigpanic, layout.func_ids.sigpanic},
      {&kFuncIdPanicwrap, layout.func_ids.panicwrap},
      {&kMallocHeaderSize, layout.malloc_header.bytes},
      {&kMinSizeForMallocHeader, layout.malloc_header.scan_size_over},
      {&kMaxSmallSize, layout.max_small_size + layout.malloc_header.bytes},
      {&kMaxProfStackDepth, kMaxProfStackDepth.at(layout.minor)},
      {&kMapTypeSize, layout.map_type_size},
  };
  for (const auto& [constant, value] : values) {
    const ConstantSince* group = group_for(constant->groups, layout.minor);
    if (group == nullptr || value == 0) continue;
    if (group->value != value) group = constant->groups;  // an experiment brought the old value back
    out.push_back({std::string("const ") + constant->name, value, 0,
                   layout_table::source_link(group->minor, group->path, group->line)});
  }
}

// GOEXPERIMENT settings that differ from a release's default. Each was measured: a binary built with it
// was compared with the default's structs. Those without an effect leave every field of RuntimeLayout where it is.
struct Experiment {
  std::string_view name;
  int first_minor;
  int last_minor;
  void (*apply)(RuntimeLayout&);  // nullptr: no effect
};

// 1.22 with the pointer bitmap of 1.21 in heapArena instead of malloc headers.
void no_alloc_headers(RuntimeLayout& layout) {
  constexpr uint32_t kBitmapBytes = 1064960;
  RuntimeLayout::HeapArena& arena = layout.heap_arena;
  for (Field* field :
       {&arena.spans, &arena.page_in_use, &arena.page_marks, &arena.page_specials, &arena.zeroed_base}) {
    field->offset += kBitmapBytes;
  }
  arena.sizeof_struct += kBitmapBytes;
  layout.malloc_header = {};
  layout.max_small_size = kMaxSmallSize.at(layout.minor);
}

void no_exec_tracer2(RuntimeLayout& layout) {
  layout.p.stats_seq.offset = 8828;
  layout.p.sizeof_struct = 8912;
  layout.m.sizeof_struct = 2000;
}

void no_spinbit_mutex(RuntimeLayout& layout) {
  layout.m.prof_stack.offset -= 8;
  layout.m.sizeof_struct -= 8;
}

void no_swiss_map(RuntimeLayout& layout) { layout.map_type_size = 88; }

// 1.25 with the garbage collector of 1.26.
void green_tea(RuntimeLayout& layout) {
  RuntimeLayout with_struct;
  with_struct.minor = 26;
  layout_table::visit_heap(with_struct, nullptr);
  layout.span_inline_mark_bits = with_struct.span_inline_mark_bits;
  layout.p.stats_seq.offset = 13620;
  layout.p.sizeof_struct = 13744;
  layout.mstats.sizeof_struct = 10440;
  // A queue of spans comes before all fields of work that we read.
  const uint32_t queue_bytes = layout.arch == Arch::arm64 ? 160 : 96;
  RuntimeLayout::Work& work = layout.work;
  for (Field* field :
       {&work.bytes_marked, &work.mode, &work.user_forced, &work.initial_heap_live, &work.cycles,
        &work.stwprocs, &work.maxprocs, &work.t_sweep_term, &work.t_mark, &work.t_mark_term, &work.t_end,
        &work.pause_ns, &work.heap0, &work.heap1, &work.heap2, &work.cpu_stats}) {
    field->offset += queue_bytes;
  }
  work.sizeof_struct += queue_bytes;
}

// 1.26 and 1.27 with the garbage collector of 1.25.
void no_green_tea(RuntimeLayout& layout) {
  layout.span_inline_mark_bits = {};
  layout.p.stats_seq.offset = 9412;
  layout.p.sizeof_struct = layout.arch == Arch::arm64 ? 10064 : 11664;
  layout.mstats.sizeof_struct = 8264;
}

constexpr Experiment kExperiments[] = {
    {"fieldtrack", 19, 27, nullptr},
    {"boringcrypto", 19, 27, nullptr},
    {"heapminimum512kib", 19, 27, nullptr},
    {"preemptibleloops", 19, 27, nullptr},
    {"unified", 19, 19, nullptr},
    {"arenas", 21, 27, nullptr},
    {"cgocheck2", 21, 27, nullptr},
    {"loopvar", 21, 27, nullptr},
    {"cacheprog", 21, 25, nullptr},
    {"nocoverageredesign", 21, 24, nullptr},
    {"pagetrace", 21, 22, nullptr},
    {"newinliner", 22, 27, nullptr},
    {"rangefunc", 22, 25, nullptr},
    {"range", 22, 22, nullptr},
    {"noallocheaders", 22, 22, no_alloc_headers},
    {"noexectracer2", 22, 22, no_exec_tracer2},
    {"aliastypeparams", 23, 23, nullptr},
    {"noaliastypeparams", 24, 25, nullptr},
    {"nosynchashtriemap", 24, 25, nullptr},
    {"synctest", 24, 25, nullptr},
    {"nospinbitmutex", 24, 24, no_spinbit_mutex},
    {"noswissmap", 24, 25, no_swiss_map},
    {"greenteagc", 25, 25, green_tea},
    {"jsonv2", 25, 26, nullptr},
    {"nodwarf5", 25, 27, nullptr},
    {"norandomizedheapbase64", 26, 27, nullptr},
    {"goroutineleakprofile", 26, 26, nullptr},
    {"runtimefreegc", 26, 27, nullptr},
    {"runtimesecret", 26, 27, nullptr},
    {"simd", 26, 27, nullptr},
    {"mapsplitgroup", 27, 27, nullptr},
    {"sizespecializedmalloc", 26, 26, nullptr},
    {"nosizespecializedmalloc", 27, 27, nullptr},
    {"nojsonv2", 27, 27, nullptr},
    {"nogreenteagc", 26, 27, no_green_tea},
};

}  // namespace

namespace layout_table {

std::string source_link(int measured_minor, std::string_view path, uint32_t line) {
  const Release* release = measured(measured_minor);
  std::string link = "https://github.com/golang/go/blob/";
  link += release == nullptr ? std::string_view("master") : release->name;
  link += "/src/";
  link += path;
  return link + "#L" + std::to_string(line);
}

}  // namespace layout_table

std::optional<uint64_t> read_field(ByteView bytes, Field field, uint64_t base) {
  if (!field.present() || base > UINT64_MAX - field.offset) return std::nullopt;
  const uint64_t at = base + field.offset;
  switch (field.size) {
    case 1:
      return bytes.read<uint8_t>(at);
    case 2:
      return bytes.read<uint16_t>(at);
    case 4:
      return bytes.read<uint32_t>(at);
    default:
      return field.size >= 8 ? bytes.read<uint64_t>(at) : std::nullopt;
  }
}

std::string supported_releases() {
  std::string text;
  for (int minor = kOldestMinor; minor <= kNewestMinor; ++minor) {
    if (measured(minor) == nullptr) continue;
    const bool begins = measured(minor - 1) == nullptr;
    const bool ends = measured(minor + 1) == nullptr;
    if (!begins && !ends) continue;
    if (!text.empty()) text += begins ? " and " : " to ";
    text += "1." + std::to_string(minor);
  }
  return text;
}

Expected<void> check_supported(const GoVersion& version) {
  if (measured(version.minor) != nullptr) return {};
  const char* const advice =
      version.minor > kNewestMinor ? "use a newer goheapd" : "rebuild it with one of these";
  return fail("built by " + version.text + ", but goheapd knows Go " + supported_releases() + ": " + advice);
}

Expected<RuntimeLayout> runtime_layout(const GoVersion& version, Arch arch) {
  if (auto supported = check_supported(version); !supported) return Unexpected(supported.error());
  const Release* const release = measured(version.minor);
  RuntimeLayout layout;
  layout.minor = version.minor;
  layout.arch = arch;
  layout.measured_release = release->name;
  layout_table::visit_heap(layout, nullptr);
  layout_table::visit_scheduler(layout, nullptr);
  layout_table::visit_statistics(layout, nullptr);
  layout_table::visit_modules(layout, nullptr);
  fill_constants(layout);
  for (const std::string& name : version.experiments) {
    const auto* known =
        std::find_if(std::begin(kExperiments), std::end(kExperiments), [&](const Experiment& e) {
          return e.name == name && e.first_minor <= version.minor && version.minor <= e.last_minor;
        });
    if (known == std::end(kExperiments)) {
      return fail("built with a GOEXPERIMENT whose effect on the runtime's structs was not measured", name);
    }
    if (known->apply != nullptr) known->apply(layout);
  }
  return layout;
}

std::vector<FieldDescription> describe(const RuntimeLayout& layout) {
  std::vector<FieldDescription> out;
  RuntimeLayout copy = layout;
  layout_table::visit_heap(copy, &out);
  layout_table::visit_scheduler(copy, &out);
  layout_table::visit_statistics(copy, &out);
  layout_table::visit_modules(copy, &out);
  describe_constants(layout, out);
  return out;
}

}  // namespace goheapd::gobin
