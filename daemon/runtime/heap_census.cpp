#include "daemon/runtime/heap_census.h"

#include <algorithm>
#include <array>
#include <random>
#include <utility>
#include <vector>

#include "daemon/base/clock.h"
#include "daemon/runtime/record_gather.h"

namespace goheapd::runtime {
namespace {

// Of heaps with more spans some are looked at. 160 bytes of each are read.
constexpr size_t kMostSpans = 1 << 16;
constexpr uint64_t kMaxSpanTable = uint64_t{1} << 32;
// Of each class so many spans are looked into, whatever is chosen of it: neighbours are of the same age.
constexpr size_t kSpansPerClass = 48;
constexpr size_t kLeastPerClass = 16;
constexpr uint64_t kMaxSlots = 1024;  // of a span: 8 KiB of 8 bytes
constexpr uint64_t kBitsPerWord = 64;

constexpr int32_t kUnswept = -2;
constexpr int32_t kCachedUnswept = 1;
constexpr int32_t kCached = 3;

using Random = std::mt19937_64;
using Bits = std::array<uint64_t, kMaxSlots / kBitsPerWord>;

struct Span {
  uint64_t mspan = 0;
  uint64_t start = 0;
  uint64_t pages = 0;
  uint64_t elemsize = 0;
  uint64_t nelems = 0;
  uint64_t freeindex = 0;
  uint64_t alloc_bits = 0;
  uint64_t mark_bits = 0;
  uint64_t sweepgen = 0;
  uint32_t size_class = 0;
  bool in_use = false;
};

// Slots may be handed out meanwhile.
bool is_same(const Span& a, const Span& b) {
  return b.in_use && a.start == b.start && a.elemsize == b.elemsize && a.alloc_bits == b.alloc_bits &&
         a.mark_bits == b.mark_bits && a.sweepgen == b.sweepgen;
}

Span parse(const gobin::RuntimeLayout& layout, uint64_t mspan, ByteView record) {
  const auto& fields = layout.mspan;
  const auto get = [&](gobin::Field field) { return gobin::read_field(record, field).value_or(0); };
  Span span;
  span.mspan = mspan;
  span.start = get(fields.start_addr);
  span.pages = get(fields.npages);
  span.elemsize = get(fields.elemsize);
  span.nelems = get(fields.nelems);
  span.freeindex = get(fields.freeindex);
  span.alloc_bits = get(fields.alloc_bits);
  span.mark_bits = get(fields.gcmark_bits);
  span.sweepgen = get(fields.sweepgen);
  const uint64_t size_class = get(fields.spanclass) >> 1;
  span.size_class = static_cast<uint32_t>(std::min<uint64_t>(size_class, model::kHeapStatsClasses));
  span.in_use = get(fields.state) == gobin::kSpanStateInUse && size_class < model::kHeapStatsClasses &&
                span.elemsize != 0 && span.nelems >= 1 && span.nelems <= kMaxSlots;
  return span;
}

// The process says how many there are, so no more memory is taken than for those that are looked at.
Expected<std::vector<uint64_t>> read_span_table(const RuntimeView& view, Random& random) {
  const uint64_t table = view.addresses().mheap + view.layout().mheap.allspans.offset;
  const auto begin = view.memory().read<uint64_t>(table);
  if (!begin) return Unexpected(begin.error());
  const auto count = view.memory().read<uint64_t>(table + sizeof(uint64_t));
  if (!count) return Unexpected(count.error());
  if (*count > kMaxSpanTable / sizeof(uint64_t)) return fail("the heap's table of spans makes no sense");
  std::vector<uint64_t> mspans(std::min<uint64_t>(*count, kMostSpans));
  if (*count > kMostSpans) {
    std::vector<uint64_t> entries(kMostSpans);
    std::uniform_int_distribution<uint64_t> any(0, *count - 1);
    for (uint64_t& entry : entries) entry = *begin + any(random) * sizeof(uint64_t);
    std::sort(entries.begin(), entries.end());
    entries.erase(std::unique(entries.begin(), entries.end()), entries.end());
    mspans.clear();
    auto done = RecordGather(view.memory(), sizeof(uint64_t)).read(entries, [&mspans](size_t, ByteView word) {
      if (const auto mspan = word.read<uint64_t>(0)) mspans.push_back(*mspan);
      return true;
    });
    if (!done) return Unexpected(done.error());
  } else if (auto done = view.memory().read(*begin, std::as_writable_bytes(std::span(mspans))); !done) {
    return Unexpected(done.error());
  }
  std::sort(mspans.begin(), mspans.end());
  return mspans;
}

struct Taken {
  uint64_t address;
  uint64_t bytes;
  bool alive;
};

// A span that is looked into: which of its slots are taken, and by what lives.
struct Look {
  Span span{};
  bool unswept = false;
  bool changed = false;  // while we read, or it was being swept, or is gone
  Bits allocated{};
  Bits marked{};
  uint64_t inline_marks = 0;

  static bool is_set(const Bits& bits, uint64_t i) {
    return (bits[i / kBitsPerWord] >> (i % kBitsPerWord) & 1) != 0;
  }
  bool is_taken(uint64_t slot) const { return slot < span.freeindex || is_set(allocated, slot); }
  bool is_alive(uint64_t slot) const {
    if (!is_taken(slot)) return false;
    if (!unswept) return true;
    return is_set(marked, slot) || (slot < kBitsPerWord && (inline_marks >> slot & 1) != 0);
  }
};

// `looks` ascending by the addresses of their spans.
Expected<void> look_into(const RuntimeView& view, uint32_t sweepgen, RecordGather& gather,
                         std::vector<Look>& looks) {
  std::vector<process::MemoryPiece> pieces;
  std::vector<size_t> owners;  // of the pieces
  const auto& inline_bits = view.layout().span_inline_mark_bits;
  for (size_t i = 0; i < looks.size(); ++i) {
    Look& look = looks[i];
    const Span& span = look.span;
    const auto age = static_cast<int32_t>(static_cast<uint32_t>(span.sweepgen) - sweepgen);
    look.unswept = age == kUnswept || age == kCachedUnswept;
    look.changed = !look.unswept && age != 0 && age != kCached;
    if (look.changed) continue;
    const auto want = [&](uint64_t address, std::span<uint64_t> into) {
      pieces.push_back({address, std::as_writable_bytes(into), false});
      owners.push_back(i);
    };
    const size_t words = (span.nelems + kBitsPerWord - 1) / kBitsPerWord;
    want(span.alloc_bits, std::span(look.allocated).first(words));
    if (!look.unswept) continue;
    want(span.mark_bits, std::span(look.marked).first(words));
    if (view.layout().uses_inline_mark_bits(span.elemsize) && span.pages == 1) {
      want(span.start + gobin::kGoPageSize - inline_bits.sizeof_struct + inline_bits.marks.offset,
           std::span(&look.inline_marks, 1));
    }
  }
  if (auto done = view.memory().read(pieces); !done) return Unexpected(done.error());
  for (size_t i = 0; i < pieces.size(); ++i)
    if (!pieces[i].complete) looks[owners[i]].changed = true;
  std::vector<uint64_t> mspans;
  mspans.reserve(looks.size());
  for (const Look& look : looks) mspans.push_back(look.span.mspan);
  return gather.read(mspans, [&](size_t i, ByteView record) {
    if (!is_same(looks[i].span, parse(view.layout(), mspans[i], record))) looks[i].changed = true;
    return true;
  });
}

Expected<uint32_t> sweepgen_of(const RuntimeView& view) {
  return view.memory().read<uint32_t>(view.addresses().mheap + view.layout().mheap.sweepgen.offset);
}

// Of one class, `most` at random.
void choose(std::vector<Taken>& taken, size_t size_class, size_t most, uint32_t sweepgen, Random& random,
            model::HeapCensus& census) {
  std::shuffle(taken.begin(), taken.end(), random);
  if (taken.size() > most) taken.resize(most);
  const uint64_t now = kernel_time_ns();
  for (const Taken& object : taken) {
    ++census.classes[size_class].objects;
    census.classes[size_class].bytes += object.bytes;
    if (object.alive)
      census.alive.push_back(
          {{object.address, now, sweepgen, true}, static_cast<uint32_t>(size_class), object.bytes});
  }
}

}  // namespace

Expected<model::HeapCensus> take_census(const RuntimeView& view, size_t most_objects) {
  Random random(std::random_device{}());
  const auto sweepgen = sweepgen_of(view);
  if (!sweepgen) return Unexpected(sweepgen.error());
  const auto table = read_span_table(view, random);
  if (!table) return Unexpected(table.error());

  std::array<std::vector<Span>, model::kHeapStatsClasses> by_class;
  std::array<double, model::kHeapStatsClasses> pages{};
  double all_pages = 0;
  RecordGather gather(view.memory(), view.layout().mspan.sizeof_struct);
  auto done = gather.read(*table, [&](size_t i, ByteView record) {
    const Span span = parse(view.layout(), (*table)[i], record);
    if (!span.in_use) return true;
    by_class[span.size_class].push_back(span);
    pages[span.size_class] += static_cast<double>(span.pages);
    all_pages += static_cast<double>(span.pages);
    return true;
  });
  if (!done) return Unexpected(done.error());

  std::array<size_t, model::kHeapStatsClasses> most{};
  std::vector<Look> looks;
  for (size_t i = 0; i < by_class.size(); ++i) {
    auto& spans = by_class[i];
    if (spans.empty()) continue;
    most[i] = std::max(kLeastPerClass,
                       static_cast<size_t>(static_cast<double>(most_objects) * pages[i] / all_pages));
    std::shuffle(spans.begin(), spans.end(), random);
    spans.resize(std::min(spans.size(), std::max(most[i], kSpansPerClass)));
    for (const Span& span : spans) looks.emplace_back().span = span;
  }
  std::sort(looks.begin(), looks.end(),
            [](const Look& a, const Look& b) { return a.span.mspan < b.span.mspan; });
  if (auto looked = look_into(view, *sweepgen, gather, looks); !looked) return Unexpected(looked.error());

  std::array<std::vector<Taken>, model::kHeapStatsClasses> taken;
  for (const Look& look : looks) {
    const Span& span = look.span;
    for (uint64_t slot = 0; slot < span.nelems && !look.changed; ++slot)
      if (look.is_taken(slot))
        taken[span.size_class].push_back(
            {span.start + slot * span.elemsize, span.elemsize, look.is_alive(slot)});
  }
  model::HeapCensus census;
  for (size_t i = 0; i < taken.size(); ++i) choose(taken[i], i, most[i], *sweepgen, random, census);
  const auto after = sweepgen_of(view);
  if (!after) return Unexpected(after.error());
  if (*after != *sweepgen) return fail("a garbage collection has ended meanwhile");
  if (auto same = view.memory().verify(); !same) return Unexpected(same.error());
  return census;
}

}  // namespace goheapd::runtime
