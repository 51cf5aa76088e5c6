// Which container and which pod a cgroup belongs to, told by its path alone.
//
//   /kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podUID.slice/cri-containerd-ID.scope      systemd driver
//   /kubepods/burstable/podUID/ID                                                                         cgroupfs driver
//   /system.slice/containerd.service/kubepods-burstable-podUID.slice:cri-containerd:ID                    drivers at odds
//   /docker/NODE/kubelet/kubepods/podUID/ID,  /machine.slice/libpod-ID.scope/container,  /../../podUID... nested, private
//   /ecs/TASK/TASK-NUMBER                                                                                  ECS on Fargate
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace goheapd::k8s {

struct Placement {
  std::string pod_uid;  // with dashes as the API writes it, or 32 hex digits (static pods); empty: in no pod
  std::string
      container_id;  // 64 hex digits, or ECS' 32 and a number; empty: in none, or the runtime's own helper process
  bool empty() const { return pod_uid.empty() && container_id.empty(); }
  bool operator==(const Placement&) const = default;
};

// Of one path of /proc/PID/cgroup. Any text is allowed.
Placement placement_of_path(std::string_view cgroup_path);

// Of all paths of one process, the most telling first: hybrid hosts name the container in some hierarchies only. A path
// that names pod and container wins over one that names either.
Placement placement_of(const std::vector<std::string>& cgroup_paths);

}  // namespace goheapd::k8s
