// The memory profile and the heap: runtime/mprof.go, mheap.go, mcache.go.
// runtime_layout_table.h explains the columns; tests/go_programs/layout_extractor prints them for a new
// release.
#include "daemon/gobin/runtime_layout_table.h"

namespace goheapd::gobin::layout_table {
namespace {

using Bucket = RuntimeLayout::Bucket;
constexpr FieldRow<Bucket> kBucketFields[] = {
    {"next", &Bucket::next, {{19, 0, 8, 63}}},  {"allnext", &Bucket::allnext, {{19, 8, 8, 64}}},
    {"typ", &Bucket::typ, {{19, 16, 8, 65}}},   {"hash", &Bucket::hash, {{19, 24, 8, 66}}},
    {"size", &Bucket::size, {{19, 32, 8, 67}}}, {"nstk", &Bucket::nstk, {{19, 40, 8, 68}}},
};
constexpr StructTable<Bucket> kBucket = {"bucket", {{19, "runtime/mprof.go"}}, {{19, 48, 62}}, kBucketFields};

using MemRecord = RuntimeLayout::MemRecord;
constexpr FieldRow<MemRecord> kMemRecordFields[] = {
    {"active", &MemRecord::active, {{19, 0, 32, 118}, {27, 0, 16, 131}}},
    {"future", &MemRecord::future, {{19, 32, 96, 130}, {27, 16, 48, 143}}},
};
constexpr StructTable<MemRecord> kMemRecord = {
    "memRecord", {{19, "runtime/mprof.go"}}, {{19, 128, 73}, {27, 64, 87}}, kMemRecordFields};

using MemRecordCycle = RuntimeLayout::MemRecordCycle;
constexpr FieldRow<MemRecordCycle> kMemRecordCycleFields[] = {
    {"allocs", &MemRecordCycle::allocs, {{19, 0, 8, 135}}},
    {"frees", &MemRecordCycle::frees, {{19, 8, 8, 135}}},
    {"alloc_bytes", &MemRecordCycle::alloc_bytes, {{19, 16, 8, 136}, {27}}},
    {"free_bytes", &MemRecordCycle::free_bytes, {{19, 24, 8, 136}, {27}}},
};
constexpr StructTable<MemRecordCycle> kMemRecordCycle = {
    "memRecordCycle", {{19, "runtime/mprof.go"}}, {{19, 32, 134}, {27, 16, 147}}, kMemRecordCycleFields};

using Special = RuntimeLayout::Special;
constexpr FieldRow<Special> kSpecialFields[] = {
    {"next", &Special::next, {{19, 0, 8, 1730}}},
    {"offset", &Special::offset, {{19, 8, 2, 1731}, {24, 8, 8, 1842}}},
    {"kind", &Special::kind, {{19, 10, 1, 1732}, {24, 16, 1, 1843}}},
};
constexpr StructTable<Special> kSpecial = {
    "special", {{19, "runtime/mheap.go"}}, {{19, 16, 1729}, {24, 24, 1839}}, kSpecialFields};

using SpecialProfile = RuntimeLayout::SpecialProfile;
constexpr FieldRow<SpecialProfile> kSpecialProfileFields[] = {
    {"special", &SpecialProfile::special, {{19, 0, 16, 1911}, {24, 0, 24, 2300}}},
    {"b", &SpecialProfile::bucket, {{19, 16, 8, 1912}, {24, 24, 8, 2301}}},
};
constexpr StructTable<SpecialProfile> kSpecialProfile = {
    "specialprofile", {{19, "runtime/mheap.go"}}, {{19, 24, 1910}, {24, 32, 2298}}, kSpecialProfileFields};

using Mspan = RuntimeLayout::Mspan;
constexpr FieldRow<Mspan> kMspanFields[] = {
    {"next", &Mspan::next, {{19, 0, 8, 378}}},
    {"prev", &Mspan::prev, {{19, 8, 8, 379}}},
    {"list", &Mspan::list, {{19, 16, 8, 380}}},
    {"startAddr", &Mspan::start_addr, {{19, 24, 8, 382}}},
    {"npages", &Mspan::npages, {{19, 32, 8, 383}}},
    {"manualFreeList", &Mspan::manual_free_list, {{19, 40, 8, 385}}},
    {"freeindex", &Mspan::freeindex, {{19, 48, 8, 402}, {22, 48, 2, 424}}},
    {"nelems", &Mspan::nelems, {{19, 56, 8, 405}, {22, 50, 2, 427}}},
    {"freeIndexForScan",
     &Mspan::free_index_for_scan,
     {{19, 136, 8, 466}, {21, 160, 8, 503}, {22, 52, 2, 434}}},
    {"allocCache", &Mspan::alloc_cache, {{19, 64, 8, 413}, {22, 56, 8, 442}}},
    {"allocBits", &Mspan::alloc_bits, {{19, 72, 8, 437}, {22, 64, 8, 466}}},
    {"gcmarkBits", &Mspan::gcmark_bits, {{19, 80, 8, 438}, {22, 72, 8, 467}}},
    {"pinnerBits", &Mspan::pinner_bits, {{21, 88, 8, 473}, {22, 80, 8, 468}}},
    {"sweepgen", &Mspan::sweepgen, {{19, 88, 4, 448}, {21, 96, 4, 483}, {22, 88, 4, 478}}},
    {"divMul", &Mspan::div_mul, {{19, 92, 4, 449}, {21, 100, 4, 484}, {22, 92, 4, 479}}},
    {"allocCount", &Mspan::alloc_count, {{19, 96, 2, 450}, {21, 104, 2, 485}, {22, 96, 2, 480}}},
    {"spanclass", &Mspan::spanclass, {{19, 98, 1, 451}, {21, 106, 1, 486}, {22, 98, 1, 481}}},
    {"state", &Mspan::state, {{19, 99, 1, 452}, {21, 107, 1, 487}, {22, 99, 1, 482}}},
    {"needzero", &Mspan::needzero, {{19, 100, 1, 453}, {21, 108, 1, 488}, {22, 100, 1, 483}}},
    {"isUserArenaChunk", &Mspan::is_user_arena_chunk, {{21, 109, 1, 489}, {22, 101, 1, 484}}},
    {"allocCountBeforeCache",
     &Mspan::alloc_count_before_cache,
     {{19, 102, 2, 454}, {21, 110, 2, 490}, {22, 102, 2, 485}}},
    {"elemsize", &Mspan::elemsize, {{19, 104, 8, 455}, {21, 112, 8, 491}, {22, 104, 8, 486}}},
    {"limit", &Mspan::limit, {{19, 112, 8, 456}, {21, 120, 8, 492}, {22, 112, 8, 487}}},
    {"speciallock", &Mspan::speciallock, {{19, 120, 8, 457}, {21, 128, 8, 493}, {22, 120, 8, 488}}},
    {"specials", &Mspan::specials, {{19, 128, 8, 458}, {21, 136, 8, 494}, {22, 128, 8, 489}}},
    {"userArenaChunkFree", &Mspan::user_arena_chunk_free, {{21, 144, 16, 495}, {22, 136, 16, 490}}},
    {"largeType", &Mspan::large_type, {{22, 152, 8, 491}}},
};
constexpr StructTable<Mspan> kMspan = {
    "mspan", {{19, "runtime/mheap.go"}}, {{19, 144, 377}, {21, 168, 410}, {22, 160, 398}}, kMspanFields};

using Mheap = RuntimeLayout::Mheap;
constexpr FieldRow<Mheap> kMheapFields[] = {
    {"sweepgen", &Mheap::sweepgen, {{19, 65848, 4, 71}, {21, 65856, 4, 70}}},
    {"allspans", &Mheap::allspans, {{19, 65856, 24, 84}, {21, 65864, 24, 83}}},
    {"pagesInUse", &Mheap::pages_in_use, {{19, 65880, 8, 106}, {21, 65888, 8, 103}}},
    {"pagesSwept", &Mheap::pages_swept, {{19, 65888, 8, 107}, {21, 65896, 8, 104}}},
    {"arenas", &Mheap::arenas, {{19, 65936, 8, 150}, {21, 65944, 8, 145}, {22, 66008, 8, 148, 66072}}},
    {"heapArenas|allArenas",
     &Mheap::all_arenas,
     {{19, 66016, 24, 174}, {21, 66032, 24, 173}, {22, 66096, 24, 176, 66160}}},
    {"spanalloc",
     &Mheap::spanalloc,
     {{19, 92224, 72, 205},
      {21, 92232, 72, 202, 100936},
      {22, 92296, 72, 205, 101064},
      {25, 92320, 72, 216, 101088}}},
    {"cachealloc",
     &Mheap::cachealloc,
     {{19, 92296, 72, 206},
      {21, 92304, 72, 203, 101008},
      {22, 92368, 72, 206, 101136},
      {25, 92392, 72, 217, 101160},
      {26, 92464, 72, 218, 101232}}},
    {"speciallock",
     &Mheap::speciallock,
     {{19, 92584, 8, 210},
      {21, 92664, 8, 208, 101368},
      {22, 92728, 8, 211, 101496},
      {23, 92800, 8, 211, 101568},
      {24, 92872, 8, 212, 101640},
      {25, 93112, 8, 227, 101880},
      {26, 93256, 8, 229, 102024}}},
};
constexpr StructTable<Mheap> kMheap = {"mheap",
                                       {{19, "runtime/mheap.go"}},
                                       {{19, 92672, 62},
                                        {21, 92792, 61, 101496},
                                        {22, 92856, 62, 101624},
                                        {23, 92928, 61, 101696},
                                        {24, 93008, 61, 101776},
                                        {25, 93320, 64, 102152},
                                        {26, 93464, 64, 102296}},
                                       kMheapFields};

using Fixalloc = RuntimeLayout::Fixalloc;
constexpr FieldRow<Fixalloc> kFixallocFields[] = {
    {"inuse", &Fixalloc::inuse, {{19, 48, 8, 35}}},
};
constexpr StructTable<Fixalloc> kFixalloc = {
    "fixalloc", {{19, "runtime/mfixalloc.go"}}, {{19, 72, 27}}, kFixallocFields};

using HeapArena = RuntimeLayout::HeapArena;
constexpr FieldRow<HeapArena> kHeapArenaFields[] = {
    {"spans", &HeapArena::spans, {{19, 2097152, 65536, 239}, {21, 1064960, 65536, 269}, {22, 0, 65536, 257}}},
    {"pageInUse",
     &HeapArena::page_in_use,
     {{19, 2162688, 1024, 247}, {21, 1130496, 1024, 277}, {22, 65536, 1024, 265}}},
    {"pageMarks",
     &HeapArena::page_marks,
     {{19, 2163712, 1024, 262}, {21, 1131520, 1024, 292}, {22, 66560, 1024, 280}}},
    {"pageSpecials",
     &HeapArena::page_specials,
     {{19, 2164736, 1024, 272}, {21, 1132544, 1024, 302}, {22, 67584, 1024, 290}}},
    {"pageUseSpanInlineMarkBits", &HeapArena::page_use_span_inline_mark_bits, {{25, 68608, 1024, 319}}},
    {"zeroedBase",
     &HeapArena::zeroed_base,
     {{19, 2165768, 8, 288}, {21, 1133576, 8, 318}, {22, 68616, 8, 306}, {25, 69640, 8, 335}}},
};
constexpr StructTable<HeapArena> kHeapArena = {
    "heapArena",
    {{19, "runtime/mheap.go"}},
    {{19, 2165776, 222}, {21, 1133584, 237}, {22, 68624, 240}, {25, 69648, 266}},
    kHeapArenaFields};

using SpanInlineMarkBits = RuntimeLayout::SpanInlineMarkBits;
constexpr FieldRow<SpanInlineMarkBits> kSpanInlineMarkBitsFields[] = {
    {"scans", &SpanInlineMarkBits::scans, {{26, 0, 63, 67}}},
    {"owned", &SpanInlineMarkBits::owned, {{26, 63, 1, 68}}},
    {"marks", &SpanInlineMarkBits::marks, {{26, 64, 63, 69}}},
};
constexpr StructTable<SpanInlineMarkBits> kSpanInlineMarkBits = {"spanInlineMarkBits",
                                                                 {{26, "runtime/mgcmark_greenteagc.go"}},
                                                                 {{26, 128, 66}},
                                                                 kSpanInlineMarkBitsFields};

using Mcache = RuntimeLayout::Mcache;
constexpr FieldRow<Mcache> kMcacheFields[] = {
    {"nextSample", &Mcache::next_sample, {{19, 0, 8, 23}}},
    {"memProfRate", &Mcache::mem_prof_rate, {{24, 8, 8, 25}}},
    {"scanAlloc", &Mcache::scan_alloc, {{19, 8, 8, 24}, {24, 16, 8, 26}}},
    {"tiny", &Mcache::tiny, {{19, 16, 8, 38}, {24, 24, 8, 40}}},
    {"tinyoffset", &Mcache::tinyoffset, {{19, 24, 8, 39}, {24, 32, 8, 41}}},
    {"tinyAllocs", &Mcache::tiny_allocs, {{19, 32, 8, 40}, {24, 40, 8, 42}}},
    {"alloc", &Mcache::alloc, {{19, 40, 1088, 44}, {24, 48, 1088, 46}}},
    {"reusableNoscan", &Mcache::reusable_noscan, {{26, 1136, 1088, 57}}},
    {"stackcache", &Mcache::stackcache, {{19, 1128, 64, 46}, {24, 1136, 64, 48}, {26, 2224, 64, 59}}},
    {"flushGen", &Mcache::flush_gen, {{19, 1192, 4, 52}, {24, 1200, 4, 54}, {26, 2288, 4, 65}}},
};
constexpr StructTable<Mcache> kMcache = {
    "mcache", {{19, "runtime/mcache.go"}}, {{19, 1200, 20}, {24, 1208, 19}, {26, 2296, 20}}, kMcacheFields};

}  // namespace

void visit_heap(RuntimeLayout& layout, std::vector<FieldDescription>* descriptions) {
  visit(kBucket, layout, layout.bucket, descriptions);
  visit(kMemRecord, layout, layout.mem_record, descriptions);
  visit(kMemRecordCycle, layout, layout.mem_record_cycle, descriptions);
  visit(kSpecial, layout, layout.special, descriptions);
  visit(kSpecialProfile, layout, layout.special_profile, descriptions);
  visit(kMspan, layout, layout.mspan, descriptions);
  visit(kMheap, layout, layout.mheap, descriptions);
  visit(kFixalloc, layout, layout.fixalloc, descriptions);
  visit(kHeapArena, layout, layout.heap_arena, descriptions);
  visit(kSpanInlineMarkBits, layout, layout.span_inline_mark_bits, descriptions);
  visit(kMcache, layout, layout.mcache, descriptions);
}

}  // namespace goheapd::gobin::layout_table
