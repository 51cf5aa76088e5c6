// Where the names of pods come from: the API server where it can be asked, the kubelet's log files where not.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>

#include "daemon/base/expected.h"
#include "daemon/k8s/pod_directory.h"
#include "daemon/k8s/pod_watch.h"
#include "daemon/model/target.h"

namespace goheapd::k8s {

struct PodSourceOptions {
  enum class Use : unsigned char { automatic, api, logs, off };
  Use use = Use::automatic;
  std::string node;        // this node's name; empty: $NODE_NAME
  std::string api_server;  // "https://HOST:PORT"; empty: where a pod finds it, $KUBERNETES_SERVICE_HOST
  std::string token_file = "/var/run/secrets/kubernetes.io/serviceaccount/token";
  std::string ca_file = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt";
  std::string log_directory = "/var/log";
  WatchTimes times = {};
  std::chrono::milliseconds log_interval{2000};
};

// Thread safe. Has a thread for each of its sources.
class PodSource {
 public:
  // null: there is no Kubernetes here (automatic) or it is not to be used (off). Error: what was asked for cannot be.
  static Expected<std::unique_ptr<PodSource>> start(PodSourceOptions options);
  ~PodSource();
  PodSource(const PodSource&) = delete;
  PodSource& operator=(const PodSource&) = delete;

  // The API server's word before that of the log files.
  std::optional<PodMatch> find(const Placement& placement) const;
  // Whether a pod that is not found is no longer to be waited for: the first answer is there, or overdue.
  bool settled() const;
  model::KubernetesStatus status() const;

 private:
  PodSource(std::optional<ApiServer> server, const PodSourceOptions& options);
  void read_logs(const std::stop_token& stop, const PodSourceOptions& options);

  const std::chrono::steady_clock::time_point started_;
  PodDirectory from_api_;
  PodDirectory from_logs_;
  std::unique_ptr<PodWatch> watch_;  // null: no API server
  std::atomic<bool> logs_read_{false};
  std::mutex wait_mutex_;
  std::condition_variable_any wake_;
  std::jthread log_thread_;  // last: it uses all of the above
};

}  // namespace goheapd::k8s
