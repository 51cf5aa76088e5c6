// Fixed values that the exporters' tests serve and encode.
#pragma once

#include <atomic>
#include <map>
#include <string>
#include <vector>

#include "exporters/source.h"

namespace goheapd::exporters::fixtures {

// Two samples of main.fill (inlined into a generic function), one without symbols, one of the runtime alone, one
// that has been freed; strange names throughout.
model::HeapSnapshot snapshot();

// `stacks` distinct stacks of `depth` frames, out of as many functions and locations as a large server has.
model::HeapSnapshot large_snapshot(size_t stacks, size_t depth);

// Cycle `number` of a small program that began at 1000 s by the monotonic clock.
model::GcCycle gc_cycle(uint32_t number);

// 101: attached, in a pod, with hostile names. 102: attached in exact mode, nothing live. 103: unsupported.
// 104: exited and still served. 105: gone. Every other pid is unknown.
class FixedSource : public ProfileSource {
 public:
  model::DaemonHealth health() const override;
  std::vector<model::TargetStatus> targets() override;
  model::DaemonStatus status() override;
  SourceResult<model::HeapSnapshotPtr> heap(pid_t pid) override;
  // Waits for `seconds` in earnest, until `stop`.
  SourceResult<model::HeapSnapshotPtr> heap_delta(pid_t pid, std::chrono::seconds seconds,
                                                  std::stop_token stop, const MayMake& may_make) override;

  SourceResult<model::ProgramStatistics> statistics(pid_t pid) override;
  SourceResult<model::GcLog> gc_log(pid_t pid) override;

  // Set: what /-/healthy and /-/ready have to say.
  std::optional<std::string> unhealthy;
  std::optional<std::string> not_ready;
  // heap_delta calls that were ended by their stop token.
  std::atomic<int> cancelled{0};
  std::atomic<int> waiting{0};
  // Differences that were made into profiles at one time, at most.
  std::atomic<int> most_making{0};
  bool earlier_life_of_shop = false;
  bool counter_without_probes = false;
  bool counter_has_collected = false;

 private:
  std::atomic<int> making_{0};
};

// The whole file; fails the test when it cannot be read.
std::string read_file(const std::string& path);

// A directory of its own, removed with all that is in it.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  std::string write(const std::string& name, const std::string& content) const;
  std::string path(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

}  // namespace goheapd::exporters::fixtures
