// What comes out of the kernel's ring.
#include <array>
#include <cstring>

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

wire::WireStackEvent stack_event(uint32_t kind, uint32_t frames) {
  wire::WireStackEvent event{};
  event.header = header_of(kind);
  event.size = 96;
  event.count = frames;
  uint64_t hash = wire::kStackHashSeed;
  for (uint32_t i = 0; i < frames; ++i) {
    event.frames[i] = 0x401000 + i;
    hash = wire::wire_hash_step(hash, event.frames[i]);
  }
  event.hash = frames == 0 ? 0 : wire::wire_hash_finish(hash);
  return event;
}

size_t size_with(uint32_t frames) {
  return offsetof(wire::WireStackEvent, frames) + frames * sizeof(wire::WireStackEvent::frames[0]);
}

}  // namespace

std::vector<std::string> seeds() {
  std::vector<std::string> all;
  // Each of them long enough for each kind; the kinds are numbered from 1, and the last of these are unknown.
  for (uint32_t kind = 1; kind <= 16; ++kind) {
    all.push_back(text_of(stack_event(kind, 3), size_with(3)));
    all.push_back(text_of(header_of(kind)));  // too short for most
  }
  // Stacks: none, as many as there can be, more than are there, more than there can be, and one with another's hash.
  for (const uint32_t frames : {0U, uint32_t{wire::kMaxFrames}})
    all.push_back(text_of(stack_event(wire::kEventExactStack, frames), size_with(frames)));
  all.push_back(text_of(stack_event(wire::kEventSpanRunOpened, 9), size_with(3)));
  wire::WireStackEvent wrong = stack_event(wire::kEventSampledAllocation, 3);
  ++wrong.hash;
  all.push_back(text_of(wrong, size_with(3)));
  wrong.count = 0xffffffff;
  all.push_back(text_of(wrong));

  wire::WireWorldStop stop{};
  stop.header = header_of(wire::kEventWorldStop);
  stop.stop.reason = kStopReasonByText;
  for (const uint32_t length : {0U, 9U, uint32_t{wire::kStopTextBytes}, 0xffffffffU}) {
    stop.stop.text_length = length;
    std::memcpy(stop.stop.text, "GC \0sweep\xff", 11);
    all.push_back(text_of(stop));
  }
  wire::WireGcCycle cycle{};
  cycle.header = header_of(wire::kEventGcCycle);
  all.push_back(text_of(cycle));
  std::memset(cycle.parts, 0xff, sizeof(cycle.parts));
  all.push_back(text_of(cycle));
  return all;
}

void run(std::string_view input) {
  const auto decoded = probe::decode(ByteView(input.data(), input.size()));
  if (decoded) use(probe::kEventKindNames.at(probe::kind_index(*decoded)).size());
}

}  // namespace goheapd::fuzz
