// What exporters may ask the daemon. The daemon implements it over its published state, tests over fixed
// values.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "daemon/base/expected.h"
#include "daemon/model/memory_reading.h"
#include "daemon/model/program_stop.h"
#include "daemon/model/snapshot.h"
#include "daemon/model/target.h"

namespace goheapd::exporters {

enum class Refusal { unknown_target, gone_target, unsupported_target, unavailable };

struct SourceError {
  Refusal refusal = Refusal::unavailable;
  std::string message;
};

template <typename T>
using SourceResult = tl::expected<T, SourceError>;

// Called when all is there that a profile is made of; false: it is not to be made.
using MayMake = std::function<bool()>;

// Thread safe; calls may block for as long as one reading of the target takes (milliseconds), except for
// heap_delta, which blocks for `seconds`, or until `stop` is requested: the client left or the server stops.
// It then returns at once, with Refusal::unavailable, as it does if it may not make the profile.
class ProfileSource {
 public:
  virtual ~ProfileSource() = default;
  // Never blocks: it is told without the thread that all the others may have to wait for.
  virtual model::DaemonHealth health() const = 0;
  virtual std::vector<model::TargetStatus> targets() = 0;
  virtual model::DaemonStatus status() = 0;
  virtual SourceResult<model::HeapSnapshotPtr> heap(pid_t pid) = 0;
  virtual SourceResult<model::HeapSnapshotPtr> heap_delta(pid_t pid, std::chrono::seconds seconds,
                                                          std::stop_token stop, const MayMake& may_make) = 0;
  // Memory statistics as of now; of every process whose runtime can be read, whether it is profiled or not.
  virtual SourceResult<model::ProgramStatistics> statistics(pid_t pid) = 0;
  // The last garbage collections and other stops that were seen; of a process that has exited, too.
  virtual SourceResult<model::GcLog> gc_log(pid_t pid) = 0;
};

}  // namespace goheapd::exporters
