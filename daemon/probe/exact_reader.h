// Reads the kernel's exact counts and forgets those of targets that are gone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <unordered_set>
#include <vector>

#include "bpf/wire.h"
#include "daemon/base/expected.h"
#include "daemon/model/event.h"

namespace goheapd::probe {

// One entry as it stands in the kernel, summed over the CPUs.
struct ExactEntry {
  wire::WireExactKey key;
  uint64_t objects = 0;
  uint64_t requested_bytes = 0;
  uint64_t slot_bytes = 0;
  uint32_t flags = 0;
};

class ExactReader {
 public:
  ExactReader(int counts_map, int stacks_map, size_t possible_cpus);

  // Calls `visit` for every entry of the map once. In batches where the kernel can, else key by key.
  Expected<bool> for_each(const std::function<void(const ExactEntry&)>& visit);

  // The entry that the target's hits fall back to when the map is full; has to exist before the first hit.
  Expected<bool> add_last_resort(uint32_t session) const;
  // Removes all entries and stack marks of these sessions.
  Expected<bool> forget(const std::unordered_set<uint32_t>& sessions);

 private:
  int counts_map_;
  int stacks_map_;
  size_t cpus_;
};

// `pid` = process of the entry's session, `size_class_bytes` = bytes of the class's slot, 0 for class 0.
model::ExactCount to_model(const ExactEntry& entry, pid_t pid, uint32_t size_class_bytes);

}  // namespace goheapd::probe
