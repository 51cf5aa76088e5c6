#include "daemon/k8s/pod_directory.h"

#include <gtest/gtest.h>

namespace goheapd::k8s {
namespace {

std::string id(char digit) { return std::string(64, digit); }

model::Pod pod(const std::string& uid, std::vector<model::PodContainer> containers) {
  model::Pod pod;
  pod.uid = uid;
  pod.namespace_name = "shop";
  pod.name = "pod-" + uid;
  pod.containers = std::move(containers);
  pod.complete = true;
  return pod;
}

TEST(PodDirectory, FindsByContainerThenByPod) {
  PodDirectory directory;
  directory.put(pod("u1", {{"web", id('a')}, {"sidecar", id('b')}}));
  const auto by_container = directory.find({"", id('b')});
  ASSERT_TRUE(by_container);
  EXPECT_EQ(by_container->pod->name, "pod-u1");
  EXPECT_EQ(by_container->container, "sidecar");
  // A container that the API does not tell of yet.
  const auto by_pod = directory.find({"u1", id('c')});
  ASSERT_TRUE(by_pod);
  EXPECT_EQ(by_pod->container, "");
  EXPECT_FALSE(directory.find({"u2", id('c')}));
  EXPECT_FALSE(directory.find({"", ""}));
}

TEST(PodDirectory, FindsStaticPodsByTheirHash) {
  PodDirectory directory;
  model::Pod mirror = pod("u1", {{"etcd", ""}});
  mirror.config_hash = "b0cf6b8e9a3d4c1f8e7d6c5b4a392817";
  directory.put(mirror);
  const auto found = directory.find({mirror.config_hash, id('d')});
  ASSERT_TRUE(found);
  EXPECT_EQ(found->pod->uid, "u1");
}

TEST(PodDirectory, NamesTheOnlyContainerWhereIdsAreUnknown) {
  PodDirectory directory;
  model::Pod from_logs = pod("u1", {{"only", ""}});
  from_logs.complete = false;
  directory.put(from_logs);
  EXPECT_EQ(directory.find({"u1", id('a')})->container, "only");
  from_logs.containers.push_back({"second", ""});
  directory.put(from_logs);
  EXPECT_EQ(directory.find({"u1", id('a')})->container, "");
}

TEST(PodDirectory, FollowsARestartedContainer) {
  PodDirectory directory;
  directory.put(pod("u1", {{"web", id('a')}}));
  directory.put(pod("u1", {{"web", id('b')}}));
  EXPECT_FALSE(directory.find({"", id('a')}));
  EXPECT_EQ(directory.find({"", id('b')})->container, "web");
  EXPECT_EQ(directory.size(), 1u);
  directory.remove("u1");
  EXPECT_FALSE(directory.find({"u1", id('b')}));
  EXPECT_EQ(directory.size(), 0u);
}

TEST(PodDirectory, ReplacesAll) {
  PodDirectory directory;
  directory.put(pod("u1", {{"web", id('a')}}));
  const auto before = directory.generation();
  directory.replace({pod("u2", {{"web", id('b')}})});
  EXPECT_GT(directory.generation(), before);
  EXPECT_FALSE(directory.find({"u1", id('a')}));
  EXPECT_TRUE(directory.find({"u2", ""}));
}

TEST(PodDirectory, KeepsToItsLimitAndCounts) {
  PodDirectory directory(2);
  for (const char* uid : {"u1", "u2", "u3", "u1"}) directory.put(pod(uid, {}));
  EXPECT_EQ(directory.size(), 2u);
  EXPECT_EQ(directory.dropped(), 1u);
  EXPECT_TRUE(directory.find({"u1", ""}));
  EXPECT_FALSE(directory.find({"u3", ""}));
}

}  // namespace
}  // namespace goheapd::k8s
