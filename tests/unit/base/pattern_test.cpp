#include "daemon/base/pattern.h"

#include <gtest/gtest.h>

#include <string>

namespace goheapd {
namespace {

Pattern parsed(const char* text) {
  auto pattern = Pattern::parse(text);
  EXPECT_TRUE(pattern) << text;
  return pattern.value();
}

// What matches, in brackets.
std::string marked(const char* pattern, const std::string& text) {
  std::string result;
  size_t done = 0;
  for (const auto& [position, length] : parsed(pattern).matches(text)) {
    result += text.substr(done, position - done) + "[" + text.substr(position, length) + "]";
    done = position + length;
  }
  return result + text.substr(done);
}

TEST(Pattern, IsSoughtAnywhere) {
  EXPECT_TRUE(parsed("bin/").is_in("/usr/bin/prometheus"));
  EXPECT_FALSE(parsed("^bin/").is_in("/usr/bin/prometheus"));
  EXPECT_TRUE(parsed("^/opt/.*$").is_in("/opt/a\nb"));  // no name slips by with a line break
  EXPECT_TRUE(parsed("").is_in(""));
  EXPECT_TRUE(parsed("(?i)SHOP").is_in("a shop"));
}

TEST(Pattern, FindsAllMatches) {
  EXPECT_EQ(marked("[0-9]+", "a12b3"), "a[12]b[3]");
  EXPECT_EQ(marked("^a", "aab"), "[a]ab");
  EXPECT_EQ(marked("\\ba", "aa a"), "[a]a [a]");
  EXPECT_EQ(marked("x*", "axxb"), "a[xx]b");
  EXPECT_EQ(marked("", "abc"), "abc");
  EXPECT_EQ(marked("a|$", "ba"), "b[a]");
  EXPECT_EQ(marked("é.", "aéüb"), "a[éü]b");
  EXPECT_EQ(marked("x*", "\xc3\xbcx\xff"), "\xc3\xbc[x]\xff");
  EXPECT_EQ(marked("a.c", std::string("a\0cab", 5)), std::string("[a\0c]ab", 7));
}

TEST(Pattern, SaysWhyItIsNone) {
  const auto why = [](const std::string& text) { return to_string(Pattern::parse(text).error()); };
  EXPECT_EQ(why("(a"), "not a regular expression (missing ): (a): (a");
  for (const char* text : {"[", "*", "a\\", "x{1001}", "x{5,3}", "(?!a)", "(a)\\1", "\xff"})
    EXPECT_FALSE(Pattern::parse(text)) << text;
  EXPECT_NE(why("((a{100}){100}){100}").find("not a regular expression"), std::string::npos);
}

// Patterns that take others exponential time, and texts that overflow their stacks.
TEST(Pattern, TakesLinearTime) {
  const std::string text(1 << 20, 'a');
  EXPECT_FALSE(parsed("^(a+)+$b").is_in(text));
  EXPECT_FALSE(parsed("(x+x+)+y").is_in(std::string(1 << 20, 'x')));
  ASSERT_EQ(parsed("(a|b)*").matches(text).size(), 1u);
  EXPECT_EQ(parsed("(a|b)*").matches(text)[0].length, text.size());
}

}  // namespace
}  // namespace goheapd
