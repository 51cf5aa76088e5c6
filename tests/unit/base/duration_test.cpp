#include "daemon/base/duration.h"

#include <gtest/gtest.h>

namespace goheapd {
namespace {

using namespace std::chrono_literals;

TEST(ParseDuration, ReadsWhatGoWrites) {
  EXPECT_EQ(parse_duration("0"), 0ns);
  EXPECT_EQ(parse_duration("300ms"), 300ms);
  EXPECT_EQ(parse_duration("1m30s"), 90s);
  EXPECT_EQ(parse_duration("1.5h"), 90min);
  EXPECT_EQ(parse_duration(".5s"), 500ms);
  EXPECT_EQ(parse_duration("2h0m0.25s"), 2h + 250ms);
  EXPECT_EQ(parse_duration("7\xc2\xb5s"), 7us);
  EXPECT_EQ(parse_duration("-1s"), -1s);
}

TEST(ParseDuration, RefusesTheRest) {
  for (const char* bad :
       {"", "1", "s", "1 s", "1d", "1.2.3s", "1s2", "--1s", "1e3s", ".s", "1000000000h", "inf", "nans"}) {
    EXPECT_FALSE(parse_duration(bad)) << bad;
  }
}

}  // namespace
}  // namespace goheapd
