#include "daemon/runtime/self_check.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "daemon/runtime/bucket_list.h"

namespace goheapd::runtime {
namespace {

// The first spans of a heap are old and stay, but a few may be free at the moment.
constexpr uint64_t kSpansToTry = 64;
constexpr size_t kBucketsToTry = 16;
// sweepgen and numgc are changed one after the other while the world is stopped, which takes up to milliseconds.
constexpr int kSweepgenTries = 50;
constexpr std::chrono::milliseconds kPause{1};

Unexpected refuse(const RuntimeView& view, const std::string& what) {
  return fail("the runtime's memory is not laid out as this Go version's should be: " + what,
              "pid " + std::to_string(view.memory().pid()));
}

// The field of a struct in the target.
Expected<uint64_t> field_at(const RuntimeView& view, uint64_t address, gobin::Field field) {
  std::array<std::byte, sizeof(uint64_t)> bytes{};
  const size_t size = std::min<size_t>(field.size, bytes.size());
  const auto done = view.memory().read(address + field.offset, std::span(bytes).first(size));
  if (!done) return Unexpected(done.error());
  const auto value =
      gobin::read_field(ByteView(std::span(bytes).first(size)), gobin::Field{0, static_cast<uint32_t>(size)});
  if (!value) return fail("this Go version does not have the field");
  return *value;
}

Expected<void> check_generations(const RuntimeView& view) {
  const auto& layout = view.layout();
  uint64_t sweepgen = 0;
  uint64_t cycles = 0;
  for (int tries = 0; tries < kSweepgenTries; ++tries) {
    const auto generation = field_at(view, view.addresses().mheap, layout.mheap.sweepgen);
    if (!generation) return Unexpected(generation.error());
    const auto count = field_at(view, view.addresses().memstats, layout.mstats.numgc);
    if (!count) return Unexpected(count.error());
    sweepgen = *generation;
    cycles = *count;
    if (static_cast<uint32_t>(sweepgen) == static_cast<uint32_t>(2 * cycles)) return {};
    std::this_thread::sleep_for(kPause);
  }
  return refuse(
      view, "sweepgen is " + std::to_string(sweepgen) + " after " + std::to_string(cycles) + " GC cycles");
}

Expected<void> check_spans(const RuntimeView& view) {
  const auto& layout = view.layout();
  const uint64_t mheap = view.addresses().mheap;
  const auto spans = field_at(view, mheap, layout.mheap.allspans);
  if (!spans) return Unexpected(spans.error());
  const auto count = view.memory().read<uint64_t>(mheap + layout.mheap.allspans.offset + 8);
  if (!count) return Unexpected(count.error());
  const auto table = field_at(view, mheap, layout.mheap.arenas);
  if (!table) return Unexpected(table.error());

  for (uint64_t i = 0; i < std::min(*count, kSpansToTry); ++i) {
    const auto span = view.memory().read<uint64_t>(*spans + i * 8);
    if (!span) return Unexpected(span.error());
    const auto state = field_at(view, *span, layout.mspan.state);
    const auto start = field_at(view, *span, layout.mspan.start_addr);
    if (!state) return Unexpected(state.error());
    if (!start) return Unexpected(start.error());
    if (*state != gobin::kSpanStateInUse) continue;
    const uint64_t arena = (*start - layout.arena_base) / gobin::kHeapArenaBytes;
    if (arena >= gobin::kArenaTableEntries) return refuse(view, "a span lies outside of the heap");
    const auto heap_arena = view.memory().read<uint64_t>(*table + arena * 8);
    if (!heap_arena) return Unexpected(heap_arena.error());
    const uint64_t page = *start / gobin::kGoPageSize % gobin::kPagesPerArena;
    const auto found = view.memory().read<uint64_t>(*heap_arena + layout.heap_arena.spans.offset + page * 8);
    if (!found) return Unexpected(found.error());
    if (*found == *span) return {};
    // Freed while we looked? Try the next; a wrong layout fails with all of them.
  }
  return refuse(view, "no span is where the heap's tables say");
}

Expected<void> check_scheduler(const RuntimeView& view) {
  const auto& layout = view.layout();
  const auto& addresses = view.addresses();
  const auto allgs = view.memory().read<uint64_t>(addresses.allgptr);
  if (!allgs) return Unexpected(allgs.error());
  const auto count = view.memory().read<uint64_t>(addresses.allglen);
  if (!count) return Unexpected(count.error());
  if (*count == 0) return refuse(view, "there is no goroutine");
  const auto main_goroutine = view.memory().read<uint64_t>(*allgs);
  if (!main_goroutine) return Unexpected(main_goroutine.error());
  const auto goid = field_at(view, *main_goroutine, layout.g.goid);
  if (!goid) return Unexpected(goid.error());
  if (*goid != 1) return refuse(view, "the first goroutine has number " + std::to_string(*goid));

  const auto allp = view.memory().read<uint64_t>(addresses.allp);
  if (!allp) return Unexpected(allp.error());
  const auto first_p = view.memory().read<uint64_t>(*allp);
  if (!first_p) return Unexpected(first_p.error());
  const auto id = field_at(view, *first_p, layout.p.id);
  if (!id) return Unexpected(id.error());
  if (*id != 0) return refuse(view, "the first P has number " + std::to_string(*id));
  return {};
}

// The main thread's m has a goroutine for the scheduler, which belongs to that m.
Expected<void> check_main_thread(const RuntimeView& view) {
  const uint64_t m0 = view.addresses().m0;
  if (m0 == 0) return {};
  const auto g0 = field_at(view, m0, view.layout().m.g0);
  if (!g0) return Unexpected(g0.error());
  const auto m = field_at(view, *g0, view.layout().g.m);
  if (!m) return Unexpected(m.error());
  if (*m != m0) return refuse(view, "the main thread's g0 is not its own");
  return {};
}

// A slot is of a size class or has pages of its own.
bool is_slot_size(uint64_t size) {
  const auto& classes = gobin::kSizeClassBytes;
  return size % gobin::kGoPageSize == 0 || std::binary_search(classes.begin(), classes.end(), size);
}

Expected<void> check_profile(const RuntimeView& view) {
  const auto rate = view.memory().read<int64_t>(view.addresses().mem_profile_rate);
  if (!rate) return Unexpected(rate.error());
  // A negative one switches the sampler off.
  constexpr int64_t kMostBelievable = int64_t{1} << 40;
  if (*rate < -kMostBelievable || *rate > kMostBelievable)
    return refuse(view, "MemProfileRate is " + std::to_string(*rate));

  BucketList list(view, kBucketsToTry);
  std::vector<Bucket> buckets;
  if (const auto done = list.walk_new(buckets); !done) return Unexpected(done.error());
  for (const Bucket& bucket : buckets) {
    if (!is_slot_size(bucket.object_size) || bucket_hash(bucket) != bucket.hash) {
      return refuse(view, "a memory profile bucket has another hash than its contents");
    }
  }
  return {};
}

}  // namespace

Expected<void> runtime_self_check(const RuntimeView& view) {
  for (const auto check :
       {check_generations, check_spans, check_main_thread, check_scheduler, check_profile}) {
    if (auto passed = check(view); !passed) {
      // A fault says the same as a wrong value, but less clearly.
      if (passed.error().errno_value != EFAULT) return passed;
      return refuse(view, "an address leads nowhere");
    }
  }
  return view.memory().verify();
}

}  // namespace goheapd::runtime
