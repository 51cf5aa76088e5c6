#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "daemon/base/expected.h"
#include "daemon/gobin/go_binary.h"
#include "daemon/model/liveness.h"
#include "daemon/process/proc_fs.h"
#include "daemon/profile/span_ledger.h"
#include "daemon/runtime/heap_stats_reader.h"
#include "daemon/runtime/liveness_reader.h"
#include "daemon/runtime/runtime_view.h"

namespace goheapd {

// Reads what source spans needs from the memory of one target: which objects live, and the allocator's counters. Thread
// safe; readings wait for each other.
class SpanReader {
 public:
  // `view` has been checked. Error: a variable of the runtime that is not to be found in the binary.
  static Expected<std::shared_ptr<SpanReader>> open(const process::ProcFs& proc,
                                                    const gobin::GoBinary& binary, pid_t pid,
                                                    uint64_t load_bias);

  // `objects` in any order. Takes about 0.3 microseconds for each.
  Expected<profile::SpanReading> read(std::vector<model::TrackedObject> objects);

  // runtime.MemProfileRate now: a program may switch its sampler on at any time.
  Expected<uint64_t> sample_rate() const { return view_.sample_rate(); }

 private:
  SpanReader(runtime::RuntimeView view, uint64_t sweep_state_address);
  bool has_swept() const;
  std::optional<model::HeapCensus> count_old() const;

  const runtime::RuntimeView view_;
  const uint64_t sweep_state_address_;
  std::mutex mutex_;  // guards what follows
  bool counted_old_ = false;
  runtime::LivenessReader liveness_;   // refers to view_
  runtime::HeapStatsReader counters_;  // refers to view_
};

}  // namespace goheapd
