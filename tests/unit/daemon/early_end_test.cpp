#include "daemon/early_end.h"

#include <gtest/gtest.h>

namespace goheapd {
namespace {

TEST(EarlyEnd, TellsHowMuchOfTheTimeThereWasAndWhy) {
  EXPECT_EQ(ended_early(3.21, 10, process_has_ended(4711)),
            "ended early, after 3.2 s of 10.0 s: process 4711 has ended");
  EXPECT_EQ(ended_early(0.04, 60, "stopped by a signal"),
            "ended early, after 0.0 s of 60.0 s: stopped by a signal");
}

}  // namespace
}  // namespace goheapd
