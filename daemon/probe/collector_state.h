// What a Collector has: the loaded programs, its targets, and what of their events it has taken in. Only collector*.cpp
// include this.
#pragma once

#include <bpf/libbpf.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "daemon/probe/collector.h"
#include "daemon/probe/decoder.h"
#include "daemon/probe/exact_reader.h"
#include "daemon/probe/wire_target.h"

namespace goheapd::probe {

struct Collector::State {
  struct FreeRing {
    void operator()(ring_buffer* events) const { ring_buffer__free(events); }
  };

  struct Target {
    uint16_t index = 0;
    wire::WireTarget wire{};
    AttachedProbes probes;
    bool has_counts = false;  // in the kernel, of the exact group
    bool has_runs = false;    // in the kernel, of the group spans
  };

  using Losses = std::array<uint64_t, wire::kLossReasons>;

  // Of which something is in the kernel that is to go. The maps are shared by all targets, so one walk does for many.
  struct Sessions {
    std::unordered_set<uint32_t> counts;
    std::unordered_set<uint32_t> runs;
  };

  State(BpfObject loaded, Attacher with) : object(std::move(loaded)), attacher(std::move(with)) {}

  BpfObject object;  // first: outlives the links and the ring that refer to it
  Attacher attacher;
  AttachMethod method = AttachMethod::uprobe_multi;
  Sinks sinks;
  ExactReader exact{object.exact_counts(), object.shipped_stacks(), object.possible_cpus()};
  uint32_t next_session = 1;
  std::vector<uint16_t> free_indices;
  std::unordered_map<pid_t, Target> targets;
  Losses gone_losses{};  // of targets that were detached
  std::array<uint64_t, kEventKindNames.size()> kinds{};
  std::array<uint64_t, kDecodeErrorNames.size()> decode_errors{};
  uint64_t stale_events = 0;
  size_t delivered = 0;      // by the present poll()
  size_t bytes_to_take = 0;  // that were waiting when it began
  std::unique_ptr<ring_buffer, FreeRing> ring;

  static int on_record(void* context, void* data, size_t size) {
    return static_cast<State*>(context)->take_in(ByteView(data, size));
  }
  int take_in(ByteView record);
  wire::WireStatistics statistics_of(uint32_t index) const;
  void clear_statistics(uint32_t index) const;
  Expected<bool> write(const Target& target) const;
  void forget(pid_t pid, Target& target, Sessions& doomed);
  void forget(pid_t pid, Target& target);
  void forget_counts(Target& target);
  void forget_runs(Target& target);
  void forget(const Sessions& doomed);
};

}  // namespace goheapd::probe
