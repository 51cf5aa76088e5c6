#include "daemon/k8s/pod_logs.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "daemon/k8s/pod_directory.h"

namespace goheapd::k8s {
namespace {

namespace fs = std::filesystem;

const std::string kId(64, 'a');
const std::string kOtherId(64, 'b');
constexpr const char* kUid = "ff49d0be-16b7-4a49-bb9e-8ec1f1f4e27f";

class PodLogs : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "goheapd-logs-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
  }
  void TearDown() override { fs::remove_all(directory_); }
  void add_container(const std::string& name, const std::string& leads_to) {
    fs::create_directories(directory_ / "containers");
    fs::create_symlink(leads_to, directory_ / "containers" / name);
  }
  fs::path directory_;
};

TEST(ParseContainerLogName, TakesItApart) {
  const auto pod = parse_container_log_name("shop-5d9f7c6b8-x2k4p_shop-prod_web-server-" + kId + ".log");
  ASSERT_TRUE(pod);
  EXPECT_EQ(pod->name, "shop-5d9f7c6b8-x2k4p");
  EXPECT_EQ(pod->namespace_name, "shop-prod");
  EXPECT_EQ(pod->containers.front().name, "web-server");
  EXPECT_EQ(pod->containers.front().id, kId);
  EXPECT_FALSE(pod->complete);
}

TEST(ParseContainerLogName, RefusesOthers) {
  for (const std::string& name :
       {"pod_ns_c-" + kId, "pod_ns_c-" + kId.substr(1) + ".log", "pod_ns_" + kId + ".log",
        "_ns_c-" + kId + ".log", "pod_c-" + kId + ".log", "po/d_ns_c-" + kId + ".log", std::string("syslog"),
        std::string(".log"), std::string(), "pod_ns_a_b-" + kId + ".log",
        std::string(300, 'p') + "_ns_c-" + kId + ".log"}) {
    EXPECT_FALSE(parse_container_log_name(name)) << name;
  }
}

TEST(ParsePodLogName, TakesUidsAndHashes) {
  const auto pod = parse_pod_log_name(std::string("shop_web-0_") + kUid);
  ASSERT_TRUE(pod);
  EXPECT_EQ(pod->namespace_name, "shop");
  EXPECT_EQ(pod->name, "web-0");
  EXPECT_EQ(pod->uid, kUid);
  EXPECT_TRUE(parse_pod_log_name("kube-system_etcd-node1_b0cf6b8e9a3d4c1f8e7d6c5b4a392817"));
  EXPECT_FALSE(parse_pod_log_name("shop_web-0"));
  EXPECT_FALSE(parse_pod_log_name("shop_web-0_zzz"));
}

TEST_F(PodLogs, JoinsBothDirectories) {
  fs::create_directories(directory_ / "pods" / (std::string("shop_web-0_") + kUid) / "web");
  fs::create_directories(directory_ / "pods" / (std::string("shop_web-0_") + kUid) / "sidecar");
  fs::create_directories(directory_ / "pods" / "not a pod");
  // Restarted once; the links lead nowhere, as they do for a daemon that sees this directory only.
  add_container("web-0_shop_web-" + kId + ".log", "/nowhere/0.log");
  add_container("web-0_shop_web-" + kOtherId + ".log", "/nowhere/1.log");
  add_container("README", "/nowhere");
  const auto pods = read_pod_logs(directory_);
  ASSERT_TRUE(pods) << to_string(pods.error());
  PodDirectory directory;
  directory.replace(*pods);
  EXPECT_EQ(directory.size(), 1u);
  EXPECT_EQ(directory.find({"", kId})->container, "web");
  EXPECT_EQ(directory.find({"", kOtherId})->container, "web");
  EXPECT_EQ(directory.find({kUid, std::string(64, 'c')})->pod->name, "web-0");
  EXPECT_EQ(directory.find({kUid, std::string(64, 'c')})->container, "");  // web or sidecar
}

TEST_F(PodLogs, NeedsOneOfTheTwoOnly) {
  EXPECT_FALSE(read_pod_logs(directory_));
  add_container("web-0_shop_web-" + kId + ".log", "/nowhere/0.log");
  const auto pods = read_pod_logs(directory_);
  ASSERT_TRUE(pods);
  ASSERT_EQ(pods->size(), 1u);
  EXPECT_EQ(pods->front().uid, "shop/web-0");
}

TEST_F(PodLogs, ReadsABoundedNumberOfNames) {
  for (char digit : {'0', '1', '2', '3', '4'}) {
    add_container(std::string("web-") + digit + "_shop_web-" + std::string(64, digit) + ".log", "/nowhere");
  }
  EXPECT_EQ(read_pod_logs(directory_, 3)->size(), 3u);
}

}  // namespace
}  // namespace goheapd::k8s
