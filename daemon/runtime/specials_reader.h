// Lists the sampled objects that are alive, from the runtime's special records.
//
//   mheap.allArenas ──▶ heapArena.pageSpecials   one bit for each page: a span with specials begins here
//                       heapArena.spans[page] ──▶ mspan ──specials──▶ special ──next──▶ special ──▶ nil
//                                                                     offset, kind       sorted by offset, kind
//                                                                     b ──▶ bucket       (kind "profile" only)
//
// A sampled object has a special of kind "profile" from its birth until the sweeper frees it; the bitmap makes the
// cost proportional to the samples, not to the heap. Spans are read in blocks; each block is collected twice, and a
// span that differs between the two collects (an allocation or the sweeper was there) is tried again.
// https://github.com/golang/go/blob/go1.24.4/src/runtime/mheap.go#L286
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "daemon/base/expected.h"
#include "daemon/model/reading.h"
#include "daemon/runtime/record_gather.h"
#include "daemon/runtime/runtime_view.h"

namespace goheapd::runtime {

class SpecialsReader {
 public:
  // `view` must outlive the reader.
  explicit SpecialsReader(const RuntimeView& view);

  // Each object that was alive during the whole reading is in it, unless its span is counted as unreadable; objects
  // that are born or freed meanwhile may be in it or not. Errors: the process is gone, the heap's tables make no
  // sense, more specials than a sane heap has.
  Expected<model::LiveSampleReading> read();

 private:
  // What has to be the same in both collects of a span.
  struct Special {
    uint64_t address = 0;
    uint64_t next = 0;
    uint64_t offset = 0;
    uint64_t bucket = 0;
    uint8_t kind = 0;
    bool operator==(const Special&) const = default;
  };
  struct Span {
    uint64_t mspan = 0;  // address of the struct, 0 = none
    uint64_t start = 0;  // of the memory it stands for
    // Read from the target:
    uint64_t bytes = 0;
    uint64_t elemsize = 0;
    uint64_t head = 0;     // first special
    bool in_use = false;   // it is what the arena's table said, and in use
    bool readable = true;  // the list made sense
    std::vector<Special> specials;
    bool operator==(const Span&) const = default;
  };

  Expected<std::vector<Span>> find_spans();
  Expected<void> spans_of_arena(std::span<Span> spans);
  Expected<void> collect(std::vector<Span>& spans);
  Expected<void> read_mspans(std::vector<Span>& spans);
  Expected<void> walk_lists(std::vector<Span>& spans);
  Expected<void> read_block(std::vector<Span> pending, model::LiveSampleReading& reading);
  bool append(Span& span, uint64_t address, ByteView record) const;

  const RuntimeView* view_;
  RecordGather mspans_;
  RecordGather specials_;
};

}  // namespace goheapd::runtime
