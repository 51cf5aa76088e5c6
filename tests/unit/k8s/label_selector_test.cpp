#include "daemon/k8s/label_selector.h"

#include <gtest/gtest.h>

namespace goheapd::k8s {
namespace {

bool matches(const char* selector, const std::map<std::string, std::string>& labels) {
  const auto parsed = LabelSelector::parse(selector);
  EXPECT_TRUE(parsed) << selector;
  return parsed && parsed->matches(labels);
}

TEST(LabelSelector, UnderstandsWhatKubectlDoes) {
  const std::map<std::string, std::string> web = {
      {"app", "web"}, {"env", "prod"}, {"app.kubernetes.io/part-of", "x"}};
  EXPECT_TRUE(matches("app=web", web));
  EXPECT_TRUE(matches("app==web,env=prod", web));
  EXPECT_FALSE(matches("app=web,env=test", web));
  EXPECT_TRUE(matches("app != cache", web));
  EXPECT_TRUE(matches("tier!=cache", web));  // not there is not equal
  EXPECT_TRUE(matches("env in (test, prod)", web));
  EXPECT_FALSE(matches("env notin (test,prod)", web));
  EXPECT_TRUE(matches("tier notin (a)", web));
  EXPECT_TRUE(matches("app", web));
  EXPECT_FALSE(matches("tier", web));
  EXPECT_TRUE(matches("!tier, app.kubernetes.io/part-of=x", web));
  EXPECT_FALSE(matches("!app", web));
  EXPECT_TRUE(matches("empty=", {{"empty", ""}}));
}

TEST(LabelSelector, RefusesTheRest) {
  for (const char* bad : {"", ",", "a,,b", "=web", "app=web env=prod", "env in prod", "env in (a",
                          "env on (a)", "a=b=c", "!", "a$", "app = 'web'"}) {
    EXPECT_FALSE(LabelSelector::parse(bad)) << bad;
  }
}

}  // namespace
}  // namespace goheapd::k8s
