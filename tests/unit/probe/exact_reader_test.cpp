#include "daemon/probe/exact_reader.h"

#include <gtest/gtest.h>

namespace goheapd::probe {
namespace {

ExactEntry entry(uint16_t size_class, uint16_t key_flags, uint32_t value_flags) {
  return {.key = {.stack_hash = 11, .type = 22, .session = 3, .size_class = size_class, .flags = key_flags},
          .objects = 10,
          .requested_bytes = 130,
          .slot_bytes = 8192,
          .flags = value_flags};
}

TEST(ExactCount, SmallObjectsUseTheirSlots) {
  const model::ExactCount count = to_model(entry(2, 0, wire::kExactNoscan), 42, 16);
  EXPECT_EQ(count.pid, 42);
  EXPECT_EQ(count.stack_hash, 11u);
  EXPECT_EQ(count.type, 22u);
  EXPECT_EQ(count.objects, 10u);
  EXPECT_EQ(count.requested_bytes, 130u);
  EXPECT_EQ(count.slot_bytes, 160u);
  EXPECT_FALSE(count.tiny);
}

// 15 bytes without pointers share a block, 16 bytes do not, nor do 15 bytes with pointers: they are the same class.
TEST(ExactCount, TinyNeedsBothASmallSizeAndNoPointers) {
  EXPECT_TRUE(to_model(entry(2, wire::kExactBelowTiny, wire::kExactNoscan), 42, 16).tiny);
  EXPECT_EQ(to_model(entry(2, wire::kExactBelowTiny, wire::kExactNoscan), 42, 16).slot_bytes, 130u);
  EXPECT_FALSE(to_model(entry(2, wire::kExactBelowTiny, 0), 42, 16).tiny);
  EXPECT_FALSE(to_model(entry(2, 0, wire::kExactNoscan), 42, 16).tiny);
}

TEST(ExactCount, LargeObjectsUseWhatTheKernelAddedUp) {
  EXPECT_EQ(to_model(entry(0, 0, 0), 42, 0).slot_bytes, 8192u);
  EXPECT_EQ(to_model(entry(0, wire::kExactUnsorted, 0), 42, 0).slot_bytes, 8192u);
}

TEST(StackHash, DependsOnOrderAndLengthAndIsNeverZero) {
  const auto hash = [](std::initializer_list<uint64_t> frames) {
    uint64_t value = wire::kStackHashSeed;
    for (const uint64_t frame : frames) value = wire::wire_hash_step(value, frame);
    return wire::wire_hash_finish(value);
  };
  EXPECT_NE(hash({1, 2}), hash({2, 1}));
  EXPECT_NE(hash({1}), hash({1, 0}));
  EXPECT_NE(hash({0x401000}), hash({0x401001}));
  EXPECT_EQ(wire::wire_hash_finish(0), 1u);
}

}  // namespace
}  // namespace goheapd::probe
