#include "daemon/runtime/specials_reader.h"

#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>

#include "daemon/base/clock.h"

namespace goheapd::runtime {
namespace {

// Limits that no sane heap reaches and that bound what a hostile target costs.
constexpr uint64_t kMaxArenas = 65536;    // 4 TiB of heap
constexpr size_t kMaxSpans = 1u << 20;    // with specials
constexpr size_t kMaxSamples = 1u << 21;  // 48 MiB of readings
constexpr size_t kMaxListLength = 8192;   // a span has at most 1024 objects, each with a few specials
constexpr size_t kMaxBlockSpecials = 1u << 19;
constexpr uint64_t kMaxSpanPages = 1ull << 35;  // 256 TiB, the address space

constexpr size_t kBlockSpans = 512;
constexpr int kTries = 5;  // collects of a block after the first
constexpr size_t kBitmapBytes = gobin::kPagesPerArena / 8;
constexpr size_t kArenasPerBatch = 256;

Unexpected damaged(const RuntimeView& view, const char* what) {
  return fail(what, "pid " + std::to_string(view.memory().pid()));
}

}  // namespace

SpecialsReader::SpecialsReader(const RuntimeView& view)
    : view_(&view),
      mspans_(view.memory(), view.layout().mspan.sizeof_struct),
      specials_(view.memory(), view.layout().special_profile.sizeof_struct) {}

Expected<std::vector<SpecialsReader::Span>> SpecialsReader::find_spans() {
  const auto& layout = view_->layout();
  const auto& memory = view_->memory();
  const uint64_t mheap = view_->addresses().mheap;
  struct {
    uint64_t data, length;
  } slice{};
  if (const auto done =
          memory.read(mheap + layout.mheap.all_arenas.offset, std::as_writable_bytes(std::span(&slice, 1)));
      !done) {
    return Unexpected(done.error());
  }
  if (slice.length > kMaxArenas) return damaged(*view_, "the heap claims to be larger than any machine");
  const auto table = memory.read<uint64_t>(mheap + layout.mheap.arenas.offset);
  if (!table) return Unexpected(table.error());

  // The list of arenas is append-only, and an outgrown one stays where it is.
  std::vector<uint64_t> indices(slice.length);
  if (const auto done = memory.read(slice.data, std::as_writable_bytes(std::span(indices))); !done) {
    return Unexpected(done.error());
  }
  std::vector<uint64_t> arenas(indices.size());
  std::vector<process::MemoryPiece> pieces;
  for (size_t i = 0; i < indices.size(); ++i) {
    if (indices[i] >= gobin::kArenaTableEntries)
      return damaged(*view_, "the heap's list of arenas is damaged");
    pieces.push_back(
        {*table + indices[i] * sizeof(uint64_t), std::as_writable_bytes(std::span(&arenas[i], 1))});
  }
  auto complete = memory.read(pieces);
  if (!complete) return Unexpected(complete.error());
  if (*complete != pieces.size()) return damaged(*view_, "the heap's table of arenas is damaged");

  std::vector<Span> spans;
  std::vector<std::byte> bitmaps(kArenasPerBatch * kBitmapBytes);
  for (size_t first = 0; first < arenas.size(); first += kArenasPerBatch) {
    const size_t count = std::min(kArenasPerBatch, arenas.size() - first);
    pieces.clear();
    for (size_t i = 0; i < count; ++i) {
      pieces.push_back({arenas[first + i] + layout.heap_arena.page_specials.offset,
                        std::span(bitmaps).subspan(i * kBitmapBytes, kBitmapBytes)});
    }
    complete = memory.read(pieces);
    if (!complete) return Unexpected(complete.error());
    if (*complete != pieces.size()) return damaged(*view_, "the heap's table of arenas is damaged");
    for (size_t i = 0; i < count; ++i) {
      const uint64_t start = layout.arena_base + indices[first + i] * gobin::kHeapArenaBytes;
      const size_t before = spans.size();
      for (uint64_t page = 0; page < gobin::kPagesPerArena; ++page) {
        const auto byte = std::to_integer<unsigned>(pieces[i].into[page / 8]);
        if ((byte >> (page % 8) & 1) == 0) continue;
        Span span;
        span.mspan = arenas[first + i] + layout.heap_arena.spans.offset + page * sizeof(uint64_t);
        span.start = start + page * gobin::kGoPageSize;
        spans.push_back(std::move(span));
      }
      if (spans.size() > kMaxSpans) return damaged(*view_, "the heap has too many spans with specials");
      if (spans.size() == before) continue;
      if (const auto done = spans_of_arena(std::span(spans).subspan(before)); !done)
        return Unexpected(done.error());
    }
  }
  return spans;
}

// In: the address of the arena's table entry in Span::mspan. Out: what the entry says.
Expected<void> SpecialsReader::spans_of_arena(std::span<Span> spans) {
  std::vector<uint64_t> entries;
  entries.reserve(spans.size());
  for (const Span& span : spans) entries.push_back(span.mspan);
  RecordGather pointers(view_->memory(), sizeof(uint64_t));
  return pointers.read(entries, [&](size_t index, ByteView record) {
    spans[index].mspan = record.read<uint64_t>(0).value_or(0);
    return true;
  });
}

Expected<void> SpecialsReader::read_mspans(std::vector<Span>& spans) {
  const auto& layout = view_->layout().mspan;
  std::vector<uint64_t> addresses;
  addresses.reserve(spans.size());
  for (const Span& span : spans) addresses.push_back(span.mspan);
  return mspans_.read(addresses, [&](size_t index, ByteView record) {
    Span& span = spans[index];
    const auto start = gobin::read_field(record, layout.start_addr);
    const auto pages = gobin::read_field(record, layout.npages);
    const auto elemsize = gobin::read_field(record, layout.elemsize);
    const auto state = gobin::read_field(record, layout.state);
    const auto head = gobin::read_field(record, layout.specials);
    span.specials.clear();
    span.readable = start && pages && elemsize && state && head;
    if (!span.readable) return true;
    // The arena's table keeps pointers to structs of freed spans, which may stand for other memory by now.
    span.in_use = *start == span.start && *state == gobin::kSpanStateInUse;
    if (!span.in_use) return true;
    span.readable = *pages > 0 && *pages <= kMaxSpanPages && *elemsize > 0;
    if (!span.readable) return true;
    span.bytes = *pages * gobin::kGoPageSize;
    span.elemsize = *elemsize;
    span.head = *head;
    return true;
  });
}

// Adds one special to its span; false: the list makes no sense (the runtime changes it just now), do not go on.
bool SpecialsReader::append(Span& span, uint64_t address, ByteView record) const {
  const auto& layout = view_->layout();
  const auto next = gobin::read_field(record, layout.special.next);
  const auto offset = gobin::read_field(record, layout.special.offset);
  const auto kind = gobin::read_field(record, layout.special.kind);
  if (!next || !offset || !kind || *kind == 0 || *offset >= span.bytes) return false;
  Special special{address, *next, *offset, 0, static_cast<uint8_t>(*kind)};
  if (!span.specials.empty()) {
    const Special& last = span.specials.back();
    if (std::pair(special.offset, special.kind) < std::pair(last.offset, last.kind)) return false;
  }
  if (special.kind == layout.special_kinds.profile) {
    special.bucket = gobin::read_field(record, layout.special_profile.bucket).value_or(0);
    if (special.bucket == 0) return false;
  }
  if (span.specials.size() == kMaxListLength) return false;
  span.specials.push_back(special);
  return true;
}

// All lists of the block at once: one round reads one special of every list that goes on.
Expected<void> SpecialsReader::walk_lists(std::vector<Span>& spans) {
  struct Step {
    uint64_t address;
    size_t span;
  };
  std::vector<Step> steps;
  for (size_t i = 0; i < spans.size(); ++i) {
    if (spans[i].readable && spans[i].in_use && spans[i].head != 0) steps.push_back({spans[i].head, i});
  }
  std::vector<uint64_t> addresses;
  std::vector<Step> next_steps;
  size_t total = 0;
  while (!steps.empty()) {
    total += steps.size();
    if (total > kMaxBlockSpecials) return damaged(*view_, "the heap has too many specials");
    std::sort(steps.begin(), steps.end(), [](const Step& a, const Step& b) { return a.address < b.address; });
    addresses.clear();
    for (const Step& step : steps) addresses.push_back(step.address);
    next_steps.clear();
    auto done = specials_.read(addresses, [&](size_t index, ByteView record) {
      Span& span = spans[steps[index].span];
      if (!append(span, addresses[index], record)) {
        span.readable = false;
      } else if (span.specials.back().next != 0) {
        next_steps.push_back({span.specials.back().next, steps[index].span});
      }
      return true;
    });
    if (!done) return done;
    std::swap(steps, next_steps);
  }
  return {};
}

Expected<void> SpecialsReader::collect(std::vector<Span>& spans) {
  if (auto done = read_mspans(spans); !done) return done;
  return walk_lists(spans);
}

// `pending`: spans in ascending order of `mspan`.
Expected<void> SpecialsReader::read_block(std::vector<Span> pending, model::LiveSampleReading& reading) {
  if (auto done = collect(pending); !done) return done;
  for (int tries = 0; tries < kTries && !pending.empty(); ++tries) {
    std::vector<Span> again = pending;
    if (auto done = collect(again); !done) return done;
    std::vector<Span> changed;
    for (size_t i = 0; i < again.size(); ++i) {
      if (!again[i].readable || again[i] != pending[i]) {
        changed.push_back(std::move(again[i]));
        continue;
      }
      if (!again[i].in_use) continue;  // freed since the bitmap was read, and its objects with it
      for (const Special& special : again[i].specials) {
        if (special.kind != view_->layout().special_kinds.profile) continue;
        reading.samples.push_back({again[i].start + special.offset, special.bucket, again[i].elemsize});
      }
    }
    pending = std::move(changed);
  }
  reading.unreadable_spans += pending.size();
  if (reading.samples.size() > kMaxSamples) return damaged(*view_, "the heap has too many sampled objects");
  return {};
}

Expected<model::LiveSampleReading> SpecialsReader::read() {
  model::LiveSampleReading reading;
  reading.begin_ns = kernel_time_ns();
  auto spans = find_spans();
  if (!spans) return Unexpected(spans.error());
  std::sort(spans->begin(), spans->end(), [](const Span& a, const Span& b) { return a.mspan < b.mspan; });
  for (size_t first = 0; first < spans->size(); first += kBlockSpans) {
    const auto begin = spans->begin() + static_cast<std::ptrdiff_t>(first);
    const auto end =
        spans->begin() + static_cast<std::ptrdiff_t>(std::min(first + kBlockSpans, spans->size()));
    const auto done =
        read_block(std::vector<Span>(std::move_iterator(begin), std::move_iterator(end)), reading);
    if (!done) return Unexpected(done.error());
  }
  if (const auto same = view_->memory().verify(); !same) return Unexpected(same.error());
  reading.end_ns = kernel_time_ns();
  return reading;
}

}  // namespace goheapd::runtime
