#include "daemon/profile/site_board.h"

#include <gtest/gtest.h>

#include <map>

namespace goheapd::profile {
namespace {

TEST(SiteBoard, ShowsTheLargestAndSumsTheRest) {
  SiteBoard board(2);
  const auto sites = board.update({{"a", 10, 1}, {"b", 500, 5}, {"c", 0, 900}, {"d", 7, 2}});
  ASSERT_EQ(sites.size(), 3u);
  EXPECT_EQ(sites[0].function, "c");
  EXPECT_EQ(sites[1].function, "b");
  EXPECT_EQ(sites[2].function, "other");
  EXPECT_DOUBLE_EQ(sites[2].live_bytes, 17);
  EXPECT_DOUBLE_EQ(sites[2].alloc_bytes, 3);
}

TEST(SiteBoard, NoCounterFallsWhenSitesChangePlaces) {
  SiteBoard board(1);
  std::map<std::string, double> last;
  const std::vector<std::vector<SiteTotals>> rounds = {
      {{"a", 0, 100}, {"b", 0, 10}}, {{"a", 0, 100}, {"b", 0, 300}}, {{"a", 0, 900}, {"b", 0, 310}}};
  for (const auto& round : rounds) {
    for (const auto& site : board.update(round)) {
      EXPECT_GE(site.alloc_bytes, last[site.function]) << site.function;
      last[site.function] = site.alloc_bytes;
    }
  }
  EXPECT_DOUBLE_EQ(last["other"], 10 + 0 + 10);
}

TEST(SiteBoard, NewBooksGoOnWhereTheOldOnesEnded) {
  SiteBoard board(5);
  board.update({{"a", 0, 100}, {"b", 0, 10}});
  board.begin_books();
  const auto sites = board.update({{"a", 0, 30}, {"c", 0, 7}});
  ASSERT_EQ(sites.size(), 3u);
  EXPECT_EQ(sites[0].function, "a");
  EXPECT_DOUBLE_EQ(sites[0].alloc_bytes, 130);
  EXPECT_DOUBLE_EQ(sites[1].alloc_bytes, 7);
}

TEST(SiteBoard, NothingIsNamedTwice) {
  SiteBoard board(5);
  const auto sites = board.update({{"other", 1, 1}, {"a", 2, 2}});
  ASSERT_EQ(sites.size(), 2u);
  EXPECT_EQ(sites[1].function, "other");
  EXPECT_DOUBLE_EQ(sites[1].live_bytes, 1);
}

}  // namespace
}  // namespace goheapd::profile
