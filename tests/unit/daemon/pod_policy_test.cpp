#include "daemon/pod_policy.h"

#include <gtest/gtest.h>

namespace goheapd {
namespace {

using model::Mode;

PodContext in_pod(std::map<std::string, std::string> annotations = {}, bool complete = true) {
  model::Pod pod;
  pod.namespace_name = "shop";
  pod.name = "web-0";
  pod.labels = {{"app", "web"}};
  pod.annotations = std::move(annotations);
  pod.complete = complete;
  return {{"uid", std::string(64, 'a')},
          k8s::PodMatch{std::make_shared<const model::Pod>(std::move(pod)), "web"},
          false};
}

PodContext unknown_pod() { return {{"uid", std::string(64, 'a')}, std::nullopt, false}; }

PodSelection only_namespace(const std::string& name) { return {{name}, {}, {}}; }
PodSelection without_namespace(const std::string& name) { return {{}, {name}, {}}; }
PodSelection only_pods(const char* selector) { return {{}, {}, {*k8s::LabelSelector::parse(selector)}}; }

bool is_wanted(const PodSelection& selection, const PodContext& context) {
  return !judge_pod(selection, context, true).ignored;
}

TEST(JudgePod, SelectsByNamespaceAndLabel) {
  EXPECT_TRUE(is_wanted({}, in_pod()));
  EXPECT_TRUE(is_wanted(only_namespace("shop"), in_pod()));
  EXPECT_FALSE(is_wanted(only_namespace("other"), in_pod()));
  EXPECT_FALSE(is_wanted(without_namespace("shop"), in_pod()));
  EXPECT_TRUE(is_wanted(without_namespace("other"), in_pod()));
  EXPECT_TRUE(is_wanted(only_pods("app=web"), in_pod()));
  EXPECT_FALSE(is_wanted(only_pods("app=db"), in_pod()));
}

TEST(JudgePod, TakesProcessesInNoPodUnlessPodsAreAskedFor) {
  for (const PodContext& context :
       {PodContext{}, PodContext{{"", std::string(64, 'a')}, std::nullopt, false}}) {
    EXPECT_TRUE(is_wanted({}, context));
    EXPECT_TRUE(is_wanted(without_namespace("shop"), context));
    EXPECT_FALSE(is_wanted(only_namespace("shop"), context));
    EXPECT_FALSE(is_wanted(only_pods("app=web"), context));
  }
}

TEST(JudgePod, LeavesUnknownPodsAloneWhereTheyCouldBeExcluded) {
  EXPECT_TRUE(is_wanted({}, unknown_pod()));
  EXPECT_FALSE(is_wanted(without_namespace("other"), unknown_pod()));
  EXPECT_FALSE(is_wanted(only_namespace("shop"), unknown_pod()));
  EXPECT_FALSE(is_wanted(only_pods("!db"), in_pod({}, false)));
  PodContext waiting = unknown_pod();
  waiting.waiting = true;
  EXPECT_FALSE(is_wanted({}, waiting));
}

TEST(JudgePod, HeedsAnnotations) {
  EXPECT_FALSE(is_wanted({}, in_pod({{kProfileAnnotation, "false"}})));
  EXPECT_TRUE(is_wanted({}, in_pod({{kProfileAnnotation, "true"}})));
  EXPECT_EQ(judge_pod({}, in_pod({{kModeAnnotation, "exact"}}), true).mode, Mode::exact);
  EXPECT_EQ(judge_pod({}, in_pod({{kModeAnnotation, "buckets"}}), false).mode, Mode::buckets);
  EXPECT_FALSE(judge_pod({}, in_pod(), true).mode);
}

TEST(JudgePod, SaysWhatMakesNoSense) {
  const auto profile = judge_pod({}, in_pod({{kProfileAnnotation, "no"}}), true);
  EXPECT_FALSE(profile.ignored);
  EXPECT_NE(profile.remark, "");
  const auto mode = judge_pod({}, in_pod({{kModeAnnotation, "fast"}}), true);
  EXPECT_FALSE(mode.mode);
  EXPECT_NE(mode.remark, "");
  // The operator wants no probes in anything.
  const auto forbidden = judge_pod({}, in_pod({{kModeAnnotation, "exact"}}), false);
  EXPECT_FALSE(forbidden.mode);
  EXPECT_NE(forbidden.remark, "");
}

TEST(DescribePod, KeepsTheNamesOfAPodThatIsGone) {
  model::TargetStatus status;
  describe_pod(in_pod(), status);
  EXPECT_EQ(status.container, "web");
  describe_pod(unknown_pod(), status);
  EXPECT_EQ(status.namespace_name, "shop");
  EXPECT_EQ(status.pod, "web-0");
  EXPECT_EQ(status.pod_uid, "uid");
}

}  // namespace
}  // namespace goheapd
