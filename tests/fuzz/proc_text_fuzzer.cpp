// Texts of /proc, paths of cgroups, names of pods' logs and the API server's JSON: any program may have a say in them.
#include "daemon/k8s/container_id.h"
#include "daemon/k8s/pod_json.h"
#include "daemon/k8s/pod_logs.h"
#include "daemon/process/proc_parse.h"
#include "tests/fuzz/fuzzer.h"

namespace goheapd::fuzz {

std::vector<std::string> seeds() { return {}; }  // texts: tests/fuzz/corpus

void run(std::string_view input) {
  use(process::parse_stat(input));
  use(process::parse_file_mappings(input));
  use(process::parse_limits(input));
  use(process::parse_boot_time(input));
  use(process::parse_namespace_pids(input));
  use(process::find_auxv(ByteView(input.data(), input.size()), 3));
  use(k8s::placement_of(process::parse_cgroup_paths(input)));
  use(k8s::placement_of_path(input));
  use(k8s::parse_container_log_name(input));
  use(k8s::parse_pod_log_name(input));
  for (const auto kind : {k8s::ApiJson::list, k8s::ApiJson::event, k8s::ApiJson::other}) {
    const auto json = k8s::parse_api_json(input, kind);
    if (json.is_discarded()) continue;
    use(k8s::pod_of(json));
    if (json.is_object() && json.contains("object")) use(k8s::pod_of(json["object"]));
  }
}

}  // namespace goheapd::fuzz
