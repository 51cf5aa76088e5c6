// What travels between the programs in the kernel (bpf/) and the daemon (daemon/probe): the only header that both sides
// include, so it must mean the same to C for the BPF target and to C++ for the host. Little endian, 64 bit.
//
//   daemon ──▶ kernel   one WireTarget for each attached process   `targets`
//                       site cookies; size tables (.rodata)
//   kernel ──▶ daemon   ring of events: WireHeader + body          `events`
//                       counts by {stack, type, size class}        `exact_counts`  WireExactKey -> WireExactValue
//                       hits and losses per target                 `statistics`    WireStatistics
//
// Padding is always written out (-Wpadded is an error below) because bytes that nobody set would leave the kernel's
// memory in the ring, and would make equal keys differ in a hash map.
// tests/unit/probe/wire_layout_test.cpp checks every struct against the type information of the compiled BPF object.
#pragma once

#include <linux/types.h>

#ifdef __cplusplus
namespace goheapd::wire {
#endif

#pragma GCC diagnostic push
#pragma GCC diagnostic error "-Wpadded"

enum {
  // Return addresses kept per stack. 127 as the kernel's own walkers have it; the runtime's profiler keeps 32 to 128.
  kMaxFrames = 127,
  // Go's size classes, class 0 = large object.
  kSizeClassCount = 68,
  // Lookup tables as Go's runtime has them: sizes up to 1024 in steps of 8, then up to 32768 in steps of 128.
  kSmallTableEntries = 129,
  kMediumTableEntries = 249,
  kSmallTableLimit = 1024,
  // Words of allocBits in a span: no class has more than 1024 slots.
  kMostSpanWords = 16,
  // Words of an mspan that a refill reads at once: in all versions they hold nelems, allocCount and spanclass.
  kSpanWindowWords = 8,
};

// ---- sites ------------------------------------------------------------------------------------------------

// What a probe is for. The program that a site runs is chosen by the role's group: every site of a group of
// one target shares one uprobe_multi link, because attaching and detaching costs per link, not per site.
enum WireRole {
  kRoleSetProfileBucket = 1,  // runtime.setprofilebucket(p, b)
  kRoleFreeSpecial = 2,       // runtime.freeSpecial(s, p, size)
  kRoleProfileAlloc = 3,      // runtime.profilealloc(mp, x, size)
  kRoleProfileFlush = 4,      // runtime.mProf_Flush()
  kRoleProfilePostSweep = 5,  // runtime.mProf_PostSweep()
  kRoleMalloc = 6,            // a member of the set that sees every allocation once: (size, typ)
  kRoleSelfTest = 7,          // our own function: does a hit arrive, and what does it cost
  kRoleSpanRefill = 8,        // result of (*mcentral).cacheSpan(): the span from which a P now takes objects
  kRoleSpanRelease = 9,       // runtime.(*mcache).releaseAll(c)
  kRoleSpanUncache = 10,      // runtime.(*mcentral).uncacheSpan(c, s)
  kRoleSpanLarge = 11,        // result of (*mheap).alloc(): the span of a large object
  kRoleGcMarkTermination = 12,  // runtime.gcMarkTermination()
  kRoleWorldStop = 13,          // runtime.stopTheWorldWithSema([reason])
  kRoleWorldStart = 14,         // runtime.startTheWorldWithSema(...)
};

// What the probes of a target are there for: each group has its own link per target, and its own bit in
// WireTarget.recording, so that groups come, go, start and stop by themselves.
enum WireGroup {
  kGroupGc = 1,       // the collector's cycles, and the runs that they cut
  kGroupSampled = 2,  // births and deaths by the runtime's sampler
  kGroupExact = 4,    // every allocation
  kGroupSpans = 8,    // runs of span classes, where the runtime's sampler is off
};

// A site's cookie says everything about it, so that a hit needs no look-up to find its site:
//   bits 0-7 role | 8-15 flags | 16-31 index into `targets` | 32-63 count only sizes above this
enum {
  kSiteFlagsShift = 8,
  kSiteTargetShift = 16,
  kSiteMinSizeShift = 32,
};
enum WireSiteFlags {
  // The instruction is the `jbe` of the stack check: when it will be taken (CF or ZF set) the function starts again
  // after the stack has grown, so this pass must not count.
  kSiteFilterTaken = 1,
  // The frame is set up: rbp is the function's own frame. Otherwise the return address is at [rsp] and rbp is the
  // caller's.
  kSiteOwnFrame = 2,
  // The function allocates memory with pointers only, or without pointers only: no need to read the type.
  kSiteScan = 4,
  kSiteNoscan = 8,
  // Calls from the target's `ignored_caller` range were already counted at another site.
  kSiteIgnoreCaller = 16,
  // The kernel single-steps the instruction, which makes the trap several times dearer.
  kSiteSingleStep = 32,
};

// Where no cookie can be had (older kernels, tracefs events) the site is found by address.
struct WireSiteKey {
  __u32 tgid;
  __u32 reserved;
  __u64 address;  // of the probed instruction in the process
};

// ---- targets ----------------------------------------------------------------------------------------------

// A range of the process's memory that says how a GC cycle went; at most kGcPartBytes of it are copied.
struct WireGcPart {
  __u64 address;  // 0 = not known
  __u32 bytes;
  __u32 reserved;
};
enum {
  kGcParts = 4,       // as model::GcPart: of runtime.work, gcController, memstats; runtimeInitTime
  kGcController = 1,  // among them
  kGcPartBytes = 384,
};

// Addresses in a process, [begin, end).
struct WireRange {
  __u64 begin;
  __u64 end;
};
// Functions below which a thread's own stack holds nothing: runtime.mstart, runtime.mcall.
enum { kStackRoots = 2 };

// What the programs must know of a process: written by the daemon before any site of it is attached.
struct WireTarget {
  __u32
      tgid;  // in the initial pid namespace; 0 from the moment on in which the process executes another program
  __u32 session;      // one attach of one program; never reused, so late events and counts cannot be mixed up
  __u32 recording;    // WireGroup bits: hits of other groups are counted, nothing else
  __u32 max_small;    // larger objects have a span of their own
  __u32 header_over;  // objects with pointers above this size have a header word in their slot; ~0 = never
  __u32 profile_special_kind;
  // Offsets in the target's structs.
  __u32 g_m;
  __u32 m_curg;
  __u32 g_goid;
  __u32 special_kind;
  __u32 special_bucket;
  __u32 type_ptr_bytes;
  // The kill switch: kStormHits hits within less than this on one CPU stop `recording` of all groups but kGroupGc and tell
  // the daemon at once, which takes the probes out. 0 = never.
  __u64 storm_ns;
  // A short look at every allocation: kGroupExact counts up to this time only, and no storm is looked for, since the
  // kernel itself ends it. 0 = no such look.
  __u64 window_end_ns;
  // Addresses in the process: return addresses in [begin, end) are those of kSiteIgnoreCaller.
  __u64 ignored_caller_begin;
  __u64 ignored_caller_end;
  // Source spans: the address of mheap_.sweepgen, how many bytes there are to a sample, and up to how many a burst makes them
  // (run_sampler.h), offsets, and whether the site that closes runs is kRoleSpanUncache.
  __u64 sweepgen_address;
  __u64 mean_distance;
  __u64 burst_distance;
  __u32 releases_by_span;
  __u32 span_index_mask;  // mspan.nelems and freeindex have been 8 bytes wide and are 2
  __u32 m_p;
  __u32 p_mcache;
  __u32 span_start;
  __u32 span_freeindex;
  __u32 span_alloc_cache;
  __u32 span_alloc_bits;
  __u32 span_alloc_count;
  __u32 span_class;
  __u32 span_elemsize;
  __u32 mcache_alloc;
  // Where the window of kSpanWindowWords begins, and fields by their first bit in it.
  __u32 span_window;
  __u32 span_nelems_bit;
  __u32 span_alloc_count_bit;
  __u32 span_class_bit;
  struct WireGcPart gc_parts[kGcParts];
  __u64 gc_leak_check;  // address of work.goroutineLeak.done
  __u64 gc_triggered;   // address of gcController.triggered, which is ~0 unless a cycle runs
  struct WireRange stack_roots[kStackRoots];  // 0 = not known
  // Why the world stops: 1 = the first argument says it, 0 = the string m.preemptoff, at this offset.
  __u32 stop_has_reason;
  __u32 m_preemptoff;
};

// Why something that a probe saw was not kept in full. Index into WireStatistics.lost.
enum WireLoss {
  kLossRingFull = 0,       // the daemon was too slow: an event is gone
  kLossStackRingFull = 1,  // a stack could not be shipped: counts are kept, the next hit tries again
  kLossCountsFull = 2,     // exact_counts is full: counted without stack and type
  kLossStacksFull = 3,     // shipped_stacks is full: the stack was shipped, but will be shipped again
  kLossScratchBusy = 4,    // all walk buffers of the CPU were taken by preempted programs: no stack
  kLossStackRead = 5,      // a page of the goroutine's stack could not be read: stack incomplete
  kLossMemoryRead = 6,     // another word of the target could not be read: event dropped or without goid
  kLossNoTarget = 7,       // a hit in a process that no target describes
  kLossSpanStateFull = 8,  // span_caches or open_runs is full: runs of a cache not sampled, or not cut
  kLossReasons = 9,
};

struct WireStatistics {
  __u64 hits;              // every run of a program for this target, recorded or not
  __u64 single_step_hits;  // of them, at sites with kSiteSingleStep
  __u64 program_ns;        // time spent in the programs: one run in kTimedRuns is measured and stands for all
  __u64 usual_run_ns;      // the last of them that nothing preempted; 0 = none yet
  __u64 storm_check_ns;    // when this CPU last began to count towards a storm
  __u64 countdown;       // to the next sampled run of a span class, see bpf/run_sampler.h; 0 = not drawn yet
  __u64 burst_began_ns;  // } samples of this CPU in the present kBurstNs
  __u64 burst_samples;   // }
  __u64 lost[kLossReasons];
};
enum {
  kTimedRuns = 64,        // a power of two
  kLongestRunNs = 20000,  // what takes longer was preempted
  kStormHits = 16384,  // a power of two: hits of one CPU whose duration is held against WireTarget.storm_ns
};
// Entry of `statistics` for hits that belong to no target.
enum { kNoTargetIndex = 0 };

// ---- events -----------------------------------------------------------------------------------------------

enum WireEventKind {
  kEventSampledBirth = 1,
  kEventSampledDeath = 2,
  kEventSampledAllocation = 3,  // WireStackEvent
  kEventProfileFlush = 4,
  kEventProcessExec = 5,    // WireHeader only
  kEventProcessExit = 6,    // WireHeader only
  kEventExactStack = 7,     // WireStackEvent
  kEventHitStorm = 8,       // WireHeader only; the reader is woken
  kEventSpanRunOpened = 9,  // WireStackEvent
  kEventSpanRunCut = 10,
  kEventGcCycle = 11,
  kEventGcLeakCheck = 12,  // WireHeader only
  kEventWorldStop = 13,
};

struct WireHeader {
  __u32 kind;
  __u32 tgid;
  __u64 time_ns;  // CLOCK_MONOTONIC
  __u32 session;  // of the target, 0 = the event belongs to no target
  __u32 tid;
};

struct WireSampledBirth {
  struct WireHeader header;
  __u64 address;
  __u64 bucket;
  __u64 goid;
};

struct WireSampledDeath {
  struct WireHeader header;
  __u64 address;
  __u64 bucket;
  __u64 size;
};

struct WireProfileFlush {
  struct WireHeader header;
  __u32 post_sweep;
  __u32 reserved;
};

struct WireSpanRunCut {
  struct WireHeader header;
  __u64 address;    // } of the event that opened the run
  __u64 opened_ns;  // }
  __u32 used_objects;
  __u32 reserved;
};

// gcController when the world stopped last without a cycle running: when it stopped for the cycle, if one runs now.
struct WireGcStart {
  __u64 time_ns;
  __u32 session;  // 0 = not seen
  __u32 reserved;
  __u8 controller[kGcPartBytes];
};

// What WireTarget.gc_parts pointed to when a cycle ended.
struct WireGcCycle {
  struct WireHeader header;
  __u8 parts[kGcParts][kGcPartBytes];
  struct WireGcStart start;
};

// Why all goroutines were stopped, and since when.
struct WireStop {
  __u64 began_ns;  // 0 = they run
  __u32 session;
  __u32 reason;       // a stwReason; kStopReasonByText: `text` says it
  __u32 text_length;  // of the runtime's string, of which at most kStopTextBytes are here
  __u32 reserved;
  __u8 text[24];
};
enum { kStopTextBytes = 24 };
#define kStopReasonByText (~0U)

// They run again.
struct WireWorldStop {
  struct WireHeader header;
  struct WireStop stop;
};

enum WireStackFlags {
  kStackTruncated = 1,   // deeper than kMaxFrames
  kStackUnreadable = 2,  // a frame could not be read
};

// One layout for everything that carries a stack, since the walk fills it in place. Only `count` frames are sent.
struct WireStackEvent {
  struct WireHeader header;
  __u64 address;  // of the object; 0 in kEventExactStack
  __u64 size;     // of its slot; 0 in kEventExactStack
  __u64 goid;
  __u64 hash;           // wire_hash_stack of the frames
  __u64 mean_distance;  // } kEventSpanRunOpened only
  __u32 sweepgen;       // }
  __u32 objects;        // } planned
  __u32 span_class;     // }
  __u32 reserved;
  __u32 count;
  __u32 flags;
  // Return addresses, innermost first; one spare so that an index can be masked.
  __u64 frames[kMaxFrames + 1];
};

// ---- exact counts -----------------------------------------------------------------------------------------

struct WireExactKey {
  __u64 stack_hash;  // 0 = stack unknown
  __u64 type;
  __u32 session;  // stands for the process, too: a key is hashed at every allocation, so it is kept short
  __u16 size_class;
  __u16 flags;
};
enum WireExactKeyFlags {
  // Requested size below 16: tiny if the type has no pointers, which separates 15 from 16 bytes.
  kExactBelowTiny = 1,
  kExactUnsorted = 2,  // the entry of last resort of a target: any size and type
};

// All but `flags` are only ever added to, by atomic instructions: a program can be preempted between two of its
// instructions by another thread's, on the same CPU.
struct WireExactValue {
  __u64 objects;
  __u64 requested_bytes;
  __u64 slot_bytes;  // large and unsorted objects only; else objects * size of the class
  __u32 flags;
  __u32 reserved;
};
enum WireExactValueFlags {
  kExactNoscan = 1,        // the type holds no pointers
  kExactStackShipped = 2,  // this CPU knows that the stack is on its way to the daemon
};

struct WireStackKey {
  __u64 stack_hash;
  __u32 session;
  __u32 reserved;
};

// ---- runs of span classes ---------------------------------------------------------------------------------

// Of span_caches: owner = a P's mcache. Of open_runs: {mcache, span class}, or {mspan, 0} where runs are closed by
// kRoleSpanUncache, which does not know the cache.
struct WireRunKey {
  __u64 owner;
  __u32 session;
  __u32 span_class;
};

// What goes on in one cache.
struct WireSpanCache {
  __u64 open[4];  // a bit per span class: a run of it was sampled since the last releaseAll
};

struct WireOpenRun {
  __u64 span;
  __u64 address;      // of its first object
  __u64 opened_ns;    // time of its event
  __u64 used_before;  // mspan.allocCount when it was opened
};

#pragma GCC diagnostic pop

// The hash that names a stack. Both sides compute it: the kernel while walking, the daemon to prove that a
// stack it got was not overwritten on its way. `step` per return address, innermost first, from
// kStackHashSeed.
static const __u64 kStackHashSeed = 0x9ae16a3b2f90404fULL;
static inline __attribute__((always_inline)) __u64 wire_hash_step(__u64 hash, __u64 return_address) {
  hash = (hash ^ return_address) * 0x9e3779b97f4a7c15ULL;
  return hash ^ (hash >> 32);
}
// 0 means "unknown" in keys, so no stack has it.
static inline __attribute__((always_inline)) __u64 wire_hash_finish(__u64 hash) { return hash ? hash : 1; }

#ifdef __cplusplus
}  // namespace goheapd::wire
#endif
