#include "daemon/runtime/stop_reasons.h"

#include <gtest/gtest.h>

namespace goheapd::runtime {
namespace {

model::WorldStop numbered(uint32_t reason) { return {.reason = reason, .text = {}}; }
model::WorldStop noted(std::string text) { return {.reason = {}, .text = std::move(text)}; }

TEST(StopReasons, AreNumbersFrom121On) {
  for (const int minor : {21, 27}) {
    EXPECT_EQ(stop_reason(minor, numbered(1)).text, "GC mark termination");
    EXPECT_TRUE(stop_reason(minor, numbered(1)).for_gc);
    EXPECT_EQ(stop_reason(minor, numbered(2)).text, "GC sweep termination");
    EXPECT_TRUE(stop_reason(minor, numbered(2)).for_gc);
    EXPECT_EQ(stop_reason(minor, numbered(7)).text, "read mem stats");
    EXPECT_FALSE(stop_reason(minor, numbered(7)).for_gc);
    EXPECT_EQ(stop_reason(minor, numbered(16)).text, "ResetDebugLog (test)");
    EXPECT_EQ(stop_reason(minor, numbered(0)).text, "unknown");
    EXPECT_EQ(stop_reason(minor, numbered(17)).text, "unknown");
    EXPECT_EQ(stop_reason(minor, numbered(~0U)).text, "unknown");
    EXPECT_EQ(stop_reason(minor, noted("read mem stats")).text, "unknown");
  }
}

TEST(StopReasons, AreWordsBefore) {
  EXPECT_EQ(stop_reason(19, noted("")).text, "GC sweep termination");
  EXPECT_TRUE(stop_reason(19, noted("")).for_gc);
  EXPECT_EQ(stop_reason(19, noted("gcing")).text, "GC mark termination");
  EXPECT_TRUE(stop_reason(19, noted("gcing")).for_gc);
  EXPECT_EQ(stop_reason(19, noted("profile cleanup")).text, "profile cleanup");
  EXPECT_FALSE(stop_reason(19, noted("profile cleanup")).for_gc);
  // What a process makes up becomes no label of a metric.
  EXPECT_EQ(stop_reason(19, noted("profile \n evil")).text, "unknown");
  EXPECT_EQ(stop_reason(19, numbered(7)).text, "unknown");
}

}  // namespace
}  // namespace goheapd::runtime
