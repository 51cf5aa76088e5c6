#include "exporters/http/address.h"

#include <gtest/gtest.h>

namespace goheapd::exporters::http {
namespace {

TEST(ListenAddress, ParsesEveryShape) {
  const auto v4 = parse_listen_address("127.0.0.1:9786");
  ASSERT_TRUE(v4);
  EXPECT_EQ(v4->host, "127.0.0.1");
  EXPECT_EQ(v4->port, 9786);
  EXPECT_EQ(parse_listen_address("[::1]:80")->host, "::1");
  EXPECT_EQ(parse_listen_address(":9786")->host, "");
  EXPECT_EQ(parse_listen_address("localhost:0")->port, 0);
}

TEST(ListenAddress, RefusesOtherShapes) {
  for (const char* text : {"", "9786", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1",
                           "127.0.0.1:80x", "::1:80", "[]:80", "[::1:80", "::1]:80"}) {
    EXPECT_FALSE(parse_listen_address(text)) << text;
  }
}

}  // namespace
}  // namespace goheapd::exporters::http
