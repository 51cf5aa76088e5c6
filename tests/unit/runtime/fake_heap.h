// A heap of FakeRuntime whose spans have bits, at addresses where the test has memory.
#pragma once

#include <unistd.h>

#include <stdexcept>

#include "daemon/model/liveness.h"
#include "tests/unit/runtime/fake_runtime.h"

namespace goheapd::runtime {

inline constexpr uint32_t kCycles = 10;
inline constexpr uint32_t kNow = 2 * kCycles;  // sweepgen

class FakeHeap {
 protected:
  explicit FakeHeap(int minor) : fake_(minor) {
    fake_.set_cycles(kCycles);
    // The fake heap has tables, but no memory of its own at the addresses where Go's heap begins: move it to where it
    // has some, for marks that lie inside of spans.
    heap_ = fake_.allocate(16 * gobin::kGoPageSize, gobin::kGoPageSize);
    layout_ = fake_.layout();
    layout_.arena_base += heap_ - fake_.span_start(0);
  }

  struct FakeSpan {
    uint64_t mspan = 0;
    uint64_t start = 0;
    uint64_t elemsize = 0;
    uint64_t alloc_bits = 0;
    uint64_t mark_bits = 0;
    uint64_t object(uint64_t index) const { return start + index * elemsize; }
  };

  // `generation` relative to the heap's.
  FakeSpan add_span(uint64_t page, uint64_t elemsize, int generation, uint64_t pages = 1) {
    FakeSpan span;
    span.mspan = fake_.add_span(page, pages, elemsize);
    span.start = heap_ + page * gobin::kGoPageSize;
    span.elemsize = elemsize;
    span.alloc_bits = fake_.allocate(kBitmapBytes);
    span.mark_bits = fake_.allocate(kBitmapBytes);
    set(span, layout_.mspan.start_addr, span.start);
    set(span, layout_.mspan.nelems, pages * gobin::kGoPageSize / elemsize);
    set(span, layout_.mspan.alloc_bits, span.alloc_bits);
    set(span, layout_.mspan.gcmark_bits, span.mark_bits);
    set(span, layout_.mspan.sweepgen, static_cast<uint32_t>(static_cast<int>(kNow) + generation));
    return span;
  }
  static void set(const FakeSpan& span, gobin::Field field, uint64_t value) {
    FakeRuntime::write_field(span.mspan, field, value);
  }
  static void set_bit(uint64_t bits, uint64_t index) {
    *reinterpret_cast<uint8_t*>(bits + index / 8) |= static_cast<uint8_t>(1u << index % 8);
  }

  RuntimeView view() const {
    auto memory = process::ProcessMemory::open(::getpid());
    if (!memory) throw std::runtime_error(to_string(memory.error()));
    return {*std::move(memory), layout_, fake_.addresses()};
  }

  FakeRuntime fake_;
  gobin::RuntimeLayout layout_;
  uint64_t heap_ = 0;

 private:
  static constexpr uint64_t kBitmapBytes = 1024;
};

}  // namespace goheapd::runtime
