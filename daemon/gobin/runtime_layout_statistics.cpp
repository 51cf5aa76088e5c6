// Memory statistics and the garbage collector: runtime/mstats.go, mgc.go, mgcpacer.go, mgcsweep.go.
// runtime_layout_table.h explains the columns; tests/go_programs/layout_extractor prints them for a new
// release.
#include "daemon/gobin/runtime_layout_table.h"

namespace goheapd::gobin::layout_table {
namespace {

using Mstats = RuntimeLayout::Mstats;
constexpr FieldRow<Mstats> kMstatsFields[] = {
    {"heapStats", &Mstats::heap_stats, {{19, 0, 3544, 16}, {25, 0, 3520, 17}}},
    {"stacks_sys", &Mstats::stacks_sys, {{19, 3544, 8, 19}, {25, 3520, 8, 20}}},
    {"mspan_sys", &Mstats::mspan_sys, {{19, 3552, 8, 22}, {25, 3528, 8, 23}}},
    {"mcache_sys", &Mstats::mcache_sys, {{19, 3560, 8, 23}, {25, 3536, 8, 24}}},
    {"buckhash_sys", &Mstats::buckhash_sys, {{19, 3568, 8, 24}, {25, 3544, 8, 25}}},
    {"gcMiscSys", &Mstats::gc_misc_sys, {{19, 3576, 8, 27}, {25, 3552, 8, 28}}},
    {"other_sys", &Mstats::other_sys, {{19, 3584, 8, 30}, {25, 3560, 8, 31}}},
    {"last_gc_unix", &Mstats::last_gc_unix, {{19, 3592, 8, 35}, {25, 3568, 8, 36}}},
    {"pause_total_ns", &Mstats::pause_total_ns, {{19, 3600, 8, 36}, {25, 3576, 8, 37}}},
    {"pause_ns", &Mstats::pause_ns, {{19, 3608, 2048, 37}, {25, 3584, 2048, 38}}},
    {"pause_end", &Mstats::pause_end, {{19, 5656, 2048, 38}, {25, 5632, 2048, 39}}},
    {"numgc", &Mstats::numgc, {{19, 7704, 4, 39}, {25, 7680, 4, 40}}},
    {"numforcedgc", &Mstats::numforcedgc, {{19, 7708, 4, 40}, {25, 7684, 4, 41}}},
    {"gc_cpu_fraction", &Mstats::gc_cpu_fraction, {{19, 7712, 8, 41}, {25, 7688, 8, 42}}},
    {"last_gc_nanotime", &Mstats::last_gc_nanotime, {{19, 7720, 8, 43}, {25, 7696, 8, 44}}},
    {"lastHeapInUse", &Mstats::last_heap_in_use, {{19, 7728, 8, 44}, {25, 7704, 8, 45}}},
};
constexpr StructTable<Mstats> kMstats = {
    "mstats",
    {{19, "runtime/mstats.go"}},
    {{19, 13512, 14}, {21, 9040, 14}, {22, 7744, 14}, {25, 8264, 15}, {26, 10440, 15}},
    kMstatsFields};

using ConsistentHeapStats = RuntimeLayout::ConsistentHeapStats;
constexpr FieldRow<ConsistentHeapStats> kConsistentHeapStatsFields[] = {
    {"stats", &ConsistentHeapStats::stats, {{19, 0, 3528, 732}, {25, 0, 3504, 745}}},
    {"gen", &ConsistentHeapStats::gen, {{19, 3528, 4, 737}, {25, 3504, 4, 749}}},
    {"noPLock", &ConsistentHeapStats::no_p_lock, {{19, 3536, 8, 744}, {25, 3512, 8, 756}}},
};
constexpr StructTable<ConsistentHeapStats> kConsistentHeapStats = {"consistentHeapStats",
                                                                   {{19, "runtime/mstats.go"}},
                                                                   {{19, 3544, 710}, {25, 3520, 723}},
                                                                   kConsistentHeapStatsFields};

using HeapStatsDelta = RuntimeLayout::HeapStatsDelta;
constexpr FieldRow<HeapStatsDelta> kHeapStatsDeltaFields[] = {
    {"committed", &HeapStatsDelta::committed, {{19, 0, 8, 657}}},
    {"released", &HeapStatsDelta::released, {{19, 8, 8, 658}}},
    {"inHeap", &HeapStatsDelta::in_heap, {{19, 16, 8, 659}}},
    {"inStacks", &HeapStatsDelta::in_stacks, {{19, 24, 8, 660}}},
    {"inWorkBufs", &HeapStatsDelta::in_work_bufs, {{19, 32, 8, 661}}},
    {"inPtrScalarBits", &HeapStatsDelta::in_ptr_scalar_bits, {{19, 40, 8, 662}, {25}}},
    {"tinyAllocCount", &HeapStatsDelta::tiny_alloc_count, {{19, 48, 8, 668}, {25, 40, 8, 682}}},
    {"largeAlloc", &HeapStatsDelta::large_alloc, {{19, 56, 8, 669}, {25, 48, 8, 683}}},
    {"largeAllocCount", &HeapStatsDelta::large_alloc_count, {{19, 64, 8, 670}, {25, 56, 8, 684}}},
    {"smallAllocCount", &HeapStatsDelta::small_alloc_count, {{19, 72, 544, 671}, {25, 64, 544, 685}}},
    {"largeFree", &HeapStatsDelta::large_free, {{19, 616, 8, 672}, {25, 608, 8, 686}}},
    {"largeFreeCount", &HeapStatsDelta::large_free_count, {{19, 624, 8, 673}, {25, 616, 8, 687}}},
    {"smallFreeCount", &HeapStatsDelta::small_free_count, {{19, 632, 544, 674}, {25, 624, 544, 688}}},
};
constexpr StructTable<HeapStatsDelta> kHeapStatsDelta = {
    "heapStatsDelta", {{19, "runtime/mstats.go"}}, {{19, 1176, 655}, {25, 1168, 670}}, kHeapStatsDeltaFields};

using GcController = RuntimeLayout::GcController;
constexpr FieldRow<GcController> kGcControllerFields[] = {
    {"gcPercent", &GcController::gc_percent, {{19, 0, 4, 100}}},
    {"memoryLimit", &GcController::memory_limit, {{19, 8, 8, 112}}},
    {"heapMinimum", &GcController::heap_minimum, {{19, 16, 8, 126}}},
    {"runway", &GcController::runway, {{19, 24, 8, 132}, {21, 24, 8, 122}}},
    {"gcPercentHeapGoal", &GcController::gc_percent_heap_goal, {{19, 104, 8, 161}, {21, 72, 8, 147}}},
    {"sweepDistMinTrigger", &GcController::sweep_dist_min_trigger, {{19, 112, 8, 174}, {21, 80, 8, 160}}},
    {"triggered", &GcController::triggered, {{19, 120, 8, 180}, {21, 88, 8, 166}}},
    {"lastHeapGoal", &GcController::last_heap_goal, {{19, 128, 8, 187}, {21, 96, 8, 173}}},
    {"heapLive", &GcController::heap_live, {{19, 136, 8, 212}, {21, 104, 8, 194}}},
    {"heapScan", &GcController::heap_scan, {{19, 144, 8, 221}, {21, 112, 8, 202}}},
    {"lastHeapScan", &GcController::last_heap_scan, {{19, 152, 8, 228}, {21, 120, 8, 209}}},
    {"lastStackScan", &GcController::last_stack_scan, {{19, 160, 8, 232}, {21, 128, 8, 213}}},
    {"maxStackScan", &GcController::max_stack_scan, {{19, 168, 8, 244}, {21, 136, 8, 223}}},
    {"globalsScan", &GcController::globals_scan, {{19, 176, 8, 250}, {21, 144, 8, 227}}},
    {"heapMarked", &GcController::heap_marked, {{19, 184, 8, 256}, {21, 152, 8, 233}}},
    {"assistTime", &GcController::assist_time, {{19, 224, 8, 288}, {21, 192, 8, 264}}},
    {"dedicatedMarkTime", &GcController::dedicated_mark_time, {{19, 232, 8, 293}, {21, 200, 8, 269}}},
    {"fractionalMarkTime", &GcController::fractional_mark_time, {{19, 240, 8, 299}, {21, 208, 8, 275}}},
    {"idleMarkTime", &GcController::idle_mark_time, {{19, 248, 8, 304}, {21, 216, 8, 279}}},
    {"markStartTime", &GcController::mark_start_time, {{19, 256, 8, 308}, {21, 224, 8, 283}}},
    {"heapInUse", &GcController::heap_in_use, {{19, 304, 8, 382}, {21, 272, 8, 356}}},
    {"heapReleased", &GcController::heap_released, {{19, 312, 8, 383}, {21, 280, 8, 357}}},
    {"heapFree", &GcController::heap_free, {{19, 320, 8, 384}, {21, 288, 8, 358}}},
    {"totalAlloc", &GcController::total_alloc, {{19, 328, 8, 385}, {21, 296, 8, 359}}},
    {"totalFree", &GcController::total_free, {{19, 336, 8, 386}, {21, 304, 8, 360}}},
    {"mappedReady", &GcController::mapped_ready, {{19, 344, 8, 387}, {21, 312, 8, 361}}},
};
constexpr StructTable<GcController> kGcController = {"gcControllerState",
                                                     {{19, "runtime/mgcpacer.go"}},
                                                     {{19, 424, 98}, {21, 392, 90, 456}},
                                                     kGcControllerFields};

using Work = RuntimeLayout::Work;
constexpr FieldRow<Work> kWorkFields[] = {
    {"bytesMarked",
     &Work::bytes_marked,
     {{19, 128, 8, 316}, {21, 192, 8, 338, 320}, {25, 256, 8, 365, 448}, {26, 368, 8, 379, 624}}},
    {"goroutineLeak.done", &Work::goroutine_leak_done, {{26, 450, 1, 412, 706}}},
    {"mode",
     &Work::mode,
     {{19, 272, 8, 363},
      {21, 336, 8, 385, 464},
      {23, 328, 8, 397, 456},
      {25, 392, 8, 411, 584},
      {26, 528, 8, 452, 784}}},
    {"userForced",
     &Work::user_forced,
     {{19, 280, 1, 367},
      {21, 344, 1, 389, 472},
      {23, 336, 1, 401, 464},
      {25, 400, 1, 415, 592},
      {26, 536, 1, 456, 792}}},
    {"initialHeapLive",
     &Work::initial_heap_live,
     {{19, 296, 8, 375},
      {21, 352, 8, 393, 480},
      {23, 344, 8, 405, 472},
      {25, 408, 8, 419, 600},
      {26, 544, 8, 460, 800}}},
    {"cycles",
     &Work::cycles,
     {{19, 344, 4, 396},
      {21, 400, 4, 414, 528},
      {23, 424, 4, 446, 552},
      {25, 512, 4, 460, 704},
      {26, 648, 4, 501, 904}}},
    {"stwprocs",
     &Work::stwprocs,
     {{19, 348, 4, 399},
      {21, 404, 4, 417, 532},
      {23, 428, 4, 449, 556},
      {25, 516, 4, 463, 708},
      {26, 652, 4, 504, 908}}},
    {"maxprocs",
     &Work::maxprocs,
     {{19, 352, 4, 399},
      {21, 408, 4, 417, 536},
      {23, 432, 4, 449, 560},
      {25, 520, 4, 463, 712},
      {26, 656, 4, 504, 912}}},
    {"tSweepTerm",
     &Work::t_sweep_term,
     {{19, 360, 8, 400},
      {21, 416, 8, 418, 544},
      {23, 440, 8, 450, 568},
      {25, 528, 8, 464, 720},
      {26, 664, 8, 505, 920}}},
    {"tMark",
     &Work::t_mark,
     {{19, 368, 8, 400},
      {21, 424, 8, 418, 552},
      {23, 448, 8, 450, 576},
      {25, 536, 8, 464, 728},
      {26, 672, 8, 505, 928}}},
    {"tMarkTerm",
     &Work::t_mark_term,
     {{19, 376, 8, 400},
      {21, 432, 8, 418, 560},
      {23, 456, 8, 450, 584},
      {25, 544, 8, 464, 736},
      {26, 680, 8, 505, 936}}},
    {"tEnd",
     &Work::t_end,
     {{19, 384, 8, 400},
      {21, 440, 8, 418, 568},
      {23, 464, 8, 450, 592},
      {25, 552, 8, 464, 744},
      {26, 688, 8, 505, 944}}},
    {"pauseNS",
     &Work::pause_ns,
     {{19, 392, 8, 402},
      {21, 448, 8, 420, 576},
      {23, 472, 8, 455, 600},
      {25, 560, 8, 469, 752},
      {26, 696, 8, 510, 952}}},
    {"heap0",
     &Work::heap0,
     {{19, 408, 8, 406},
      {21, 464, 8, 424, 592},
      {22, 456, 8, 424, 584},
      {23, 480, 8, 458, 608},
      {25, 568, 8, 472, 760},
      {26, 704, 8, 513, 960}}},
    {"heap1",
     &Work::heap1,
     {{19, 416, 8, 406},
      {21, 472, 8, 424, 600},
      {22, 464, 8, 424, 592},
      {23, 488, 8, 458, 616},
      {25, 576, 8, 472, 768},
      {26, 712, 8, 513, 968}}},
    {"heap2",
     &Work::heap2,
     {{19, 424, 8, 406},
      {21, 480, 8, 424, 608},
      {22, 472, 8, 424, 600},
      {23, 496, 8, 458, 624},
      {25, 584, 8, 472, 776},
      {26, 720, 8, 513, 976}}},
    {"cpuStats",
     &Work::cpu_stats,
     {{21, 488, 88, 427, 616},
      {22, 480, 88, 427, 608},
      {23, 504, 88, 461, 632},
      {25, 592, 88, 475, 784},
      {26, 728, 88, 516, 984}}},
};
constexpr StructTable<Work> kWork = {"work",
                                     {{19, "runtime/mgc.go"}},
                                     {{19, 432, 284},
                                      {21, 576, 305, 704},
                                      {22, 568, 306, 696},
                                      {23, 592, 318, 720},
                                      {25, 680, 325, 872},
                                      {26, 816, 327, 1072}},
                                     kWorkFields};

using Sweepdata = RuntimeLayout::Sweepdata;
constexpr FieldRow<Sweepdata> kSweepdataFields[] = {
    {"parked", &Sweepdata::parked, {{19, 16, 1, 38}}},
    {"active", &Sweepdata::active, {{19, 28, 4, 46}, {22, 20, 4, 44}}},
    {"centralIndex", &Sweepdata::central_index, {{19, 32, 4, 55}, {22, 24, 4, 53}}},
};
constexpr StructTable<Sweepdata> kSweepdata = {
    "sweepdata", {{19, "runtime/mgcsweep.go"}}, {{19, 40, 35}, {22, 32, 37}}, kSweepdataFields};

}  // namespace

void visit_statistics(RuntimeLayout& layout, std::vector<FieldDescription>* descriptions) {
  visit(kMstats, layout, layout.mstats, descriptions);
  visit(kConsistentHeapStats, layout, layout.consistent_heap_stats, descriptions);
  visit(kHeapStatsDelta, layout, layout.heap_stats_delta, descriptions);
  visit(kGcController, layout, layout.gc_controller, descriptions);
  visit(kWork, layout, layout.work, descriptions);
  visit(kSweepdata, layout, layout.sweepdata, descriptions);
}

}  // namespace goheapd::gobin::layout_table
