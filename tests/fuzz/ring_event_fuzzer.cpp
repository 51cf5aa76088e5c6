// What comes out of the kernel's ring.
#include <array>

#include "bpf/wire.h"
#include "daemon/probe/decoder.h"
#include "tests/fuzz/fuzzer.h"

namespace goheapd::fuzz {
namespace {

template <typename T>
std::string text_of(const T& record, size_t size = sizeof(T)) {
  return {reinterpret_cast<const char*>(&record), size};
}

wire::WireHeader header_of(uint32_t kind) {
  return {.kind = kind, .tgid = 42, .time_ns = 1000, .session = 7, .tid = 43};
}

}  // namespace

std::vector<std::string> seeds() {
  std::vector<std::string> all;
  // A record of every kind, long enough for each; the kinds are numbered from 1.
  for (uint32_t kind = 1; kind <= 16; ++kind) {
    wire::WireStackEvent event{};
    event.header = header_of(kind);
    event.size = 96;
    event.count = 3;
    uint64_t hash = wire::kStackHashSeed;
    for (uint32_t i = 0; i < event.count; ++i) {
      event.frames[i] = 0x401000 + i;
      hash = wire::wire_hash_step(hash, event.frames[i]);
    }
    event.hash = wire::wire_hash_finish(hash);
    all.push_back(text_of(event, offsetof(wire::WireStackEvent, frames) + 3 * sizeof(event.frames[0])));
  }
  return all;
}

void run(std::string_view input) {
  const auto decoded = probe::decode(ByteView(input.data(), input.size()));
  if (decoded) use(probe::kEventKindNames.at(probe::kind_index(*decoded)).size());
}

}  // namespace goheapd::fuzz
