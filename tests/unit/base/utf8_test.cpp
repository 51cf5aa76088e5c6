#include "daemon/base/utf8.h"

#include <gtest/gtest.h>

namespace goheapd {
namespace {

TEST(CleanUtf8, LeavesWellFormedTextAlone) {
  const std::string text =
      "main.(*Gr\xc3\xb6\xc3\x9f"
      "e).Add \xe2\x82\xac \xf0\x9f\x98\x80\n";
  EXPECT_EQ(clean_utf8(text, 1000), text);
}

TEST(CleanUtf8, ReplacesEveryBadByte) {
  EXPECT_EQ(clean_utf8("a\xff"
                       "b",
                       1000),
            "a\xef\xbf\xbd"
            "b");
  EXPECT_EQ(clean_utf8("\xc0\x80", 1000), "\xef\xbf\xbd\xef\xbf\xbd");                  // overlong
  EXPECT_EQ(clean_utf8("\xed\xa0\x80", 1000), "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");  // surrogate
  EXPECT_EQ(clean_utf8("\xe2\x82", 1000), "\xef\xbf\xbd\xef\xbf\xbd");                  // cut off
  EXPECT_EQ(clean_utf8("\xf4\x90\x80\x80", 1000).size(), 12u);                          // above U+10FFFF
  EXPECT_EQ(clean_utf8(std::string_view("a\0b\x1b\x7f", 5), 1000),
            "a\xef\xbf\xbd"
            "b\xef\xbf\xbd\xef\xbf\xbd");
}

TEST(CleanUtf8, CutsAtACharacter) {
  EXPECT_EQ(clean_utf8("abcdef", 3), "abc\xe2\x80\xa6");
  EXPECT_EQ(clean_utf8("ab\xc3\xb6", 3), "ab\xe2\x80\xa6");
  EXPECT_EQ(clean_utf8("abc", 3), "abc");
}

TEST(WellFormedUtf8, ReplacesOnlyWhatIsNoCharacter) {
  const std::string text = "Gr\xc3\xb6\xc3\x9f\x65\t\x1b\x7f\n";
  EXPECT_EQ(well_formed_utf8(text), text);
  EXPECT_EQ(well_formed_utf8("a\xff\xc3\xb6\xc3"), "a\xef\xbf\xbd\xc3\xb6\xef\xbf\xbd");
  EXPECT_EQ(well_formed_utf8(""), "");
}

TEST(LineOfUnprintable, NamesTheFirstLineThatNoTextHas) {
  EXPECT_EQ(line_of_unprintable(""), std::nullopt);
  EXPECT_EQ(line_of_unprintable("a: \xe2\x82\xac\r\n\tb\n"), std::nullopt);
  EXPECT_EQ(line_of_unprintable("a\nb\x1b\n\x01"), 2u);
  EXPECT_EQ(line_of_unprintable("a\n\nb\xb8"), 3u);
  EXPECT_EQ(line_of_unprintable(std::string_view("\0", 1)), 1u);
  EXPECT_EQ(line_of_unprintable("\x7f"), 1u);
}

}  // namespace
}  // namespace goheapd
