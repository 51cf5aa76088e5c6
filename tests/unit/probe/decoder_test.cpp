#include "daemon/probe/decoder.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <vector>

#include "bpf/wire.h"

namespace goheapd::probe {
namespace {

wire::WireHeader header_of(wire::WireEventKind kind) {
  return {.kind = kind, .tgid = 42, .time_ns = 1000, .session = 7, .tid = 43};
}

template <typename T>
ByteView bytes_of(const T& value) {
  return ByteView(&value, sizeof(value));
}

template <typename T>
const T& event_in(const tl::expected<DecodedEvent, DecodeError>& decoded) {
  return std::get<T>(std::get<model::Event>(decoded->value));
}

// A stack event as the kernel would send it.
std::vector<std::byte> stack_record(wire::WireEventKind kind, const std::vector<uint64_t>& frames,
                                    uint32_t flags = 0) {
  wire::WireStackEvent event{};
  event.header = header_of(kind);
  event.address = 0xc000012000;
  event.size = 96;
  event.goid = 5;
  event.count = static_cast<uint32_t>(frames.size());
  event.flags = flags;
  uint64_t hash = wire::kStackHashSeed;
  for (size_t i = 0; i < frames.size(); ++i) {
    event.frames[i] = frames[i];
    hash = wire::wire_hash_step(hash, frames[i]);
  }
  event.hash = frames.empty() ? 0 : wire::wire_hash_finish(hash);
  std::vector<std::byte> record(offsetof(wire::WireStackEvent, frames) + frames.size() * 8);
  std::memcpy(record.data(), &event, record.size());
  return record;
}

TEST(Decoder, Birth) {
  const wire::WireSampledBirth wire{header_of(wire::kEventSampledBirth), 0xc000010000, 0x7f0000001000, 9};
  const auto decoded = decode(bytes_of(wire));
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->session, 7u);
  const auto& birth = event_in<model::SampledBirth>(decoded);
  EXPECT_EQ(birth.pid, 42);
  EXPECT_EQ(birth.time_ns, 1000u);
  EXPECT_EQ(birth.address, 0xc000010000u);
  EXPECT_EQ(birth.bucket, 0x7f0000001000u);
  EXPECT_EQ(birth.goid, 9u);
  EXPECT_EQ(kEventKindNames[kind_index(*decoded)], "sampled_birth");
}

TEST(Decoder, Death) {
  const wire::WireSampledDeath wire{header_of(wire::kEventSampledDeath), 0xc000010000, 0x7f0000001000, 48};
  const auto decoded = decode(bytes_of(wire));
  ASSERT_TRUE(decoded);
  const auto& death = event_in<model::SampledDeath>(decoded);
  EXPECT_EQ(death.address, 0xc000010000u);
  EXPECT_EQ(death.bucket, 0x7f0000001000u);
  EXPECT_EQ(death.size, 48u);
  EXPECT_EQ(kEventKindNames[kind_index(*decoded)], "sampled_death");
}

TEST(Decoder, Flushes) {
  for (const uint32_t post_sweep : {0u, 1u}) {
    const wire::WireProfileFlush wire{header_of(wire::kEventProfileFlush), post_sweep, 0};
    const auto decoded = decode(bytes_of(wire));
    ASSERT_TRUE(decoded);
    EXPECT_EQ(event_in<model::GcProfileFlush>(decoded).post_sweep, post_sweep == 1);
    EXPECT_EQ(kEventKindNames[kind_index(*decoded)], "gc_profile_flush");
  }
}

TEST(Decoder, GcCycleWithItsStartOnlyWhereThisAttachSawIt) {
  wire::WireGcCycle wire{};
  wire.header = header_of(wire::kEventGcCycle);
  wire.parts[2][3] = 9;
  wire.start.time_ns = 900;
  wire.start.controller[5] = 8;
  const auto without = decode(bytes_of(wire));
  ASSERT_TRUE(without);
  EXPECT_EQ(event_in<model::GcCycleMemory>(without).parts[2][3], std::byte{9});
  EXPECT_EQ(event_in<model::GcCycleMemory>(without).start_ns, 0u);
  EXPECT_TRUE(event_in<model::GcCycleMemory>(without).controller_at_start.empty());
  wire.start.session = wire.header.session;
  const auto with = decode(bytes_of(wire));
  ASSERT_TRUE(with);
  EXPECT_EQ(event_in<model::GcCycleMemory>(with).start_ns, 900u);
  EXPECT_EQ(event_in<model::GcCycleMemory>(with).controller_at_start.at(5), std::byte{8});
}

TEST(Decoder, StopsAreOfOneReasonInNumbersOrInWords) {
  wire::WireWorldStop wire{header_of(wire::kEventWorldStop), {}};
  wire.stop.began_ns = 900;
  wire.stop.reason = 7;
  wire.stop.text_length = 3;
  const auto numbered = decode(bytes_of(wire));
  ASSERT_TRUE(numbered);
  EXPECT_EQ(event_in<model::WorldStop>(numbered).began_ns, 900u);
  EXPECT_EQ(event_in<model::WorldStop>(numbered).reason, 7u);
  EXPECT_EQ(event_in<model::WorldStop>(numbered).text, "");
  EXPECT_EQ(kEventKindNames[kind_index(*numbered)], "world_stop");

  wire.stop.reason = kStopReasonByText;
  std::fill(std::begin(wire.stop.text), std::end(wire.stop.text), uint8_t{'x'});
  // Longer than what there is, as only a broken record says.
  for (const uint32_t length : {0u, 5u, 24u, 25u, ~0u}) {
    wire.stop.text_length = length;
    const auto worded = decode(bytes_of(wire));
    ASSERT_TRUE(worded);
    EXPECT_FALSE(event_in<model::WorldStop>(worded).reason);
    EXPECT_EQ(event_in<model::WorldStop>(worded).text, std::string(std::min(length, 24u), 'x'));
  }
}

TEST(Decoder, ProcessLife) {
  const auto exec = decode(bytes_of(header_of(wire::kEventProcessExec)));
  ASSERT_TRUE(exec);
  EXPECT_EQ(event_in<model::ProcessExec>(exec).pid, 42);
  EXPECT_EQ(kEventKindNames[kind_index(*exec)], "process_exec");
  const auto exit = decode(bytes_of(header_of(wire::kEventProcessExit)));
  ASSERT_TRUE(exit);
  EXPECT_EQ(event_in<model::ProcessExit>(exit).time_ns, 1000u);
  EXPECT_EQ(kEventKindNames[kind_index(*exit)], "process_exit");
}

TEST(Decoder, SampledAllocationWithStack) {
  const auto record = stack_record(wire::kEventSampledAllocation, {0x401000, 0x402000, 0x403000});
  const auto decoded = decode(ByteView(record.data(), record.size()));
  ASSERT_TRUE(decoded);
  const auto& allocation = event_in<model::SampledAllocation>(decoded);
  EXPECT_EQ(allocation.address, 0xc000012000u);
  EXPECT_EQ(allocation.size, 96u);
  EXPECT_EQ(allocation.goid, 5u);
  EXPECT_FALSE(allocation.truncated);
  EXPECT_EQ(allocation.stack, (std::vector<uint64_t>{0x401000, 0x402000, 0x403000}));
}

TEST(Decoder, ExactStackIsNoEvent) {
  const auto record = stack_record(wire::kEventExactStack, {0x401000}, wire::kStackTruncated);
  const auto decoded = decode(ByteView(record.data(), record.size()));
  ASSERT_TRUE(decoded);
  const auto& stack = std::get<model::ExactStack>(decoded->value);
  EXPECT_TRUE(stack.truncated);
  EXPECT_NE(stack.stack_hash, 0u);
  EXPECT_EQ(kEventKindNames[kind_index(*decoded)], "exact_stack");
}

TEST(Decoder, SpanRunOpenedWithStack) {
  auto record = stack_record(wire::kEventSpanRunOpened, {0x401000, 0x402000});
  const auto put = [&record](size_t offset, auto value) {
    std::memcpy(record.data() + offset, &value, sizeof value);
  };
  put(offsetof(wire::WireStackEvent, mean_distance), uint64_t{131072});
  put(offsetof(wire::WireStackEvent, sweepgen), uint32_t{14});
  put(offsetof(wire::WireStackEvent, objects), uint32_t{85});
  put(offsetof(wire::WireStackEvent, span_class), uint32_t{13});
  const auto decoded = decode(ByteView(record.data(), record.size()));
  ASSERT_TRUE(decoded);
  const auto& run = event_in<model::SpanRunOpened>(decoded);
  EXPECT_EQ(run.pid, 42);
  EXPECT_EQ(run.time_ns, 1000u);
  EXPECT_EQ(run.address, 0xc000012000u);
  EXPECT_EQ(run.span_class, 13u);
  EXPECT_EQ(run.object_bytes, 96u);
  EXPECT_EQ(run.planned_objects, 85u);
  EXPECT_EQ(run.mean_distance, 131072u);
  EXPECT_EQ(run.sweepgen, 14u);
  EXPECT_EQ(run.goid, 5u);
  EXPECT_EQ(run.stack, (std::vector<uint64_t>{0x401000, 0x402000}));
  EXPECT_EQ(kEventKindNames[kind_index(*decoded)], "span_run_opened");
}

TEST(Decoder, SpanRunCut) {
  const wire::WireSpanRunCut wire{header_of(wire::kEventSpanRunCut), 0xc000010000, 900, 17, 0};
  const auto decoded = decode(bytes_of(wire));
  ASSERT_TRUE(decoded);
  const auto& cut = event_in<model::SpanRunCut>(decoded);
  EXPECT_EQ(cut.pid, 42);
  EXPECT_EQ(cut.address, 0xc000010000u);
  EXPECT_EQ(cut.opened_ns, 900u);
  EXPECT_EQ(cut.used_objects, 17u);
  EXPECT_EQ(kEventKindNames[kind_index(*decoded)], "span_run_cut");
}

TEST(Decoder, UnreadableStackIsTruncatedAndMayBeEmpty) {
  const auto record = stack_record(wire::kEventSampledAllocation, {}, wire::kStackUnreadable);
  const auto decoded = decode(ByteView(record.data(), record.size()));
  ASSERT_TRUE(decoded);
  EXPECT_TRUE(event_in<model::SampledAllocation>(decoded).truncated);
  EXPECT_TRUE(event_in<model::SampledAllocation>(decoded).stack.empty());
}

TEST(Decoder, DeepestStack) {
  std::vector<uint64_t> frames(wire::kMaxFrames);
  for (size_t i = 0; i < frames.size(); ++i) frames[i] = 0x400000 + i * 16;
  auto record = stack_record(wire::kEventExactStack, frames);
  EXPECT_TRUE(decode(ByteView(record.data(), record.size())));
  // One more than the kernel ever sends.
  const uint32_t count = wire::kMaxFrames + 1;
  std::memcpy(record.data() + offsetof(wire::WireStackEvent, count), &count, sizeof(count));
  record.resize(record.size() + 8);
  EXPECT_EQ(decode(ByteView(record.data(), record.size())).error(), DecodeError::bad_stack);
}

TEST(Decoder, OverwrittenStackIsFound) {
  auto record = stack_record(wire::kEventExactStack, {0x401000, 0x402000});
  record.back() = std::byte{0x55};
  EXPECT_EQ(decode(ByteView(record.data(), record.size())).error(), DecodeError::damaged_stack);
}

// The kernel rounds records up to 8 bytes, so longer is fine; every shorter length is refused, whatever it is cut from.
TEST(Decoder, RefusesEveryShorterRecord) {
  const wire::WireSampledBirth birth{header_of(wire::kEventSampledBirth), 1, 2, 3};
  const wire::WireSampledDeath death{header_of(wire::kEventSampledDeath), 1, 2, 3};
  const wire::WireProfileFlush flush{header_of(wire::kEventProfileFlush), 0, 0};
  const wire::WireHeader exec = header_of(wire::kEventProcessExec);
  const wire::WireWorldStop stop{header_of(wire::kEventWorldStop), {}};
  const auto stack = stack_record(wire::kEventExactStack, {0x401000, 0x402000});
  for (const ByteView whole : {bytes_of(birth), bytes_of(death), bytes_of(flush), bytes_of(exec),
                               bytes_of(stop), ByteView(stack.data(), stack.size())}) {
    ASSERT_TRUE(decode(whole));
    for (size_t length = 0; length < whole.size(); ++length) {
      const auto decoded = decode(*whole.slice(0, length));
      ASSERT_FALSE(decoded) << length;
      EXPECT_TRUE(decoded.error() == DecodeError::too_short || decoded.error() == DecodeError::bad_stack)
          << length;
    }
  }
}

TEST(Decoder, RefusesUnknownKinds) {
  wire::WireStackEvent event{};
  for (const uint32_t kind : {0u, 200u, 255u, 0xffffffffu}) {
    event.header.kind = kind;
    EXPECT_EQ(decode(bytes_of(event)).error(), DecodeError::unknown_kind) << kind;
  }
}

TEST(Decoder, SurvivesNoise) {
  std::mt19937_64 random(1);
  std::vector<uint64_t> words(160);
  for (int round = 0; round < 20'000; ++round) {
    for (uint64_t& word : words) word = random();
    words[0] = (words[0] & ~uint64_t{0xffffffff}) | random() % 9;  // mostly known kinds
    const size_t length = random() % (words.size() * 8);
    const auto decoded = decode(ByteView(words.data(), length));
    if (decoded) {
      EXPECT_LT(kind_index(*decoded), kEventKindNames.size());
    }
  }
}

}  // namespace
}  // namespace goheapd::probe
