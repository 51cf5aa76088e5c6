// Reads the garbage collector's count of cycles and its pauses.
#pragma once

#include <atomic>
#include <cstdint>

#include "daemon/base/expected.h"
#include "daemon/model/reading.h"
#include "daemon/runtime/runtime_view.h"

namespace goheapd::runtime {

// One per target. The first reading has the pauses since the program started, as far as the runtime still knows
// them; so does the next, unless the first was adopted: a reading may be dropped on its way into the books. A pause
// is the time that all goroutines were stopped during one cycle, in nanoseconds, the sum of its two stops (as in
// MemStats.PauseNs).
class GcReader {
 public:
  // `view` must outlive the reader.
  explicit GcReader(const RuntimeView& view) : view_(&view) {}

  // Errors: the process is gone, or the number of cycles went backwards (it is another program).
  Expected<model::GcReading> read();
  // The pauses up to this cycle are in the books. From any thread.
  void adopted(uint32_t cycles) {
    if (cycles > adopted_) adopted_ = cycles;
  }

 private:
  const RuntimeView* view_;
  uint32_t cycles_seen_ = 0;
  std::atomic<uint32_t> adopted_{0};
};

}  // namespace goheapd::runtime
