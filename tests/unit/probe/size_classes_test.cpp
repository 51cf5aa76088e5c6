#include "daemon/probe/size_classes.h"

#include <gtest/gtest.h>

#include "daemon/gobin/runtime_layout.h"

namespace goheapd::probe {
namespace {

// The way the BPF programs use the tables.
uint32_t look_up(const SizeClassTables& tables, uint32_t size) {
  if (size <= wire::kSmallTableLimit) return tables.small[(size + 7) / 8];
  return tables.medium[(size - wire::kSmallTableLimit + 127) / 128];
}

TEST(SizeClassTables, GiveTheSmallestClassThatFitsEverySize) {
  const auto& bytes = gobin::kSizeClassBytes;
  const SizeClassTables tables = make_size_class_tables(bytes);
  for (uint32_t size = 1; size <= bytes.back(); ++size) {
    const uint32_t size_class = look_up(tables, size);
    ASSERT_GT(size_class, 0u) << size;
    ASSERT_LT(size_class, bytes.size()) << size;
    ASSERT_GE(bytes[size_class], size);
    ASSERT_LT(size_class == 1 ? 0 : bytes[size_class - 1], size);
  }
}

TEST(SizeClassTables, KnowGosClasses) {
  const SizeClassTables tables = make_size_class_tables(gobin::kSizeClassBytes);
  EXPECT_EQ(look_up(tables, 1), 1u);
  EXPECT_EQ(look_up(tables, 8), 1u);
  EXPECT_EQ(look_up(tables, 9), 2u);
  EXPECT_EQ(look_up(tables, 17), 3u);
  EXPECT_EQ(look_up(tables, 1024), 32u);
  EXPECT_EQ(look_up(tables, 1025), 33u);
  EXPECT_EQ(look_up(tables, 32768), 67u);
}

}  // namespace
}  // namespace goheapd::probe
