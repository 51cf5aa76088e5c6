#include "exporters/http/listener.h"

#include <gtest/gtest.h>

#include <cerrno>

namespace goheapd::exporters::http {
namespace {

TEST(Listener, BindsAndTellsWhere) {
  boost::asio::io_context io;
  const auto v4 = listen_on(io, {"127.0.0.1", 0});
  ASSERT_TRUE(v4) << to_string(v4.error());
  EXPECT_TRUE(bound_address(*v4).starts_with("127.0.0.1:"));
  EXPECT_FALSE(bound_address(*v4).ends_with(":0"));
  EXPECT_TRUE(listen_on(io, {"", 0}));
}

TEST(Listener, FailuresNameTheAddress) {
  boost::asio::io_context io;
  const auto first = listen_on(io, {"127.0.0.1", 0});
  ASSERT_TRUE(first);
  const std::string address = bound_address(*first);
  const auto second = listen_on(io, *parse_listen_address(address));
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().subject, address);
  EXPECT_EQ(second.error().errno_value, EADDRINUSE);
  EXPECT_FALSE(listen_on(io, {"no such host.invalid", 0}));
}

}  // namespace
}  // namespace goheapd::exporters::http
