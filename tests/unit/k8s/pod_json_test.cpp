#include "daemon/k8s/pod_json.h"

#include <gtest/gtest.h>

namespace goheapd::k8s {
namespace {

std::optional<model::Pod> parse(const std::string& text) {
  return pod_of(parse_api_json(text, ApiJson::other));
}

TEST(PodOf, ReadsWhatIsUsed) {
  const auto pod = parse(R"({
    "metadata": {"name": "shop-5d9f7c6b8-x2k4p", "namespace": "prod", "uid": "u1",
                 "labels": {"app": "shop", "pod-template-hash": "5d9f7c6b8", "number": 7},
                 "annotations": {"goheapd.io/mode": "exact"},
                 "ownerReferences": [{"kind": "Thing", "name": "t"},
                                     {"kind": "ReplicaSet", "name": "shop-5d9f7c6b8", "controller": true}]},
    "spec": {"nodeName": "node-1"},
    "status": {"containerStatuses": [{"name": "app", "containerID": "containerd://abc"}, {"name": "waiting"}],
               "initContainerStatuses": [{"name": "init", "containerID": "cri-o://def"}],
               "ephemeralContainerStatuses": [{"name": "debug", "containerID": "docker://0"}]}})");
  ASSERT_TRUE(pod);
  EXPECT_EQ(pod->name, "shop-5d9f7c6b8-x2k4p");
  EXPECT_EQ(pod->namespace_name, "prod");
  EXPECT_EQ(pod->node, "node-1");
  EXPECT_EQ(pod->labels.size(), 2u);
  EXPECT_EQ(pod->annotations.at("goheapd.io/mode"), "exact");
  EXPECT_EQ(pod->controller, (model::Workload{"ReplicaSet", "shop-5d9f7c6b8"}));
  EXPECT_EQ(pod->workload, (model::Workload{"Deployment", "shop"}));
  ASSERT_EQ(pod->containers.size(), 4u);
  EXPECT_EQ(pod->containers[0].id, "abc");
  EXPECT_EQ(pod->containers[1].id, "");
  EXPECT_EQ(pod->containers[2].id, "def");
  EXPECT_TRUE(pod->complete);
}

TEST(PodOf, KnowsStaticPods) {
  const auto pod = parse(R"({"metadata": {"name": "etcd-node-1", "namespace": "kube-system", "uid": "u1",
      "annotations": {"kubernetes.io/config.hash": "b0cf6b8e9a3d4c1f8e7d6c5b4a392817"}}})");
  EXPECT_EQ(pod->config_hash, "b0cf6b8e9a3d4c1f8e7d6c5b4a392817");
}

TEST(PodOf, RefusesWhatIsNoPod) {
  for (const char* text :
       {"", "null", "7", "[]", "{}", R"({"metadata": 1})", R"({"metadata": {"name": "a", "uid": "u"}})",
        R"({"metadata": {"name": {}, "namespace": "n", "uid": "u"}})"}) {
    EXPECT_FALSE(parse(text)) << text;
  }
}

TEST(PodOf, TakesWrongTypesForMissing) {
  const auto pod =
      parse(R"({"metadata": {"name": "a", "namespace": "n", "uid": "u", "labels": [1], "annotations": "x",
      "ownerReferences": {"a": 1}}, "spec": [], "status": {"containerStatuses": [1, null, {"name": 2}, []]}})");
  ASSERT_TRUE(pod);
  EXPECT_TRUE(pod->labels.empty() && pod->containers.empty() && pod->controller.kind.empty());
}

TEST(PodOf, KeepsBoundedLabels) {
  std::string labels;
  for (int i = 0; i < 1000; ++i) labels += "\"k" + std::to_string(i) + "\": \"v\",";
  const auto pod = parse(
      R"({"metadata": {"name": "a", "namespace": "n", "uid": "u", "annotations": {"small": "1", "large": ")" +
      std::string(5000, 'x') + R"("}, "labels": {)" + labels + R"("z": "v"}}})");
  EXPECT_EQ(pod->labels.size(), kMaxLabelsPerPod);
  EXPECT_EQ(pod->annotations.size(), 1u);
}

TEST(ParseApiJson, LeavesOutOnlyTheLargeParts) {
  const std::string pod =
      R"({"metadata": {"managedFields": [1], "labels": {"volumes": "a", "conditions": "b"}},
                              "spec": {"containers": [{"image": "x"}], "nodeName": "n"}})";
  for (const auto& [text, kind, where] :
       {std::tuple("{\"items\": [" + pod + "]}", ApiJson::list, "/items/0"),
        std::tuple("{\"type\": \"ADDED\", \"object\": " + pod + "}", ApiJson::event, "/object")}) {
    const auto parsed = parse_api_json(text, kind).at(nlohmann::json::json_pointer(where));
    EXPECT_EQ(parsed["metadata"]["labels"].size(), 2u);
    EXPECT_FALSE(parsed["metadata"].contains("managedFields"));
    EXPECT_FALSE(parsed["spec"].contains("containers"));
    EXPECT_EQ(parsed["spec"]["nodeName"], "n");
  }
}

TEST(ParseApiJson, RefusesDepth) {
  EXPECT_FALSE(parse_api_json(std::string(40, '[') + std::string(40, ']'), ApiJson::other).is_discarded());
  EXPECT_TRUE(parse_api_json(std::string(500, '[') + std::string(500, ']'), ApiJson::other).is_discarded());
}

TEST(WorkloadOf, FollowsTheConventions) {
  using model::Workload;
  EXPECT_EQ(workload_of({"ReplicaSet", "shop-5d9f7c6b8"}, "5d9f7c6b8"), (Workload{"Deployment", "shop"}));
  EXPECT_EQ(workload_of({"ReplicaSet", "shop-5d9f7c6b8"}, ""), (Workload{"Deployment", "shop"}));
  EXPECT_EQ(workload_of({"ReplicaSet", "shop-frontend"}, ""), (Workload{"ReplicaSet", "shop-frontend"}));
  EXPECT_EQ(workload_of({"ReplicaSet", "bare"}, "5d9f7c6b8"), (Workload{"ReplicaSet", "bare"}));
  EXPECT_EQ(workload_of({"Job", "backup-29123456"}, ""), (Workload{"CronJob", "backup"}));
  EXPECT_EQ(workload_of({"Job", "backup-1700000000"}, ""), (Workload{"CronJob", "backup"}));
  EXPECT_EQ(workload_of({"Job", "import-7"}, ""), (Workload{"Job", "import-7"}));
  EXPECT_EQ(workload_of({"Job", "29123456"}, ""), (Workload{"Job", "29123456"}));
  EXPECT_EQ(workload_of({"StatefulSet", "db"}, ""), (Workload{"StatefulSet", "db"}));
  EXPECT_EQ(workload_of({"ReplicaSet", ""}, ""), (Workload{"ReplicaSet", ""}));
  EXPECT_EQ(workload_of({}, "hash"), Workload{});
}

}  // namespace
}  // namespace goheapd::k8s
