#include "daemon/runtime/mem_stats_reader.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <string>

#include "daemon/base/clock.h"

namespace goheapd::runtime {
namespace {

constexpr int kTries = 4;
constexpr uint32_t kRing = 256;  // len(memstats.pause_ns)
constexpr uint64_t kMaxProcessors = 8192;

// A struct of the target, or a part of it, read in one piece with others.
class Piece {
 public:
  Piece(uint64_t address, uint32_t begin, uint32_t end) : begin_(begin), bytes_(end - begin) {
    piece_ = {address + begin, std::span(bytes_)};
  }
  Piece(const Piece&) = delete;  // piece_ refers to bytes_
  Piece& operator=(const Piece&) = delete;
  const process::MemoryPiece& request() const { return piece_; }
  // 0 for a field that this version does not have.
  uint64_t operator[](gobin::Field field) const {
    if (!field.present() || field.offset < begin_) return 0;
    field.offset -= begin_;
    return gobin::read_field(ByteView(bytes_), field).value_or(0);
  }
  ByteView bytes() const { return ByteView(bytes_); }

 private:
  uint32_t begin_;
  std::vector<std::byte> bytes_;
  process::MemoryPiece piece_;
};

}  // namespace

struct MemStatsReader::Rest {
  HeapGoalInputs goal;
  model::MemStatsReading stats;  // without what comes from HeapStatsReader
  bool operator==(const Rest& other) const {
    const auto& a = stats;
    const auto& b = other.stats;
    return a.num_gc == b.num_gc && a.pause_total_ns == b.pause_total_ns && a.heap_inuse == b.heap_inuse &&
           a.heap_idle == b.heap_idle && a.heap_released == b.heap_released && a.stack_sys == b.stack_sys &&
           a.mspan_sys == b.mspan_sys && a.mspan_inuse == b.mspan_inuse && a.mcache_sys == b.mcache_sys &&
           a.mcache_inuse == b.mcache_inuse && a.buck_hash_sys == b.buck_hash_sys && a.gc_sys == b.gc_sys &&
           a.other_sys == b.other_sys && a.gc_percent == b.gc_percent && a.memory_limit == b.memory_limit &&
           a.goroutines == b.goroutines && a.threads == b.threads &&
           goal.heap_marked == other.goal.heap_marked;
  }
};

// The goroutines that have ended and wait for reuse, in the scheduler's lists and in the processors'.
Expected<uint64_t> MemStatsReader::free_goroutines(uint64_t listed_centrally) {
  const auto& layout = view_->layout();
  struct {
    uint64_t pointer = 0;
    uint64_t length = 0;
  } slice;
  if (auto done = view_->memory().read(view_->addresses().allp, std::as_writable_bytes(std::span(&slice, 1)));
      !done) {
    return Unexpected(done.error());
  }
  if (slice.length > kMaxProcessors) return fail("there are too many processors to be true");
  std::vector<uint64_t> processors(slice.length);
  if (auto done = view_->memory().read(slice.pointer, std::as_writable_bytes(std::span(processors))); !done) {
    return Unexpected(done.error());
  }
  // A list's head comes first, then its length. Up to 1.24 gList was the head only, with the length beside it.
  const uint32_t length_offset = layout.g_list.size.present() ? layout.g_list.size.offset : 8;
  std::vector<uint32_t> lengths(processors.size());
  std::vector<process::MemoryPiece> pieces(processors.size());
  for (size_t i = 0; i < pieces.size(); ++i) {
    pieces[i] = {processors[i] + layout.p.g_free.offset + length_offset,
                 std::as_writable_bytes(std::span(&lengths[i], 1))};
  }
  if (auto complete = view_->memory().read(std::span(pieces)); !complete) return Unexpected(complete.error());
  uint64_t sum = listed_centrally;
  for (size_t i = 0; i < pieces.size(); ++i) {
    if (pieces[i].complete) sum += lengths[i];
  }
  return sum;
}

// How many durations a timeHistogram has taken in: its buckets, and those below and above.
// https://github.com/golang/go/blob/go1.24.4/src/runtime/histogram.go#L84
uint64_t histogram_count(ByteView histogram) {
  uint64_t sum = 0;
  for (size_t at = 0; at + sizeof(uint64_t) <= histogram.size(); at += sizeof(uint64_t)) {
    sum += histogram.read<uint64_t>(at).value_or(0);
  }
  return sum;
}

// The runtime sorts the stops by whether they were for the collector.
Expected<std::optional<model::StopCounts>> MemStatsReader::read_stops() {
  const auto& s = view_->layout().schedt;
  const gobin::Field gc = s.stw_total_time_gc;
  const gobin::Field other = s.stw_total_time_other;
  if (!gc.present() || !other.present()) return std::nullopt;
  std::vector<std::byte> bytes(other.end() - gc.offset);
  if (auto done = view_->memory().read(view_->addresses().sched + gc.offset, std::span(bytes)); !done)
    return Unexpected(done.error());
  const ByteView all(bytes);
  const auto part = [&](gobin::Field field) {
    return histogram_count(all.slice(field.offset - gc.offset, field.size).value_or(ByteView()));
  };
  return model::StopCounts{part(gc), part(other)};
}

Expected<MemStatsReader::Rest> MemStatsReader::read_rest() {
  const auto& layout = view_->layout();
  const auto& at = view_->addresses();
  if (at.gc_controller == 0 || at.sched == 0 || at.gomaxprocs == 0)
    return fail("the places of the runtime's statistics are not known");
  const auto& m = layout.mstats;
  const auto& c = layout.gc_controller;
  const auto& s = layout.schedt;
  const gobin::Field inuse = layout.fixalloc.inuse;
  std::array<Piece, 7> parts = {{
      {at.memstats, m.stacks_sys.offset, m.last_heap_in_use.end()},
      {at.gc_controller, 0, layout.gc_controller.mapped_ready.end()},
      {at.mheap + layout.mheap.spanalloc.offset, inuse.offset, inuse.end()},
      {at.mheap + layout.mheap.cachealloc.offset, inuse.offset, inuse.end()},
      {at.sched, s.mnext.offset, s.g_free.end()},
      {at.gomaxprocs, 0, 4},
      {at.allglen, 0, 8},
  }};
  std::array<process::MemoryPiece, parts.size()> pieces;
  for (size_t i = 0; i < parts.size(); ++i) pieces[i] = parts[i].request();
  const auto complete = view_->memory().read(std::span(pieces));
  if (!complete) return Unexpected(complete.error());
  if (*complete != pieces.size()) return fail("the runtime's statistics are not mapped");
  const auto& [memstats, controller, spans, caches, sched, procs, goroutines] = parts;

  Rest rest;
  const auto goal = heap_goal_inputs(layout, controller.bytes());
  if (!goal) return Unexpected(goal.error());
  rest.goal = *goal;

  model::MemStatsReading& stats = rest.stats;
  stats.heap_inuse = controller[c.heap_in_use];
  stats.heap_released = controller[c.heap_released];
  stats.heap_idle = controller[c.heap_free] + stats.heap_released;
  stats.heap_sys = stats.heap_inuse + stats.heap_idle;
  stats.gc_percent = static_cast<int32_t>(controller[c.gc_percent]);
  stats.memory_limit = static_cast<int64_t>(goal->memory_limit);
  stats.stack_sys = memstats[m.stacks_sys];
  stats.mspan_sys = memstats[m.mspan_sys];
  stats.mcache_sys = memstats[m.mcache_sys];
  stats.buck_hash_sys = memstats[m.buckhash_sys];
  stats.gc_sys = memstats[m.gc_misc_sys];
  stats.other_sys = memstats[m.other_sys];
  stats.mspan_inuse = spans[inuse];
  stats.mcache_inuse = caches[inuse];
  stats.last_gc_unix_ns = memstats[m.last_gc_unix];
  stats.pause_total_ns = memstats[m.pause_total_ns];
  stats.num_gc = static_cast<uint32_t>(memstats[m.numgc]);
  stats.num_forced_gc = static_cast<uint32_t>(memstats[m.numforcedgc]);
  const uint64_t fraction = memstats[m.gc_cpu_fraction];
  std::memcpy(&stats.gc_cpu_fraction, &fraction, sizeof fraction);
  for (uint32_t i = 0; i < std::min(stats.num_gc, kRing); ++i) {
    const uint64_t slot = m.pause_ns.offset - m.stacks_sys.offset + uint64_t{i} * 8;
    stats.pauses_ns.push_back(memstats.bytes().read<uint64_t>(slot).value_or(0));
  }

  const auto stops = read_stops();
  if (!stops) return Unexpected(stops.error());
  stats.stops = *stops;
  stats.max_procs = procs.bytes().read<int32_t>(0).value_or(0);
  stats.threads = sched[s.mnext] - sched[s.nmfreed];
  uint64_t listed = sched[s.g_free_n];
  if (layout.g_list.size.present()) {
    for (const gobin::Field list : {s.g_free_stack, s.g_free_no_stack}) {
      listed += sched[gobin::Field{list.offset + layout.g_list.size.offset, layout.g_list.size.size}];
    }
  }
  const auto free = free_goroutines(listed);
  if (!free) return Unexpected(free.error());
  const uint64_t all = goroutines.bytes().read<uint64_t>(0).value_or(0);
  // The runtime does not say less than one either: https://github.com/golang/go/blob/go1.24.4/src/runtime/proc.go#L5415
  const uint64_t idle = *free + sched[s.ngsys];
  stats.goroutines = all > idle ? std::max<uint64_t>(1, all - idle) : 1;
  return rest;
}

Expected<model::MemStatsReading> MemStatsReader::read() {
  const uint64_t begin_ns = kernel_time_ns();
  model::MemStatsReading best;
  for (int tries = 0; tries < kTries && !best.consistent; ++tries) {
    const auto before = read_rest();
    if (!before) return Unexpected(before.error());
    const auto heap = heap_stats_.read();
    if (!heap) return Unexpected(heap.error());
    const auto after = read_rest();
    if (!after) return Unexpected(after.error());

    // Objects that are counted twice are worse than some that are missing.
    if (tries != 0 && heap->may_count_twice) continue;
    model::MemStatsReading stats = after->stats;
    stats.consistent = heap->consistent && *before == *after;
    stats.may_count_twice = heap->may_count_twice;
    uint64_t freed = heap->large_free_bytes;
    stats.total_alloc = heap->large_alloc_bytes;
    stats.mallocs = heap->large.allocs + heap->tiny_allocs;
    stats.frees = heap->large.frees + heap->tiny_allocs;
    for (size_t i = 1; i < heap->small.size(); ++i) {
      stats.mallocs += heap->small[i].allocs;
      stats.frees += heap->small[i].frees;
      stats.total_alloc += heap->small[i].allocs * gobin::kSizeClassBytes[i];
      freed += heap->small[i].frees * gobin::kSizeClassBytes[i];
    }
    stats.heap_alloc = stats.total_alloc - freed;
    stats.stack_inuse = static_cast<uint64_t>(heap->in_stacks);
    stats.gc_sys += static_cast<uint64_t>(heap->in_work_bufs + heap->in_ptr_scalar_bits);
    stats.stack_sys += stats.stack_inuse;
    stats.sys = stats.heap_sys + stats.stack_sys + stats.mspan_sys + stats.mcache_sys + stats.buck_hash_sys +
                stats.gc_sys + stats.other_sys;
    HeapGoalInputs goal = after->goal;
    goal.heap_alloc = stats.heap_alloc;
    stats.next_gc = heap_goal(goal, view_->layout().minor);
    best = std::move(stats);
  }
  best.begin_ns = begin_ns;
  best.end_ns = kernel_time_ns();
  if (auto alive = view_->memory().verify(); !alive) return Unexpected(alive.error());
  return best;
}

}  // namespace goheapd::runtime
