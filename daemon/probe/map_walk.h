// Walks over the kernel's hash maps from user space. `Key` is a struct of bpf/wire.h.
#pragma once

#include <bpf/bpf.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>
#include <unordered_set>
#include <vector>

#include "daemon/base/expected.h"

namespace goheapd::probe {

inline constexpr uint32_t kFirstBatch = 4096;
// On machines with many CPUs a value is kilobytes, since each has its part.
inline constexpr size_t kFirstBatchBytes = 4u << 20;
inline constexpr uint32_t kLargestBatch = 1u << 17;

// Walks a hash map in batches of keys and values; `value_size` is what user space gets per key. `visit` is
// called with the number of keys that are now in `keys` and `values`. errno on failure, 0 when all was seen.
template <typename Key, typename Visit>
int visit_batches(int map, size_t value_size, Visit visit) {
  uint32_t batch = static_cast<uint32_t>(std::clamp<size_t>(kFirstBatchBytes / value_size, 1, kFirstBatch));
  std::vector<Key> keys(batch);
  std::vector<std::byte> values(batch * value_size);
  // The kernel's position in the map: the number of a bucket.
  uint32_t position = 0;
  bool started = false;
  for (;;) {
    uint32_t count = batch;
    uint32_t next = 0;
    const int result = bpf_map_lookup_batch(map, started ? &position : nullptr, &next, keys.data(),
                                            values.data(), &count, nullptr);
    const int error = result < 0 ? errno : 0;
    if (error == ENOSPC && batch < kLargestBatch) {
      // One bucket has more entries than the batch; nothing was copied.
      batch *= 2;
      keys.resize(batch);
      values.resize(batch * value_size);
      continue;
    }
    if (error != 0 && error != ENOENT) return error;
    visit(std::span<const Key>(keys.data(), count), values.data());
    if (error == ENOENT) return 0;  // the end, after the last `count` entries
    position = next;
    started = true;
  }
}

// The same key by key, for kernels without batches on this kind of map.
template <typename Key, typename Visit>
int visit_keys(int map, size_t value_size, Visit visit) {
  std::vector<std::byte> value(value_size);
  Key key{};
  Key next{};
  bool started = false;
  // Bounded: with entries coming and going the walk can start over.
  for (uint32_t steps = 0; steps < (1u << 22); ++steps) {
    if (bpf_map_get_next_key(map, started ? &key : nullptr, &next) != 0) return errno == ENOENT ? 0 : errno;
    key = next;
    started = true;
    if (bpf_map_lookup_elem(map, &key, value.data()) == 0) visit(std::span<const Key>(&key, 1), value.data());
  }
  return 0;
}

// `visit` may see an entry twice or not at all when the map changes meanwhile. errno on failure.
template <typename Key, typename Visit>
int visit_map(int map, size_t value_size, Visit visit) {
  const int error = visit_batches<Key>(map, value_size, visit);
  // ENOTSUPP (524) or EINVAL: the kernel has no batch operation here; nothing was visited then.
  if (error == 524 || error == EINVAL) return visit_keys<Key>(map, value_size, visit);
  return error;
}

// Removes all entries whose key has one of these sessions, in one walk.
template <typename Key>
Expected<bool> remove_sessions(int map, size_t value_size, const std::unordered_set<uint32_t>& sessions) {
  if (sessions.empty()) return true;
  std::vector<Key> doomed;
  const int error = visit_map<Key>(map, value_size, [&](std::span<const Key> keys, const std::byte*) {
    for (const Key& key : keys)
      if (sessions.contains(key.session)) doomed.push_back(key);
  });
  if (error != 0) return fail("cannot read a BPF map", {}, error);
  for (const Key& key : doomed) bpf_map_delete_elem(map, &key);
  return true;
}

}  // namespace goheapd::probe
