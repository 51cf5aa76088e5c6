#include "daemon/k8s/container_id.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

namespace goheapd::k8s {
namespace {

const std::string kId = "0f99ad5f45163ed14ab8eaf92ed34bb4a631d007f8755a7d79be614bcb0df0ef";
const std::string kNode = "2403ccfe427f1dc7b6120dccb9ac58c2f8456950380d587a9f33ea7f00dd303d";
const std::string kUid = "ff49d0be-16b7-4a49-bb9e-8ec1f1f4e27f";
const std::string kUnitUid = "ff49d0be_16b7_4a49_bb9e_8ec1f1f4e27f";
const std::string kHash = "b0cf6b8e9a3d4c1f8e7d6c5b4a392817";

struct Row {
  const char* where;
  std::string path;
  Placement expected;
};

TEST(PlacementOfPath, KnowsThePathsOfRealHosts) {
  const std::vector<Row> rows = {
      // Kubernetes, systemd driver.
      {"containerd, burstable",
       "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + kUnitUid +
           ".slice/cri-containerd-" + kId + ".scope",
       {kUid, kId}},
      {"containerd, guaranteed",
       "/kubepods.slice/kubepods-pod" + kUnitUid + ".slice/cri-containerd-" + kId + ".scope",
       {kUid, kId}},
      {"docker (dockershim, cri-dockerd)",
       "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" + kUnitUid + ".slice/docker-" +
           kId + ".scope",
       {kUid, kId}},
      {"CRI-O",
       "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + kUnitUid + ".slice/crio-" + kId +
           ".scope",
       {kUid, kId}},
      {"CRI-O with crun, which adds a level",
       "/kubepods.slice/kubepods-pod" + kUnitUid + ".slice/crio-" + kId + ".scope/container",
       {kUid, kId}},
      {"CRI-O's monitor of the container is not in it",
       "/kubepods.slice/kubepods-pod" + kUnitUid + ".slice/crio-conmon-" + kId + ".scope",
       {kUid, ""}},
      {"a static pod",
       "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + kHash + ".slice/cri-containerd-" +
           kId + ".scope",
       {kHash, kId}},
      {"systemd inside the container",
       "/kubepods.slice/kubepods-pod" + kUnitUid + ".slice/cri-containerd-" + kId +
           ".scope/system.slice/nginx.service",
       {kUid, kId}},
      // Kubernetes, cgroupfs driver.
      {"cgroupfs, burstable", "/kubepods/burstable/pod" + kUid + "/" + kId, {kUid, kId}},
      {"cgroupfs, guaranteed", "/kubepods/pod" + kUid + "/" + kId, {kUid, kId}},
      {"cgroupfs, static pod", "/kubepods/burstable/pod" + kHash + "/" + kId, {kHash, kId}},
      {"cgroupfs, CRI-O", "/kubepods/besteffort/pod" + kUid + "/crio-" + kId, {kUid, kId}},
      // Driver of the kubelet and of the runtime at odds.
      {"systemd notation as a name",
       "/system.slice/containerd.service/kubepods-burstable-pod" + kUnitUid + ".slice:cri-containerd:" + kId,
       {kUid, kId}},
      {"the same at the root",
       "/kubepods-besteffort-pod" + kUnitUid + ".slice:cri-containerd:" + kId,
       {kUid, kId}},
      // Nodes that are containers themselves.
      {"kind, systemd",
       "/system.slice/docker-" + kNode +
           ".scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/"
           "kubelet-kubepods-besteffort-pod" +
           kUnitUid + ".slice/cri-containerd-" + kId + ".scope",
       {kUid, kId}},
      {"kind, cgroupfs",
       "/docker/" + kNode + "/kubelet/kubepods/burstable/pod" + kUid + "/" + kId,
       {kUid, kId}},
      {"the kubelet of such a node", "/docker/" + kNode + "/system.slice/kubelet.service", {"", kNode}},
      {"minikube in podman",
       "/machine.slice/libpod-" + kNode + ".scope/container/kubepods.slice/kubepods-pod" + kUnitUid +
           ".slice/docker-" + kId + ".scope",
       {kUid, kId}},
      {"Docker in a pod: only the outer container is the pod's",
       "/kubepods/burstable/pod" + kUid + "/" + kId + "/docker/" + kNode,
       {kUid, kId}},
      // As a daemon with a cgroup namespace of its own sees others.
      {"another pod",
       "/../../kubepods-besteffort-pod" + kUnitUid + ".slice/cri-containerd-" + kId + ".scope",
       {kUid, kId}},
      {"another container of its own pod", "/../cri-containerd-" + kId + ".scope", {"", kId}},
      {"cgroupfs, another pod", "/../../burstable/pod" + kUid + "/" + kId, {kUid, kId}},
      // Without Kubernetes.
      {"docker, cgroupfs", "/docker/" + kId, {"", kId}},
      {"docker, systemd", "/system.slice/docker-" + kId + ".scope", {"", kId}},
      {"docker, rootless",
       "/user.slice/user-1000.slice/user@1000.service/user.slice/docker-" + kId + ".scope",
       {"", kId}},
      {"podman", "/machine.slice/libpod-" + kId + ".scope/container", {"", kId}},
      {"podman, rootless",
       "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" + kId + ".scope/container",
       {"", kId}},
      {"podman's pod, whose id is not a container's",
       "/machine.slice/machine-libpod_pod_" + kNode + ".slice/libpod-" + kId + ".scope/container",
       {"", kId}},
      {"podman's monitor", "/machine.slice/libpod-conmon-" + kId + ".scope", {"", ""}},
      {"podman, cgroupfs", "/libpod_parent/libpod-" + kId, {"", kId}},
      {"containerd by ctr", "/default/" + kId, {"", kId}},
      {"ECS on EC2", "/ecs/3b7d5c9a1e2f4a6b8c0d2e4f6a8b0c1d/" + kId, {"", kId}},
      {"ECS on Fargate", "/ecs/" + kHash + "/" + kHash + "-2574741896", {"", kHash + "-2574741896"}},
      {"the same, systemd", "/ecstasks.slice/" + kHash + "-7.scope", {"", kHash + "-7"}},
      // In no container.
      {"a task's own level", "/ecs/" + kHash, {"", ""}},
      {"a task with a name for a number", "/ecs/" + kHash + "-web", {"", ""}},
      {"a task without a number", "/ecs/" + kHash + "-", {"", ""}},
      {"a task of 31 digits", "/ecs/" + kHash.substr(1) + "-1", {"", ""}},
      {"a service", "/system.slice/ssh.service", {"", ""}},
      {"the root", "/", {"", ""}},
      {"nothing", "", {"", ""}},
      {"the pod's own level", "/kubepods/burstable/pod" + kUid, {kUid, ""}},
      {"a slice that is named like a pod", "/user.slice/podcast.slice/podsync.service", {"", ""}},
      {"63 digits", "/docker/" + kId.substr(1), {"", ""}},
      {"65 digits", "/docker/a" + kId, {"", ""}},
      {"capital digits", "/docker/0F" + kId.substr(2), {"", ""}},
      {"a uid with a wrong dash", "/kubepods/podff49d0be-16b7-4a49-bb9e8-ec1f1f4e27f/x", {"", ""}},
  };
  for (const Row& row : rows) {
    const Placement placement = placement_of_path(row.path);
    EXPECT_EQ(placement.pod_uid, row.expected.pod_uid) << row.where;
    EXPECT_EQ(placement.container_id, row.expected.container_id) << row.where;
  }
}

TEST(PlacementOf, TakesTheHierarchyThatTells) {
  // Docker on a host with both versions: the unified hierarchy names containerd's service only.
  EXPECT_EQ(placement_of({"/system.slice/containerd.service", "/docker/" + kId}), (Placement{"", kId}));
  EXPECT_EQ(placement_of({"/../cri-containerd-" + kId + ".scope", "/kubepods/pod" + kUid + "/" + kId}),
            (Placement{kUid, kId}));
  EXPECT_EQ(placement_of({"/kubepods/pod" + kUid + "/" + kId, "/docker/" + kNode}), (Placement{kUid, kId}));
  EXPECT_TRUE(placement_of({}).empty());
}

TEST(PlacementOfPath, TakesAnyBytes) {
  std::mt19937 random(20);
  const std::vector<std::string> pieces = {"/",      ":",        "pod", "-",    kUid,  kId, ".slice",
                                           ".scope", "kubepods", "_",   "\xff", kHash, "17"};
  for (int i = 0; i < 20'000; ++i) {
    std::string path;
    for (unsigned n = random() % 8; n > 0; --n) path += pieces[random() % pieces.size()];
    const Placement placement = placement_of_path(path);
    const std::string& id = placement.container_id;
    ASSERT_TRUE(id.empty() || id.size() == 64 || (id.size() >= 34 && id[32] == '-')) << path;
    ASSERT_TRUE(placement.pod_uid.empty() || path.find(placement.pod_uid) != std::string::npos) << path;
  }
}

}  // namespace
}  // namespace goheapd::k8s
