#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "daemon/base/expected.h"
#include "daemon/gobin/go_binary.h"
#include "daemon/model/reading.h"
#include "daemon/new_buckets.h"
#include "daemon/process/proc_fs.h"
#include "daemon/profile/bucket_ledger.h"
#include "daemon/runtime/bucket_reader.h"
#include "daemon/runtime/gc_reader.h"
#include "daemon/runtime/heap_stats_reader.h"
#include "daemon/runtime/runtime_view.h"

namespace goheapd {

// All that one look into a target's memory brings, with the new buckets already classified.
struct TargetReading {
  model::BucketReading buckets;
  std::vector<profile::BucketSite> new_sites;
  uint64_t described_buckets = 0;  // for TargetReader::adopted()
  model::GcReading gc;
  uint64_t record_bytes = 0;  // that the runtime has taken for profile records, which it never gives back
};

// Reads the memory of one target for whoever asks: the periodic reading, or a request for a profile. Thread safe;
// readings of one target wait for each other, because the readers remember what they have seen.
class TargetReader {
 public:
  // Proves first that the process's runtime is laid out as we believe. Error: it is not, or not set up yet.
  static Expected<std::shared_ptr<TargetReader>> open(const process::ProcFs& proc,
                                                      std::shared_ptr<const gobin::GoBinary> binary,
                                                      pid_t pid, uint64_t load_bias);

  Expected<uint64_t> sample_rate() const { return view_.sample_rate(); }
  Expected<TargetReading> read();
  // A reading of this reader with these values of described_buckets and gc.cycles is in the books. Never waits for a
  // reading.
  void adopted(uint64_t described_buckets, uint32_t cycles) {
    new_buckets_.adopted(described_buckets);
    gc_.adopted(cycles);
  }
  // How many objects the program has allocated so far, as the allocator itself counts them.
  Expected<uint64_t> allocated_objects();

 private:
  TargetReader(runtime::RuntimeView view, std::shared_ptr<const gobin::GoBinary> binary, uint64_t load_bias);

  const std::shared_ptr<const gobin::GoBinary> binary_;
  const uint64_t load_bias_;
  const runtime::RuntimeView view_;
  NewBuckets new_buckets_;
  std::mutex allocator_mutex_;          // guards allocator_, so that nobody waits for a long reading
  runtime::HeapStatsReader allocator_;  // refers to view_
  std::mutex mutex_;                    // guards what follows
  runtime::BucketReader buckets_;       // refers to view_
  runtime::GcReader gc_;                // refers to view_
};

}  // namespace goheapd
