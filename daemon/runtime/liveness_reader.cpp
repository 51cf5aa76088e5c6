#include "daemon/runtime/liveness_reader.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <numeric>
#include <thread>

#include "daemon/base/clock.h"

namespace goheapd::runtime {
namespace {

// A span is swept within microseconds, unless its thread loses its processor in between.
constexpr int kRounds = 12;
constexpr std::chrono::microseconds kPause{100};
constexpr uint64_t kWordBytes = 8;
constexpr uint64_t kBitsPerWord = 64;
// Spans are one page long where they keep their marks inside.
constexpr uint64_t kInlineSpanPages = 1;
// In place of a span's address: the page never was in a span; the table cannot be read, which only an exec brings about.
constexpr uint64_t kNoSpan = 0;
constexpr uint64_t kUnreadable = ~uint64_t{0};
constexpr uint64_t kMaxSpanPages = 1ull << 35;  // 256 TiB, the address space

constexpr int32_t kOneCycle = 2;
constexpr int32_t kTwoCycles = 4;

// Generations wrap around.
int32_t distance(uint32_t from, uint32_t to) { return static_cast<int32_t>(to - from); }

uint64_t index_in(uint64_t address, uint64_t start, uint64_t elemsize) {
  return (address - start) / elemsize;
}

}  // namespace

LivenessReader::LivenessReader(const RuntimeView& view)
    : view_(&view),
      words_gather_(view.memory(), kWordBytes),
      mspans_gather_(view.memory(), view.layout().mspan.sizeof_struct) {}

Expected<uint32_t> LivenessReader::sweepgen() const {
  return view_->memory().read<uint32_t>(view_->addresses().mheap + view_->layout().mheap.sweepgen.offset);
}

Expected<model::LivenessReading> LivenessReader::check(std::span<const model::TrackedObject> objects) {
  model::LivenessReading reading;
  reading.begin_ns = kernel_time_ns();
  const auto now = sweepgen();
  if (!now) return Unexpected(now.error());
  reading.sweepgen = *now;
  // What was before the first check, nobody saw either: then each object has missed all the cycles of its life.
  uint32_t skipped = std::numeric_limits<uint32_t>::max();
  if (last_sweepgen_) {
    const int32_t passed = std::max(distance(*last_sweepgen_, *now), 0) / kOneCycle;
    skipped = static_cast<uint32_t>(std::max(passed - 1, 0));
    reading.missed_cycles = skipped;
  }
  if (skipped != 0) late_ = true;

  verdicts_.assign(objects.size(), Verdict::unknown);
  marked_.assign(objects.size(), 0);
  was_marked_.assign(objects.size(), 0);
  has_history_.assign(objects.size(), 0);
  pending_.clear();
  for (size_t i = 0; i < objects.size(); ++i) {
    if (distance(objects[i].sweepgen, reading.sweepgen) >= kOneCycle) pending_.push_back(i);
  }
  reading.young = objects.size() - pending_.size();
  const std::vector<size_t> asked = pending_;
  for (int i = 0; i < kRounds && !pending_.empty(); ++i) {
    if (i > 0) std::this_thread::sleep_for(kPause);
    if (const auto done = round(objects, reading); !done) return Unexpected(done.error());
    // What is not settled in the cycle that we ask about will not be any more.
    const auto after = sweepgen();
    if (!after) return Unexpected(after.error());
    if (*after != reading.sweepgen) break;
  }
  if (const auto same = view_->memory().verify(); !same) return Unexpected(same.error());

  pending_ = asked;
  count(objects, skipped, reading);
  // Asked twice about one cycle, the second time may have settled what the first could not.
  late_ = reading.unknown != 0;
  last_sweepgen_ = reading.sweepgen;
  reading.end_ns = kernel_time_ns();
  return reading;
}

Expected<void> LivenessReader::round(std::span<const model::TrackedObject> objects,
                                     model::LivenessReading& reading) {
  retry_.clear();
  if (auto done = find_spans(objects); !done) return done;
  if (auto done = read_spans(/*again=*/false); !done) return done;
  choose_words(objects, reading);
  if (auto done = read_words(objects); !done) return done;
  if (auto done = read_spans(/*again=*/true); !done) return done;
  const auto after = sweepgen();
  if (!after) return Unexpected(after.error());

  for (const Group& group : groups_) {
    if (group.settled) continue;
    // Should the next cycle have ended meanwhile, "cached and not yet swept" of this cycle and "being swept" of the
    // next are the same number.
    const bool ambiguous =
        *after != reading.sweepgen && group.span.sweepgen == static_cast<uint32_t>(reading.sweepgen + 1);
    for (size_t i = group.first; i < group.last; ++i) {
      const size_t object = pending_[i];
      if (!group.span.readable || ambiguous) {
        retry_.push_back(object);
        marked_[object] = 0;
        has_history_[object] = 0;
      } else {
        const bool died_before = has_history_[object] != 0 && was_marked_[object] == 0;
        verdicts_[object] = marked_[object] != 0 && !died_before ? Verdict::alive : Verdict::dead;
      }
    }
  }
  std::sort(retry_.begin(), retry_.end());
  pending_.swap(retry_);
  return {};
}

Expected<uint64_t> LivenessReader::heap_arena(uint64_t index) {
  if (index >= gobin::kArenaTableEntries) return 0;
  if (arena_table_ == 0) {
    const auto table =
        view_->memory().read<uint64_t>(view_->addresses().mheap + view_->layout().mheap.arenas.offset);
    if (!table) return Unexpected(table.error());
    arena_table_ = *table;
  }
  auto [found, is_new] = arenas_.try_emplace(index, 0);
  if (is_new) {
    auto arena = view_->memory().read<uint64_t>(arena_table_ + index * sizeof(uint64_t));
    if (!arena || *arena == 0) {
      arenas_.erase(found);
      return arena;
    }
    found->second = *arena;
  }
  return found->second;
}

Expected<void> LivenessReader::find_spans(std::span<const model::TrackedObject> objects) {
  // One entry of an arena's table for each page that has objects; `order_` says which entry an object needs.
  addresses_.clear();
  order_.clear();
  uint64_t last_page = ~uint64_t{0};
  uint64_t last_index = ~uint64_t{0};
  uint64_t arena = 0;
  for (const size_t object : pending_) {
    const uint64_t offset = objects[object].address - view_->layout().arena_base;
    const uint64_t page = offset / gobin::kGoPageSize;
    if (page != last_page) {
      last_page = page;
      const uint64_t index = offset / gobin::kHeapArenaBytes;
      if (index != last_index) {
        last_index = index;
        const auto found = heap_arena(index);
        if (!found) return Unexpected(found.error());
        arena = *found;
      }
      addresses_.push_back(arena == 0 ? 0
                                      : arena + view_->layout().heap_arena.spans.offset +
                                            page % gobin::kPagesPerArena * sizeof(uint64_t));
    }
    order_.push_back(addresses_.size() - 1);
  }
  std::vector<uint64_t> mspans(addresses_.size());
  auto done = words_gather_.read(addresses_, [&](size_t i, ByteView word) {
    mspans[i] = word.read<uint64_t>(0).value_or(kUnreadable);
    return true;
  });
  if (!done) return done;

  groups_.clear();
  for (size_t i = 0; i < pending_.size(); ++i) {
    const uint64_t mspan = mspans[order_[i]];
    if (groups_.empty() || groups_.back().mspan != mspan) {
      groups_.emplace_back();
      groups_.back().mspan = mspan;
      groups_.back().first = i;
    }
    groups_.back().last = i + 1;
  }
  order_.resize(groups_.size());
  std::iota(order_.begin(), order_.end(), size_t{0});
  std::sort(order_.begin(), order_.end(),
            [this](size_t a, size_t b) { return groups_[a].mspan < groups_[b].mspan; });
  return {};
}

LivenessReader::Span LivenessReader::parse(ByteView record) const {
  const auto& fields = view_->layout().mspan;
  Span span;
  const auto get = [&](gobin::Field field) { return gobin::read_field(record, field).value_or(0); };
  span.readable = !record.empty();
  span.start = get(fields.start_addr);
  span.pages = get(fields.npages);
  span.elemsize = get(fields.elemsize);
  span.nelems = get(fields.nelems);
  span.alloc_bits = get(fields.alloc_bits);
  span.mark_bits = get(fields.gcmark_bits);
  span.sweepgen = get(fields.sweepgen);
  span.state = get(fields.state);
  return span;
}

Expected<void> LivenessReader::read_spans(bool again) {
  addresses_.clear();
  for (const size_t i : order_) addresses_.push_back(groups_[i].mspan);
  return mspans_gather_.read(addresses_, [&](size_t i, ByteView record) {
    Group& group = groups_[order_[i]];
    const Span span = parse(record);
    if (!again) {
      group.span = span;
    } else if (!group.settled && span != group.span) {
      group.span.readable = false;  // swept, or gone, while we read its bits
    }
    return true;
  });
}

LivenessReader::Marks LivenessReader::where_are_marks(const Span& span, uint32_t sweepgen) const {
  switch (distance(sweepgen, static_cast<uint32_t>(span.sweepgen))) {
    case 0:
    case 3:
      return Marks::in_alloc_bits;
    case -2:
    case 1:
      return Marks::in_mark_bits;
    case -1:
      return Marks::moving;
    default:
      return Marks::gone;
  }
}

void LivenessReader::choose_words(std::span<const model::TrackedObject> objects,
                                  const model::LivenessReading& reading) {
  words_.clear();
  for (size_t i = 0; i < groups_.size(); ++i) {
    Group& group = groups_[i];
    const Span& span = group.span;
    if (!span.readable && group.mspan != kNoSpan) continue;  // tried again
    const bool in_use = group.mspan != kNoSpan && span.state == gobin::kSpanStateInUse &&
                        span.elemsize != 0 && span.pages <= kMaxSpanPages;
    const uint64_t bytes = in_use ? span.pages * gobin::kGoPageSize : 0;
    // The slot of a living object stays in its span, so those outside of it are dead for good. Inside are neighbours.
    const auto is_inside = [&](size_t k) {
      const uint64_t address = objects[pending_[k]].address;
      return address - span.start < bytes && index_in(address, span.start, span.elemsize) < span.nelems;
    };
    for (; group.first < group.last && !is_inside(group.first); ++group.first)
      verdicts_[pending_[group.first]] = Verdict::dead;
    for (; group.first < group.last && !is_inside(group.last - 1); --group.last)
      verdicts_[pending_[group.last - 1]] = Verdict::dead;
    group.settled = group.first == group.last;
    if (group.settled) continue;
    const Marks marks = where_are_marks(span, reading.sweepgen);
    if (marks == Marks::moving) {
      group.span.readable = false;
    } else if (marks == Marks::gone) {
      group.settled = true;  // without a verdict, as far as the objects are inside
    } else if (marks == Marks::in_alloc_bits) {
      add_words(objects, reading.sweepgen, i, span.alloc_bits, /*previous=*/false);
    } else {
      add_words(objects, reading.sweepgen, i, span.mark_bits, /*previous=*/false);
      const auto& inline_bits = view_->layout().span_inline_mark_bits;
      if (view_->layout().uses_inline_mark_bits(span.elemsize) && span.pages == kInlineSpanPages) {
        add_words(objects, reading.sweepgen, i,
                  span.start + bytes - inline_bits.sizeof_struct + inline_bits.marks.offset,
                  /*previous=*/false);
      }
      if (late_) add_words(objects, reading.sweepgen, i, span.alloc_bits, /*previous=*/true);
    }
  }
  std::sort(words_.begin(), words_.end(), [](const Word& a, const Word& b) { return a.address < b.address; });
}

void LivenessReader::add_words(std::span<const model::TrackedObject> objects, uint32_t sweepgen, size_t group,
                               uint64_t bits, bool previous) {
  const Span& span = groups_[group].span;
  for (size_t i = groups_[group].first; i < groups_[group].last; ++i) {
    const model::TrackedObject& object = objects[pending_[i]];
    // The cycle before cannot tell of an object that was born after it.
    if (previous && distance(object.sweepgen, sweepgen) < kTwoCycles) continue;
    const uint64_t bit = index_in(object.address, span.start, span.elemsize);
    const uint64_t address = bits + bit / kBitsPerWord * kWordBytes;
    if (!words_.empty() && words_.back().group == group && words_.back().address == address &&
        words_.back().previous == previous) {
      words_.back().last = i + 1;
    } else {
      words_.push_back({address, group, i, i + 1, previous});
    }
  }
}

Expected<void> LivenessReader::read_words(std::span<const model::TrackedObject> objects) {
  addresses_.clear();
  for (const Word& word : words_) addresses_.push_back(word.address);
  return words_gather_.read(addresses_, [&](size_t i, ByteView bytes) {
    const Word& word = words_[i];
    Group& group = groups_[word.group];
    const auto bits = bytes.read<uint64_t>(0);
    if (!bits) {
      group.span.readable = false;  // recycled while we came
      return true;
    }
    for (size_t k = word.first; k < word.last; ++k) {
      const size_t object = pending_[k];
      const uint64_t bit = index_in(objects[object].address, group.span.start, group.span.elemsize);
      const bool set = (*bits >> (bit % kBitsPerWord) & 1) != 0;
      if (!word.previous) {
        marked_[object] = static_cast<unsigned char>(marked_[object] | (set ? 1 : 0));
      } else {
        has_history_[object] = 1;
        was_marked_[object] = set ? 1 : 0;
      }
    }
    return true;
  });
}

void LivenessReader::count_old(std::span<const model::TrackedObject> objects, size_t object, uint32_t skipped,
                               model::LivenessReading& reading) const {
  const auto age = static_cast<uint32_t>(distance(objects[object].sweepgen, reading.sweepgen) / kOneCycle);
  if (verdicts_[object] == Verdict::dead)
    reading.dead.push_back(objects[object]);
  else if (verdicts_[object] == Verdict::unknown || std::min(skipped, age - 1) > has_history_[object])
    reading.out_of_sight.push_back(objects[object]);
}

void LivenessReader::count(std::span<const model::TrackedObject> objects, uint32_t skipped,
                           model::LivenessReading& reading) {
  for (const size_t object : pending_) {
    if (objects[object].is_old) {
      count_old(objects, object, skipped, reading);
      continue;
    }
    reading.due_verdicts += 1;
    if (verdicts_[object] == Verdict::unknown) {
      ++reading.unknown;
      ++reading.lost_verdicts;
      continue;
    }
    ++reading.judged;
    if (verdicts_[object] == Verdict::dead) {
      reading.dead.push_back(objects[object]);
      continue;
    }
    // Cycles that this object lived through and nobody looked: it may be another object by now.
    const auto age = static_cast<uint32_t>(distance(objects[object].sweepgen, reading.sweepgen) / kOneCycle);
    const uint32_t missed = std::min(skipped, age - 1);
    const uint32_t known = std::min<uint32_t>(missed, has_history_[object]);
    reading.due_verdicts += missed;
    reading.lost_verdicts += missed - known;
  }
}

}  // namespace goheapd::runtime
