// Where the Go runtime of one version keeps what a heap profiler reads.
//
//   RuntimeLayout layout = *runtime_layout(version, arch);
//   auto nelems = read_field(mspan_bytes, layout.mspan.nelems);   // uint64_t, whatever its width in this
//   version
//
// One RuntimeLayout is a plain value for one (minor version, architecture, experiments). Its members are
// named as Go's structs and fields, in snake_case. The numbers come from the tables of runtime_layout_*.cpp,
// where each carries the line of Go's source that declares the field; describe() gives them back with their
// links.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/byte_view.h"
#include "daemon/base/expected.h"
#include "daemon/gobin/go_version.h"

namespace goheapd::gobin {

// A field of a Go struct: `size` bytes at `offset` from the struct's start. Integers are 1, 2, 4 or 8 bytes
// wide and the same field may change its width between versions; larger sizes are arrays, slices (ptr, len,
// cap) and embedded structs. A field that this version does not have is absent: size 0.
struct Field {
  uint32_t offset = 0;
  uint32_t size = 0;
  bool present() const { return size != 0; }
  uint32_t end() const { return offset + size; }
};

// The unsigned value of a 1, 2, 4 or 8 byte field of the struct that starts at `base` in `bytes`; a field of
// more than 8 bytes (a slice, an array) gives its first word. nullopt: absent, or outside of `bytes`.
std::optional<uint64_t> read_field(ByteView bytes, Field field, uint64_t base = 0);

// How g.labels refers to the pprof labels of a goroutine.
enum class LabelFormat : unsigned char {
  go_map,        // pointer to a pointer to a hash map (hmap) of string to string
  sorted_slice,  // pointer to a slice {ptr, len, cap} of {key string, value string}, sorted by key
};

// Sizes of slots by size class; class 0 = large object with a span of its own.
// https://github.com/golang/go/blob/go1.24.4/src/runtime/sizeclasses.go#L92
inline constexpr size_t kSizeClasses = 68;
extern const std::array<uint32_t, kSizeClasses> kSizeClassBytes;

struct RuntimeLayout {
  // ---- memory profile (mprof.go, mheap.go) ----
  struct Bucket {  // followed by nstk pcs (8 bytes each), then a memRecord
    uint32_t sizeof_struct = 0;
    Field next, allnext, typ, hash, size, nstk;
  } bucket;
  struct MemRecord {
    uint32_t sizeof_struct = 0;
    Field active, future;  // a memRecordCycle, and three of them
  } mem_record;
  struct MemRecordCycle {
    uint32_t sizeof_struct = 0;
    Field allocs, frees;
    Field alloc_bytes, free_bytes;  // absent from 1.27 on: count * bucket.size
  } mem_record_cycle;
  struct Special {
    uint32_t sizeof_struct = 0;
    Field next, offset, kind;
  } special;
  struct SpecialProfile {
    uint32_t sizeof_struct = 0;
    Field special, bucket;
  } special_profile;

  // ---- heap (mheap.go, mcache.go) ----
  struct Mspan {
    uint32_t sizeof_struct = 0;
    Field next, prev, list, start_addr, npages, manual_free_list, freeindex, nelems, free_index_for_scan,
        alloc_cache, alloc_bits, gcmark_bits, pinner_bits, sweepgen, div_mul, alloc_count, spanclass, state,
        needzero, is_user_arena_chunk, alloc_count_before_cache, elemsize, limit, speciallock, specials,
        user_arena_chunk_free, large_type;
  } mspan;
  struct Mheap {
    uint32_t sizeof_struct = 0;
    Field sweepgen, allspans, pages_in_use, pages_swept, arenas, all_arenas, spanalloc, cachealloc,
        speciallock;  // all_arenas: allArenas, called heapArenas from 1.25 on
  } mheap;
  struct Fixalloc {
    uint32_t sizeof_struct = 0;
    Field inuse;
  } fixalloc;
  struct HeapArena {
    uint32_t sizeof_struct = 0;
    Field spans, page_in_use, page_marks, page_specials, page_use_span_inline_mark_bits, zeroed_base;
  } heap_arena;
  // Green Tea (default from 1.26 on): while marking, spans of one page with small objects keep their mark
  // bits in this struct, which ends where the page ends; mspan.gcmark_bits stays 0 until the sweep. Absent
  // otherwise.
  struct SpanInlineMarkBits {
    uint32_t sizeof_struct = 0;
    Field scans, owned, marks;
  } span_inline_mark_bits;
  bool uses_inline_mark_bits(uint64_t elemsize) const {
    return span_inline_mark_bits.sizeof_struct != 0 && elemsize >= 16 &&
           elemsize <= malloc_header.scan_size_over;
  }
  struct Mcache {
    uint32_t sizeof_struct = 0;
    Field next_sample, mem_prof_rate, scan_alloc, tiny, tinyoffset, tiny_allocs, alloc, reusable_noscan,
        stackcache, flush_gen;
  } mcache;

  // ---- scheduler (runtime2.go) ----
  struct P {
    uint32_t sizeof_struct = 0;
    Field id, status, m, mcache, g_free,
        stats_seq;  // g_free: a list of dead goroutines, its length behind its head
  } p;
  struct Schedt {
    uint32_t sizeof_struct = 0;
    Field mnext, nmfreed, ngsys, g_free, g_free_stack, g_free_no_stack, g_free_n;
    // Since 1.22: a timeHistogram each.
    Field stw_stopping_time_gc, stw_stopping_time_other, stw_total_time_gc, stw_total_time_other;
  } schedt;
  struct GList {
    uint32_t sizeof_struct = 0;
    Field size;
  } g_list;
  struct M {
    uint32_t sizeof_struct = 0;
    Field g0, procid, gsignal, tls, curg, p, id, mallocing, preemptoff, locks, ncgo, incgo, prof_stack,
        alllink;
  } m;
  struct G {
    uint32_t sizeof_struct = 0;
    Field stack, stackguard0, m, sched, atomicstatus, goid, labels, gopc, startpc, parent_goid, waiting,
        gc_assist_bytes;
  } g;
  struct Gobuf {
    uint32_t sizeof_struct = 0;
    Field sp, pc, g, lr, bp;
  } gobuf;

  // ---- statistics and garbage collector (mstats.go, mgc.go, mgcpacer.go, mgcsweep.go) ----
  struct Mstats {
    uint32_t sizeof_struct = 0;
    Field heap_stats, stacks_sys, mspan_sys, mcache_sys, buckhash_sys, gc_misc_sys, other_sys, last_gc_unix,
        pause_total_ns, pause_ns, pause_end, numgc, numforcedgc, gc_cpu_fraction, last_gc_nanotime,
        last_heap_in_use;
  } mstats;
  struct ConsistentHeapStats {
    uint32_t sizeof_struct = 0;
    Field stats, gen, no_p_lock;
  } consistent_heap_stats;
  struct HeapStatsDelta {
    uint32_t sizeof_struct = 0;
    Field committed, released, in_heap, in_stacks, in_work_bufs, in_ptr_scalar_bits, tiny_alloc_count,
        large_alloc, large_alloc_count, small_alloc_count, large_free, large_free_count, small_free_count;
  } heap_stats_delta;
  struct GcController {
    uint32_t sizeof_struct = 0;
    Field gc_percent, memory_limit, heap_minimum, runway, gc_percent_heap_goal, sweep_dist_min_trigger,
        triggered, last_heap_goal, heap_live, heap_scan, last_heap_scan, last_stack_scan, max_stack_scan,
        globals_scan, heap_marked, assist_time, dedicated_mark_time, fractional_mark_time, idle_mark_time,
        mark_start_time, heap_in_use, heap_released, heap_free, total_alloc, total_free, mapped_ready;
  } gc_controller;
  struct Work {
    uint32_t sizeof_struct = 0;
    Field bytes_marked, goroutine_leak_done, mode, user_forced, initial_heap_live, cycles, stwprocs, maxprocs,
        t_sweep_term, t_mark, t_mark_term, t_end, pause_ns, heap0, heap1, heap2, cpu_stats;
  } work;
  struct Sweepdata {
    uint32_t sizeof_struct = 0;
    Field parked, active, central_index;
  } sweepdata;

  // ---- modules, functions, types (symtab.go, runtime2.go, internal/abi) ----
  struct Moduledata {
    uint32_t sizeof_struct = 0;
    Field pc_header, funcnametab, cutab, filetab, pctab, pclntable, ftab, findfunctab, minpc, maxpc, text,
        etext, noptrdata, enoptrdata, data, edata, bss, ebss, noptrbss, enoptrbss, end, types, etypes, rodata,
        gofunc, textsectmap, modulename, hasmain, bad, next;
  } moduledata;
  struct Func {
    uint32_t sizeof_struct = 0;
    Field entry_off, name_off, args, deferreturn, pcsp, pcfile, pcln, npcdata, cu_offset, start_line, func_id,
        flag, nfuncdata;
  } func;
  struct InlinedCall {
    uint32_t sizeof_struct = 0;
    Field func_id, name_off, parent_pc, start_line;
  } inlined_call;
  struct Textsect {
    uint32_t sizeof_struct = 0;
    Field vaddr, end, baseaddr;
  } textsect;
  struct Type {  // abi.Type, runtime._type before 1.21
    uint32_t sizeof_struct = 0;
    Field size, ptr_bytes, hash, tflag, align, kind, gc_data, str, ptr_to_this;
  } type;
  struct UncommonType {
    uint32_t sizeof_struct = 0;
    Field pkg_path, mcount;
  } uncommon_type;
  struct Hmap {  // the hash map that holds pprof labels up to 1.23
    uint32_t sizeof_struct = 0;
    Field count, flags, b, buckets, oldbuckets;
  } hmap;

  // ---- constants that changed between versions ----
  struct SpecialKinds {
    uint8_t finalizer = 0;
    uint8_t profile = 0;
  } special_kinds;
  struct FuncIds {
    uint8_t wrapper = 0, gopanic = 0, sigpanic = 0, panicwrap = 0;
  } func_ids;
  struct MallocHeader {
    // Objects with pointers and a size above `scan_size_over` (up to max_small_size) have a type word of 8
    // bytes before them in their slot. 0: this version has none.
    uint32_t scan_size_over = 0;
    uint32_t bytes = 0;
  } malloc_header;
  // Objects above this get a span of their own (size class 0).
  uint32_t max_small_size = 0;
  LabelFormat label_format = LabelFormat::go_map;
  // Address -> arena: index = (address - arena_base) >> 26 into the only L2 table (modulo 2^64).
  uint64_t arena_base = 0;
  // Offset of abi.UncommonType behind a map's type.
  uint32_t map_type_size = 0;
  // No profile bucket has more pcs than this (GODEBUG=profstackdepth can raise the usual 128 from 1.23 on).
  uint32_t max_profile_stack_depth = 0;
  // pcHeader.textStart is 0 from 1.26 on: take moduledata.text.
  bool pc_header_has_text_start = true;
  // Name offset 0 stands for the empty name (1.21 to 1.23), although a real function has it.
  bool name_offset_zero_is_empty = false;

  // Release whose structs were measured and whose source the links name, "go1.24.4".
  std::string_view measured_release;
  int minor = 0;
  Arch arch = Arch::amd64;
};

// Facts that no supported version or architecture changed.
inline constexpr uint64_t kGoPageSize = 8192;
inline constexpr uint64_t kHeapArenaBytes = 64ull << 20;
inline constexpr uint64_t kPagesPerArena = kHeapArenaBytes / kGoPageSize;
inline constexpr uint64_t kArenaTableEntries = 4194304;  // of the L2 table, 8 bytes each
inline constexpr unsigned kSpanClasses = 2 * kSizeClasses;
inline constexpr uint8_t kSpanStateInUse = 1;  // mspan.state; 0 dead, 2 manual (stacks)
inline constexpr uint8_t kTinyBlockBytes = 16;
inline constexpr uint64_t kMemProfileBucket = 1;  // bucket.typ
// spanclass = size class << 1 | noscan

inline constexpr int kOldestMinor = 19;
inline constexpr int kNewestMinor = 27;

// "1.19 and 1.21 to 1.27": of which a layout is known.
std::string supported_releases();

// Error: which version this is and which are supported.
Expected<void> check_supported(const GoVersion& version);

// The layout of a version. Errors: a minor version without a measured row (older, newer, or 1.20), an
// experiment that may move fields and was not measured.
Expected<RuntimeLayout> runtime_layout(const GoVersion& version, Arch arch);

struct FieldDescription {
  std::string name;  // "mspan.nelems"; "mspan" alone for the size of the struct
  uint32_t offset = 0;
  uint32_t size = 0;
  std::string link;  // to the line of Go's source
};
// Every field that is present in the layout, in the order of the tables.
std::vector<FieldDescription> describe(const RuntimeLayout& layout);

}  // namespace goheapd::gobin
