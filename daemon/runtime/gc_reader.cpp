#include "daemon/runtime/gc_reader.h"

#include <algorithm>
#include <array>
#include <string>
#include <vector>

namespace goheapd::runtime {
namespace {

constexpr uint32_t kRing = 256;  // len(memstats.pause_ns); the pause of the n-th cycle is at (n - 1) % 256
constexpr int kTries = 4;

}  // namespace

Expected<model::GcReading> GcReader::read() {
  const auto& mstats = view_->layout().mstats;
  const uint64_t base = view_->addresses().memstats;
  const auto& memory = view_->memory();
  const auto numgc_address = base + mstats.numgc.offset;

  std::array<uint64_t, kRing> ring{};
  std::array<uint64_t, kRing> ends{};
  uint32_t before = 0;
  uint32_t after = 0;
  for (int tries = 0; tries < kTries; ++tries) {
    const auto first = memory.read<uint32_t>(numgc_address);
    if (!first) return Unexpected(first.error());
    if (const auto done = memory.read(base + mstats.pause_ns.offset, std::as_writable_bytes(std::span(ring)));
        !done) {
      return Unexpected(done.error());
    }
    if (const auto done =
            memory.read(base + mstats.pause_end.offset, std::as_writable_bytes(std::span(ends)));
        !done) {
      return Unexpected(done.error());
    }
    const auto second = memory.read<uint32_t>(numgc_address);
    if (!second) return Unexpected(second.error());
    before = *first;
    after = *second;
    if (before == after) break;
  }
  const auto forced = memory.read<uint32_t>(base + mstats.numforcedgc.offset);
  if (!forced) return Unexpected(forced.error());
  if (const auto same = memory.verify(); !same) return Unexpected(same.error());
  if (before < cycles_seen_) {
    return fail("the number of GC cycles went backwards", "pid " + std::to_string(memory.pid()));
  }

  model::GcReading reading;
  reading.cycles = before;
  reading.forced_cycles = *forced;
  // Of the cycles up to `before`, those whose place has been used again before we were done are lost. The next
  // one's pause is written just before numgc counts it, so its place cannot be trusted either: unless `before` is
  // older than the ring is long, that place is still unused.
  const uint32_t overwritten = after > kRing - 1 ? after - (kRing - 1) : 0;
  const uint32_t begin = std::max(adopted_.load(), overwritten);
  for (uint32_t cycle = begin; cycle < before; ++cycle) reading.new_pauses_ns.push_back(ring[cycle % kRing]);
  for (uint32_t cycle = before > 2 ? before - 2 : 0; cycle < before; ++cycle) {
    reading.last_ends.emplace_back(cycle + 1, static_cast<int64_t>(ends[cycle % kRing]));
  }
  cycles_seen_ = before;
  return reading;
}

}  // namespace goheapd::runtime
