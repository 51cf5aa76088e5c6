// Texts of /proc, paths of cgroups, names of pods' logs and the API server's JSON: any program may have a say in them.
#include "daemon/k8s/container_id.h"
#include "daemon/k8s/pod_json.h"
#include "daemon/k8s/pod_logs.h"
#include "daemon/process/proc_parse.h"
#include "tests/fuzz/fuzzer.h"

namespace goheapd::fuzz {

std::vector<std::string> seeds() {
  const std::string id(64, 'a');
  const std::string uid = "11111111_2222_3333_4444_555555555555";
  return {
      "42 (a) R (b) S 1 42 42 0 -1 4194560 1 0 0 0 5 6 0 0 20 0 9 0 12345 1000000 250 18446744073709551615 "
      "4198400 1 "
      "140000000 0 0 0 0 0 2143420159 0 0 0 17 1 0 0 0 0 0\n",
      "00400000-004a0000 r-xp 00000000 08:01 1234                     /usr/bin/a\\012b (deleted)\n",
      "Limit                     Soft Limit           Hard Limit           Units     \n"
      "Max open files            1024                 unlimited            files     \n",
      "cpu 1 2 3\nbtime 1700000000\n",
      "Name:\ta\nNSpid:\t42\t7\t1\n",
      "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + uid + ".slice/cri-containerd-" +
          id + ".scope\n5:memory:/docker/" + id + "/kubelet/kubepods/pod" + uid + "/" + id + "\n",
      "/system.slice/containerd.service/kubepods-burstable-pod" + uid + ".slice:cri-containerd:" + id,
      "pod-name_namespace_container-" + id + ".log",
      R"({"type":"ADDED","object":{"metadata":{"uid":"u","namespace":"n","name":"p","labels":{"a":"b"},"ownerReferences":)"
      R"([{"kind":"ReplicaSet","name":"x-1","controller":true}]},"status":{"containerStatuses":[{"name":"c","containerID":)"
      R"("containerd://)" +
          id + R"("}]}}})",
  };
}

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
