// Names of pods without the API server: the kubelet names the log files of containers after them.
//   /var/log/containers/POD_NAMESPACE_CONTAINER-ID.log   links, one per container
//   /var/log/pods/NAMESPACE_POD_UID/CONTAINER/0.log      what they lead to
// Kubernetes allows no "_" in these names. Labels, annotations and workloads are not to be had this way.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/expected.h"
#include "daemon/model/pod.h"

namespace goheapd::k8s {

// A pod with one container, its uid unknown. nullopt: not such a name.
std::optional<model::Pod> parse_container_log_name(std::string_view file_name);
// A pod without containers. nullopt: not such a name.
std::optional<model::Pod> parse_pod_log_name(std::string_view directory_name);

// All pods that `log_directory`/containers and `log_directory`/pods name, at most `max_entries` directory entries of
// each. A pod whose uid only its containers' links would tell has "NAMESPACE/POD" as uid. Either directory may be
// missing; it is an error if both are.
Expected<std::vector<model::Pod>> read_pod_logs(const std::string& log_directory, size_t max_entries = 8192);

}  // namespace goheapd::k8s
