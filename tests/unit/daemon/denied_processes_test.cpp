#include "daemon/denied_processes.h"

#include <gtest/gtest.h>

namespace goheapd {
namespace {

TEST(DeniedProcesses, AreToldOnceWithWhatIsMissing) {
  DeniedProcesses denied(/*sees_all=*/false);
  EXPECT_FALSE(denied.update(0, 5));
  const auto line = denied.update(42, 5);
  ASSERT_TRUE(line);
  EXPECT_NE(line->find("not found: 42; CAP_SYS_PTRACE is missing"), std::string::npos) << *line;
  for (const size_t count : {42, 41, 57}) EXPECT_FALSE(denied.update(count, 5));
  EXPECT_EQ(denied.count(), 57u);
}

TEST(DeniedProcesses, AreNewsAgainAfterAWhileWithoutAny) {
  DeniedProcesses denied(false);
  EXPECT_TRUE(denied.update(1, 5));
  // One that comes and goes.
  for (int i = 0; i < 100; ++i) EXPECT_FALSE(denied.update(i % 2 == 0 ? 0 : 1, 5));
  for (int i = 0; i < 60; ++i) EXPECT_FALSE(denied.update(0, 5));
  EXPECT_EQ(denied.count(), 0u);
  EXPECT_TRUE(denied.update(1, 5));
}

TEST(DeniedProcesses, ThatACapabilityDoesNotOpenAreNewsWhereTheyAreMost) {
  DeniedProcesses denied(/*sees_all=*/true);
  EXPECT_FALSE(denied.update(3, 3));
  EXPECT_EQ(denied.count(), 0u);
  const auto line = denied.update(4, 3);
  ASSERT_TRUE(line);
  EXPECT_EQ(line->find("missing"), std::string::npos);
  EXPECT_NE(line->find("AppArmor"), std::string::npos);
  EXPECT_EQ(denied.count(), 4u);
}

}  // namespace
}  // namespace goheapd
