#include "daemon/all_or_none.h"

#include <gtest/gtest.h>

#include <string>

namespace goheapd {
namespace {

// The steps a, b and c, of which `failing` fails ("" = none): what is done and undone, in order.
std::string done(const std::string& failing, const std::string& error) {
  std::string log;
  std::vector<Step> steps;
  for (const std::string name : {"a", "b", "c"}) {
    steps.push_back({[&log, &failing, name]() -> Expected<void> {
                       if (name == failing) return fail("cannot do " + name);
                       log += name;
                       return {};
                     },
                     [&log, name] { log += "-" + name; }});
  }
  const auto taken = take_all_or_none(steps);
  EXPECT_EQ(taken ? "" : taken.error().what, error);
  return log;
}

TEST(AllOrNone, WhatWasDoneBeforeAFailureIsUndone) {
  EXPECT_EQ(done("", ""), "abc");
  EXPECT_EQ(done("a", "cannot do a"), "");
  EXPECT_EQ(done("b", "cannot do b"), "a-a");
  EXPECT_EQ(done("c", "cannot do c"), "ab-b-a");
}

}  // namespace
}  // namespace goheapd
