#include "exporters/http/target.h"

#include <gtest/gtest.h>

namespace goheapd::exporters::http {
namespace {

TEST(HttpTarget, DecodesPathAndQuery) {
  const auto target =
      parse_target("/targets/12/debug%2Fpprof?seconds=5&a=x+y%21&seconds=6&flag&=nameless&&b==");
  ASSERT_TRUE(target);
  EXPECT_EQ(target->path, "/targets/12/debug/pprof");
  EXPECT_EQ(target->query,
            (Fields{{"seconds", "5"}, {"a", "x y!"}, {"seconds", "6"}, {"flag", ""}, {"b", "="}}));
}

TEST(HttpTarget, TakesAbsoluteFormsAndLeavesFragmentsOut) {
  EXPECT_EQ(parse_target("http://h:9786/a?b=c")->path, "/a");
  EXPECT_EQ(parse_target("http://h:9786/a?b=c")->query, (Fields{{"b", "c"}}));
  EXPECT_EQ(parse_target("http://h")->path, "/");
  EXPECT_EQ(parse_target("http://h?b=/c")->path, "/");
  EXPECT_EQ(parse_target("http://h?b=/c")->query, (Fields{{"b", "/c"}}));
  EXPECT_EQ(parse_target("/a#b?c=d")->path, "/a");
  EXPECT_TRUE(parse_target("/a#b?c=d")->query.empty());
  EXPECT_EQ(parse_target("/a://b")->path, "/a://b");
}

TEST(HttpTarget, RefusesWhatIsNoPath) {
  for (const char* text : {"", "*", "nowhere", "host:443", "?a=b", "#", "/%zz", "/%0", "/%", "/%00", "/?a=%0",
                           "/?%00=a", "%2Fa", "/?a=b%"}) {
    EXPECT_FALSE(parse_target(text)) << text;
  }
}

TEST(HttpTarget, PercentDecodesEveryByteButZero) {
  for (int byte = 1; byte < 256; ++byte) {
    const char* digits = "0123456789abcdef";
    const std::string text = {'%', digits[byte / 16], digits[byte % 16]};
    EXPECT_EQ(percent_decode(text, false), std::string(1, static_cast<char>(byte)));
  }
  EXPECT_EQ(percent_decode("%2B%2b+", false), "+++");
  EXPECT_EQ(percent_decode("%2B%2b+", true), "++ ");
  EXPECT_EQ(percent_decode("%252F", false), "%2F") << "decoded once only";
  EXPECT_EQ(percent_decode(std::string("a\0b", 3), false), std::nullopt);
}

}  // namespace
}  // namespace goheapd::exporters::http
