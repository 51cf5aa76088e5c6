#include "daemon/runtime/heap_stats_reader.h"

#include <algorithm>
#include <string>
#include <utility>

#include "daemon/base/clock.h"

namespace goheapd::runtime {
namespace {

static_assert(model::kHeapStatsClasses == gobin::kSizeClasses);

constexpr int kTries = 16;
constexpr uint64_t kMaxProcessors = 8192;
constexpr size_t kDeltas = 3;  // len(consistentHeapStats.stats)
constexpr uint64_t kWord = sizeof(uint64_t);

// mspan.sweepgen relative to mheap.sweepgen: 1 = taken before the sweep began, 3 = taken and swept.
// https://github.com/golang/go/blob/go1.24.4/src/runtime/mheap.go#L459
bool is_taken(uint32_t span_generation, uint32_t heap_generation) {
  return span_generation == heap_generation + 1 || span_generation == heap_generation + 3;
}

struct Range {
  uint64_t begin = UINT64_MAX;
  uint64_t end = 0;
  void cover(gobin::Field field) {
    begin = std::min<uint64_t>(begin, field.offset);
    end = std::max<uint64_t>(end, field.end());
  }
  uint64_t size() const { return end - begin; }
};

bool same(const model::ClassCounts& a, const model::ClassCounts& b) {
  return a.allocs == b.allocs && a.frees == b.frees;
}

bool same_large(const model::HeapStatsReading& a, const model::HeapStatsReading& b) {
  return same(a.large, b.large) && a.large_alloc_bytes == b.large_alloc_bytes &&
         a.large_free_bytes == b.large_free_bytes;
}

bool same_sizes(const model::HeapStatsReading& a, const model::HeapStatsReading& b) {
  return a.committed == b.committed && a.released == b.released && a.in_heap == b.in_heap &&
         a.in_stacks == b.in_stacks && a.in_work_bufs == b.in_work_bufs &&
         a.in_ptr_scalar_bits == b.in_ptr_scalar_bits;
}

void copy_large(const model::HeapStatsReading& from, model::HeapStatsReading& to) {
  to.large = from.large;
  to.large_alloc_bytes = from.large_alloc_bytes;
  to.large_free_bytes = from.large_free_bytes;
}

void copy_sizes(const model::HeapStatsReading& from, model::HeapStatsReading& to) {
  to.committed = from.committed;
  to.released = from.released;
  to.in_heap = from.in_heap;
  to.in_stacks = from.in_stacks;
  to.in_work_bufs = from.in_work_bufs;
  to.in_ptr_scalar_bits = from.in_ptr_scalar_bits;
}

}  // namespace

Expected<HeapStatsReader::Handed> HeapStatsReader::read_handed() {
  const auto& layout = view_->layout();
  const auto& addresses = view_->addresses();
  const uint64_t stats_bytes = layout.consistent_heap_stats.sizeof_struct;
  constexpr uint64_t kSliceBytes = 2 * kWord;  // pointer and length
  const uint64_t sweepgen_bytes = layout.mheap.sweepgen.size;
  handed_bytes_.resize(stats_bytes + kSliceBytes + sweepgen_bytes);
  const std::span<std::byte> into(handed_bytes_);
  std::array<process::MemoryPiece, 3> pieces = {{
      {addresses.memstats + layout.mstats.heap_stats.offset, into.first(stats_bytes)},
      {addresses.allp, into.subspan(stats_bytes, kSliceBytes)},
      {addresses.mheap + layout.mheap.sweepgen.offset, into.last(sweepgen_bytes)},
  }};
  const auto complete = view_->memory().read(std::span(pieces));
  if (!complete) return Unexpected(complete.error());
  if (*complete != pieces.size()) return fail("the allocator's counters are not mapped");

  const ByteView bytes(handed_bytes_);
  const auto number = [&](gobin::Field field, uint64_t base) {
    return gobin::read_field(bytes, field, base).value_or(0);
  };
  Handed handed;
  handed.generation = static_cast<uint32_t>(number(layout.consistent_heap_stats.gen, 0));
  handed.allp = bytes.read<uint64_t>(stats_bytes).value_or(0);
  handed.processors = bytes.read<uint64_t>(stats_bytes + kWord).value_or(0);
  handed.sweepgen = bytes.read<uint32_t>(stats_bytes + kSliceBytes).value_or(0);
  if (handed.generation >= kDeltas || handed.processors > kMaxProcessors) {
    return fail("the allocator's counters make no sense", "pid " + std::to_string(view_->memory().pid()));
  }

  const auto& fields = layout.heap_stats_delta;
  model::HeapStatsReading& totals = handed.totals;
  for (size_t i = 0; i < kDeltas; ++i) {
    const uint64_t base = layout.consistent_heap_stats.stats.offset + i * fields.sizeof_struct;
    for (size_t size_class = 1; size_class < model::kHeapStatsClasses; ++size_class) {
      totals.small[size_class].allocs += number(fields.small_alloc_count, base + size_class * kWord);
      totals.small[size_class].frees += number(fields.small_free_count, base + size_class * kWord);
    }
    totals.large.allocs += number(fields.large_alloc_count, base);
    totals.large.frees += number(fields.large_free_count, base);
    totals.large_alloc_bytes += number(fields.large_alloc, base);
    totals.large_free_bytes += number(fields.large_free, base);
    totals.tiny_allocs += number(fields.tiny_alloc_count, base);
    const auto add = [&](int64_t& size, gobin::Field field) {
      size = static_cast<int64_t>(static_cast<uint64_t>(size) + number(field, base));
    };
    add(totals.committed, fields.committed);
    add(totals.released, fields.released);
    add(totals.in_heap, fields.in_heap);
    add(totals.in_stacks, fields.in_stacks);
    add(totals.in_work_bufs, fields.in_work_bufs);
    add(totals.in_ptr_scalar_bits, fields.in_ptr_scalar_bits);
    // The part behind the present one is emptied when a merge ends.
    if (i == (handed.generation + 1) % kDeltas) {
      const auto part = into.subspan(base, fields.sizeof_struct);
      handed.merging =
          std::any_of(part.begin(), part.end(), [](std::byte byte) { return byte != std::byte{}; });
    }
  }
  return handed;
}

// Fills caches_ with mcache.tinyAllocs to mcache.alloc of every processor.
Expected<void> HeapStatsReader::read_caches(const Handed& handed) {
  const auto& layout = view_->layout();
  std::vector<uint64_t> pointers(handed.processors);
  if (auto done = view_->memory().read(handed.allp, std::as_writable_bytes(std::span(pointers))); !done) {
    return Unexpected(done.error());
  }
  std::vector<uint64_t> caches(pointers.size());
  std::vector<process::MemoryPiece> pieces(pointers.size());
  for (size_t i = 0; i < pieces.size(); ++i) {
    pieces[i] = {pointers[i] + layout.p.mcache.offset, std::as_writable_bytes(std::span(&caches[i], 1))};
  }
  if (auto complete = view_->memory().read(std::span(pieces)); !complete) return Unexpected(complete.error());

  Range range;
  range.cover(layout.mcache.tiny_allocs);
  range.cover(layout.mcache.alloc);
  caches_.assign(pieces.size() * range.size(), std::byte{});
  for (size_t i = 0; i < pieces.size(); ++i) {
    pieces[i] = {caches[i] + range.begin, std::span(caches_).subspan(i * range.size(), range.size())};
  }
  if (auto complete = view_->memory().read(std::span(pieces)); !complete) return Unexpected(complete.error());
  for (const process::MemoryPiece& piece : pieces) {
    // A processor without a cache has allocated nothing.
    if (!piece.complete) std::fill(piece.into.begin(), piece.into.end(), std::byte{});
  }
  return {};
}

Expected<HeapStatsReader::Cached> HeapStatsReader::read_cached(const Handed& handed) {
  Cached cached;
  if (handed.processors == 0) return cached;
  if (auto done = read_caches(handed); !done) return Unexpected(done.error());
  const auto& layout = view_->layout();
  Range range;
  range.cover(layout.mcache.tiny_allocs);
  range.cover(layout.mcache.alloc);
  Range span_range;
  span_range.cover(layout.mspan.sweepgen);
  span_range.cover(layout.mspan.alloc_count);
  span_range.cover(layout.mspan.alloc_count_before_cache);

  // Most places hold the runtime's one empty span, which is never marked as taken: read each span once.
  struct Place {
    uint64_t span;
    size_t size_class;
  };
  std::vector<Place> places;
  const ByteView caches(caches_);
  for (uint64_t i = 0; i < handed.processors; ++i) {
    const uint64_t base = i * range.size();
    cached.tiny += caches.read<uint64_t>(base + layout.mcache.tiny_allocs.offset - range.begin).value_or(0);
    for (uint64_t span_class = 2; span_class < gobin::kSpanClasses; ++span_class) {
      const auto span =
          caches.read<uint64_t>(base + layout.mcache.alloc.offset - range.begin + span_class * kWord);
      if (span && *span != 0) places.push_back({*span, span_class / 2});
    }
  }
  std::stable_sort(places.begin(), places.end(),
                   [](const Place& a, const Place& b) { return a.span < b.span; });
  places.erase(std::unique(places.begin(), places.end(),
                           [](const Place& a, const Place& b) { return a.span == b.span; }),
               places.end());

  std::vector<std::byte> spans(places.size() * span_range.size());
  std::vector<process::MemoryPiece> pieces(places.size());
  for (size_t i = 0; i < pieces.size(); ++i) {
    pieces[i] = {places[i].span + span_range.begin,
                 std::span(spans).subspan(i * span_range.size(), span_range.size())};
  }
  if (auto complete = view_->memory().read(std::span(pieces)); !complete) return Unexpected(complete.error());
  for (size_t i = 0; i < pieces.size(); ++i) {
    const ByteView span(pieces[i].into);
    const auto number = [&](gobin::Field field) {
      field.offset -= static_cast<uint32_t>(span_range.begin);
      return gobin::read_field(span, field).value_or(0);
    };
    const uint64_t used = number(layout.mspan.alloc_count);
    const uint64_t before = number(layout.mspan.alloc_count_before_cache);
    const size_t size_class = places[i].size_class;
    const bool readable = pieces[i].complete && before <= used;
    const auto generation = static_cast<uint32_t>(number(layout.mspan.sweepgen));
    if (readable && is_taken(generation, handed.sweepgen)) {
      cached.small[size_class] += used - before;
    } else if (!readable || used != 0) {
      cached.torn[size_class] = true;  // unreadable, or just being handed in
    }
  }
  return cached;
}

Expected<model::HeapStatsReading> HeapStatsReader::read() {
  model::HeapStatsReading reading;
  reading.begin_ns = kernel_time_ns();
  std::array<bool, model::kHeapStatsClasses> settled{};
  settled[0] = true;
  bool large_settled = false;
  bool sizes_settled = false;
  bool tiny_settled = false;
  bool has_sound_try = false;
  constexpr size_t kTinyClass =
      2;  // slots of 16 bytes; https://github.com/golang/go/blob/go1.24.4/src/runtime/malloc.go#L116
  for (int tries = 0; tries < kTries && !reading.consistent; ++tries) {
    if (tries != 0) ++reading.retries;
    const auto before = read_handed();
    if (!before) return Unexpected(before.error());
    const auto cached = read_cached(*before);
    if (!cached) return Unexpected(cached.error());
    const auto after = read_handed();
    if (!after) return Unexpected(after.error());
    const bool undisturbed = !before->merging && !after->merging && before->generation == after->generation &&
                             before->sweepgen == after->sweepgen && before->allp == after->allp &&
                             before->processors == after->processors;
    // What is not settled in any try is taken from one that lacks objects rather than from one that has some twice.
    if (!undisturbed && has_sound_try) continue;
    has_sound_try = undisturbed;
    const model::HeapStatsReading& first = before->totals;
    const model::HeapStatsReading& second = after->totals;
    for (size_t c = 1; c < settled.size(); ++c) {
      if (settled[c]) continue;
      settled[c] = undisturbed && !cached->torn[c] && same(first.small[c], second.small[c]);
      reading.small[c] = first.small[c];
      reading.small[c].allocs += cached->small[c];
    }
    if (!tiny_settled) {
      tiny_settled = undisturbed && !cached->torn[kTinyClass] && first.tiny_allocs == second.tiny_allocs;
      reading.tiny_allocs = first.tiny_allocs + cached->tiny;
    }
    if (!large_settled) {
      large_settled = undisturbed && same_large(first, second);
      copy_large(first, reading);
    }
    if (!sizes_settled) {
      sizes_settled = undisturbed && same_sizes(first, second);
      copy_sizes(first, reading);
    }
    reading.consistent = large_settled && sizes_settled && tiny_settled &&
                         std::all_of(settled.begin(), settled.end(), [](bool one) { return one; });
  }
  reading.may_count_twice = !has_sound_try;
  reading.end_ns = kernel_time_ns();
  if (auto alive = view_->memory().verify(); !alive) return Unexpected(alive.error());
  return reading;
}

}  // namespace goheapd::runtime
