// Fetches neighbouring memory ahead of a walk through a linked list whose elements were allocated one behind the
// other, newest first: the pages below the one that is asked for come with it.
//
//        pages   ┌────┬────┬─ ... ─┬────┬────┐
//                │ 15 │ 14 │       │ 1  │ 0  │   page 0 holds the last byte that was asked for
//                └────┴────┴─ ... ─┴────┴────┘
//                ◀── the walk goes on here ───
//
// What it gives may be older than this moment, so it is for data that never change.
#pragma once

#include <cstdint>
#include <vector>

#include "daemon/base/byte_view.h"
#include "daemon/base/expected.h"
#include "daemon/process/process_memory.h"

namespace goheapd::runtime {

class PageWindow {
 public:
  static constexpr uint64_t kPageBytes = 4096;
  static constexpr uint64_t kPages = 16;
  // Longest view; any such range fits into the window, whatever its alignment.
  static constexpr uint64_t kMaxView = (kPages - 1) * kPageBytes;

  // `memory` must outlive the window.
  explicit PageWindow(const process::ProcessMemory& memory)
      : memory_(&memory), buffer_(kPages * kPageBytes) {}

  // Valid until the next call. Errors: EFAULT, also for more than kMaxView bytes; those of ProcessMemory::read.
  Expected<ByteView> view(uint64_t address, uint64_t size);

 private:
  const process::ProcessMemory* memory_;
  std::vector<std::byte> buffer_;
  uint64_t begin_ = 0;  // addresses of the bytes of buffer_ that are valid: its last end_ - begin_ bytes
  uint64_t end_ = 0;
};

}  // namespace goheapd::runtime
