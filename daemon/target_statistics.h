#pragma once

#include <memory>
#include <mutex>

#include "daemon/base/expected.h"
#include "daemon/gobin/go_binary.h"
#include "daemon/model/memory_reading.h"
#include "daemon/process/proc_fs.h"
#include "daemon/runtime/mem_stats_reader.h"
#include "daemon/runtime/runtime_view.h"
#include "daemon/steady_statistics.h"

namespace goheapd {

// Reads the memory statistics of one Go process for whoever asks, in whatever mode it is profiled, or if it is not
// profiled at all: only its runtime has to be readable. Thread safe; readings wait for each other.
class TargetStatistics {
 public:
  // Proves first that the process's runtime is laid out as we believe. Error: it is not, or not set up yet.
  static Expected<std::shared_ptr<TargetStatistics>> open(const process::ProcFs& proc,
                                                          const gobin::GoBinary& binary, pid_t pid);

  // Takes below a millisecond on a quiet target.
  Expected<model::ProgramStatistics> read(const process::ProcFs& proc);

 private:
  TargetStatistics(runtime::RuntimeView view, std::string go_version)
      : go_version_(std::move(go_version)), view_(std::move(view)), memory_(view_) {}

  const std::string go_version_;
  const runtime::RuntimeView view_;
  std::mutex mutex_;                // guards what follows
  runtime::MemStatsReader memory_;  // refers to view_
  SteadyStatistics steady_;
};

}  // namespace goheapd
