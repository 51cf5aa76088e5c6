#include "daemon/probe/exact_reader.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <cerrno>
#include <cstddef>
#include <span>

#include "daemon/base/byte_view.h"

namespace goheapd::probe {
namespace {

constexpr uint32_t kFirstBatch = 4096;
constexpr uint32_t kLargestBatch = 1u << 17;

// Walks a hash map in batches of keys and values; `value_size` is what user space gets per key. `visit` is
// called with the number of keys that are now in `keys` and `values`. errno on failure, 0 when all was seen.
template <typename Key, typename Visit>
int visit_batches(int map, size_t value_size, Visit visit) {
  uint32_t batch = kFirstBatch;
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

template <typename Key, typename Visit>
int visit_map(int map, size_t value_size, Visit visit) {
  const int error = visit_batches<Key>(map, value_size, visit);
  // ENOTSUPP (524) or EINVAL: the kernel has no batch operation here; nothing was visited then.
  if (error == 524 || error == EINVAL) return visit_keys<Key>(map, value_size, visit);
  return error;
}

template <typename Key>
Expected<bool> remove_session(int map, size_t value_size, uint32_t session) {
  std::vector<Key> doomed;
  const int error = visit_map<Key>(map, value_size, [&](std::span<const Key> keys, const std::byte*) {
    for (const Key& key : keys)
      if (key.session == session) doomed.push_back(key);
  });
  if (error != 0) return fail("cannot read a BPF map", {}, error);
  for (const Key& key : doomed) bpf_map_delete_elem(map, &key);
  return true;
}

}  // namespace

ExactReader::ExactReader(int counts_map, int stacks_map) : counts_map_(counts_map), stacks_map_(stacks_map) {
  const int cpus = libbpf_num_possible_cpus();
  cpus_ = cpus > 0 ? static_cast<size_t>(cpus) : 1;
}

Expected<bool> ExactReader::for_each(const std::function<void(const ExactEntry&)>& visit) {
  // Per-CPU values come one after the other, each rounded up to 8 bytes.
  static_assert(sizeof(wire::WireExactValue) % 8 == 0);
  const size_t value_size = sizeof(wire::WireExactValue) * cpus_;
  const auto visit_all = [&](std::span<const wire::WireExactKey> keys, const std::byte* values) {
    for (size_t i = 0; i < keys.size(); ++i) {
      ExactEntry entry{.key = keys[i]};
      const ByteView cpus(values + i * value_size, value_size);
      for (size_t cpu = 0; cpu < cpus_; ++cpu) {
        const auto value = cpus.read<wire::WireExactValue>(cpu * sizeof(wire::WireExactValue));
        if (!value) continue;
        entry.objects += value->objects;
        entry.requested_bytes += value->requested_bytes;
        entry.slot_bytes += value->slot_bytes;
        entry.flags |= value->flags;
      }
      visit(entry);
    }
  };
  const int error = visit_map<wire::WireExactKey>(counts_map_, value_size, visit_all);
  if (error != 0) return fail("cannot read the exact counts", {}, error);
  return true;
}

Expected<bool> ExactReader::add_last_resort(uint32_t session) const {
  const wire::WireExactKey key{
      .stack_hash = 0, .type = 0, .session = session, .size_class = 0, .flags = wire::kExactUnsorted};
  const std::vector<wire::WireExactValue> zeros(cpus_);
  if (bpf_map_update_elem(counts_map_, &key, zeros.data(), BPF_ANY) != 0)
    return fail("no room for another target in the exact counts", {}, errno);
  return true;
}

Expected<bool> ExactReader::forget(uint32_t session) {
  auto counts =
      remove_session<wire::WireExactKey>(counts_map_, sizeof(wire::WireExactValue) * cpus_, session);
  auto stacks = remove_session<wire::WireStackKey>(stacks_map_, 8, session);
  return counts ? stacks : counts;
}

model::ExactCount to_model(const ExactEntry& entry, pid_t pid, uint32_t size_class_bytes) {
  model::ExactCount count;
  count.pid = pid;
  count.stack_hash = entry.key.stack_hash;
  count.type = entry.key.type;
  count.size_class = entry.key.size_class;
  count.objects = entry.objects;
  count.requested_bytes = entry.requested_bytes;
  count.tiny = (entry.key.flags & wire::kExactBelowTiny) != 0 && (entry.flags & wire::kExactNoscan) != 0;
  if (count.tiny) {
    count.slot_bytes = entry.requested_bytes;
  } else if (entry.key.size_class == 0) {
    count.slot_bytes = entry.slot_bytes;
  } else {
    count.slot_bytes = entry.objects * size_class_bytes;
  }
  return count;
}

}  // namespace goheapd::probe
