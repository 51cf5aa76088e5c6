#include "daemon/base/byte_view.h"

#include <gtest/gtest.h>

#include <array>
#include <limits>

namespace goheapd {
namespace {

constexpr uint64_t kHuge = std::numeric_limits<uint64_t>::max();

TEST(ByteView, NoReadLeavesTheView) {
  const std::array<uint8_t, 8> bytes{1, 2, 3, 4, 5, 6, 7, 8};
  const ByteView view(bytes.data(), bytes.size());
  EXPECT_EQ(view.read<uint32_t>(4), 0x08070605u);
  EXPECT_FALSE(view.read<uint32_t>(5));
  EXPECT_FALSE(view.read<uint8_t>(8));
  EXPECT_FALSE(view.read<uint64_t>(kHuge));
  EXPECT_FALSE(view.read<uint64_t>(kHuge - 3));
  EXPECT_TRUE(view.slice(8, 0));
  EXPECT_FALSE(view.slice(4, kHuge - 2));
  EXPECT_FALSE(view.from(9));
}

TEST(ByteView, StringsMustEndInside) {
  const std::array<char, 6> bytes{'a', 'b', 0, 'c', 'd', 'e'};
  const ByteView view(bytes.data(), bytes.size());
  EXPECT_EQ(view.c_string(0), "ab");
  EXPECT_EQ(view.c_string(2), "");
  EXPECT_FALSE(view.c_string(3));
  EXPECT_FALSE(view.c_string(6));
}

TEST(ByteView, UvarintsOfAnyLength) {
  const std::array<uint8_t, 14> bytes{0x05, 0xac, 0x02, 0xff, 0xff, 0xff, 0xff,
                                      0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0x80};
  const ByteView view(bytes.data(), bytes.size());
  EXPECT_EQ(view.uvarint(0)->value, 5u);
  EXPECT_EQ(view.uvarint(1)->value, 300u);
  EXPECT_EQ(view.uvarint(1)->next, 3u);
  EXPECT_EQ(view.uvarint(3)->value, kHuge);
  EXPECT_FALSE(view.uvarint(13)) << "goes on behind the end";
}

}  // namespace
}  // namespace goheapd
