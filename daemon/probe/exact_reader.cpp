#include "daemon/probe/exact_reader.h"

#include <bpf/bpf.h>

#include <cerrno>
#include <cstddef>
#include <span>

#include "daemon/base/byte_view.h"
#include "daemon/probe/map_walk.h"

namespace goheapd::probe {

ExactReader::ExactReader(int counts_map, int stacks_map, size_t possible_cpus)
    : counts_map_(counts_map), stacks_map_(stacks_map), cpus_(possible_cpus) {}

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

Expected<bool> ExactReader::forget(const std::unordered_set<uint32_t>& sessions) {
  auto counts =
      remove_sessions<wire::WireExactKey>(counts_map_, sizeof(wire::WireExactValue) * cpus_, sessions);
  auto stacks = remove_sessions<wire::WireStackKey>(stacks_map_, 8, sessions);
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
  count.noscan = (entry.flags & wire::kExactNoscan) != 0;
  count.tiny = (entry.key.flags & wire::kExactBelowTiny) != 0 && count.noscan;
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
