// Asks the garbage collector's mark bits whether objects are alive, without any help from the runtime's profiler.
//
//   address ──▶ mheap.arenas ──▶ heapArena.spans[page] ──▶ mspan ──▶ bit (address - start) / elemsize of ...
//
//   mspan.sweepgen, where G is that of the heap, two for each completed cycle:
//     G      swept, or new since                  } allocBits: sweeping made them of the marks
//     G + 3  swept, a processor allocates from it }
//     G - 2  not yet swept                        } gcmarkBits; small objects of Go 1.26 and later: the marks at the
//     G + 1  not yet swept, still in a processor  } end of the span's page, too, which sweeping moves to gcmarkBits
//     G - 1  a thread is sweeping it now: ask again
//     else   the next cycle has come
//
// The answer stands from the end of the mark phase until the sweeper has come by after the next one, so there is a whole
// cycle of time to ask, but none must be left out. Allocating sets no bit of allocBits: objects that are younger than
// the cycle look dead, and are not asked about. Objects born while the collector marked are marked by their birth.
//
// Pointer-free objects below 16 bytes share a slot: it lives as long as any of them, as in Go's own heap profile.
// https://github.com/golang/go/blob/go1.24.4/src/runtime/mheap.go#L444
// https://github.com/golang/go/blob/go1.26.0/src/runtime/mgcmark_greenteagc.go#L66
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "daemon/base/expected.h"
#include "daemon/model/liveness.h"
#include "daemon/runtime/record_gather.h"
#include "daemon/runtime/runtime_view.h"

namespace goheapd::runtime {

// One per target and one thread at a time: it remembers the cycle that it judged last.
class LivenessReader {
 public:
  // `view` must outlive the reader.
  explicit LivenessReader(const RuntimeView& view);

  // mheap_.sweepgen now. Grows by 2 with each cycle, while the world is stopped after marking.
  Expected<uint32_t> sweepgen() const;

  // The verdicts of the last completed cycle. `objects` ascending by address. Takes about 0.3 microseconds for each
  // object. The same cycle may be asked about again; objects found dead must not be in it any more.
  // Errors: the process is gone or was replaced, its heap has no table of arenas.
  Expected<model::LivenessReading> check(std::span<const model::TrackedObject> objects);

 private:
  enum class Verdict : unsigned char { unknown, alive, dead };
  // Where the marks of a cycle are, judging by a span's sweepgen.
  enum class Marks : unsigned char { in_alloc_bits, in_mark_bits, moving, gone };
  // What must not change while we read the bits.
  struct Span {
    uint64_t start = 0;
    uint64_t pages = 0;
    uint64_t elemsize = 0;
    uint64_t nelems = 0;
    uint64_t alloc_bits = 0;
    uint64_t mark_bits = 0;
    uint64_t sweepgen = 0;
    uint64_t state = 0;
    bool readable = false;
    bool operator==(const Span&) const = default;
  };
  // Neighbouring objects whose pages belong to the same span.
  struct Group {
    uint64_t mspan = 0;
    size_t first = 0;  // of pending_: [first, last)
    size_t last = 0;
    Span span;
    bool settled = false;  // nothing can change any more what we think of it
  };
  // One word of bits, and the objects it speaks of.
  struct Word {
    uint64_t address = 0;
    size_t group = 0;
    size_t first = 0;  // of pending_
    size_t last = 0;
    bool previous = false;  // tells of the cycle before the one we ask about
  };

  Expected<void> round(std::span<const model::TrackedObject> objects, model::LivenessReading& reading);
  Expected<void> find_spans(std::span<const model::TrackedObject> objects);
  Expected<uint64_t> heap_arena(uint64_t index);
  Expected<void> read_spans(bool again);
  void choose_words(std::span<const model::TrackedObject> objects, const model::LivenessReading& reading);
  Expected<void> read_words(std::span<const model::TrackedObject> objects);
  void add_words(std::span<const model::TrackedObject> objects, uint32_t sweepgen, size_t group,
                 uint64_t bits, bool previous);
  Marks where_are_marks(const Span& span, uint32_t sweepgen) const;
  Span parse(ByteView record) const;
  void count_old(std::span<const model::TrackedObject> objects, size_t object, uint32_t skipped,
                 model::LivenessReading& reading) const;
  void count(std::span<const model::TrackedObject> objects, uint32_t skipped,
             model::LivenessReading& reading);

  const RuntimeView* view_;
  RecordGather words_gather_;
  RecordGather mspans_gather_;
  uint64_t arena_table_ = 0;
  std::unordered_map<uint64_t, uint64_t> arenas_;  // index -> heapArena; one that is set stays

  std::optional<uint32_t> last_sweepgen_;
  bool late_ = false;  // some verdicts of the cycle before are missing; unswept spans still have them

  // Of one check; members only to keep their memory.
  std::vector<size_t> pending_;  // indices of objects without a verdict
  std::vector<size_t> retry_;
  std::vector<Group> groups_;
  std::vector<size_t> order_;  // of groups, by address of the mspan
  std::vector<Word> words_;
  std::vector<uint64_t> addresses_;
  std::vector<Verdict> verdicts_;           // of all objects
  std::vector<unsigned char> marked_;       // of all objects: marked in this cycle
  std::vector<unsigned char> was_marked_;   // of all objects: in the one before
  std::vector<unsigned char> has_history_;  // of all objects: the cycle before was asked
};

}  // namespace goheapd::runtime
