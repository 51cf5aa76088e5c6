#include "daemon/k8s/pod_source.h"

#include <spdlog/spdlog.h>
#include <unistd.h>

#include <cstdlib>
#include <utility>

#include "daemon/k8s/pod_logs.h"

namespace goheapd::k8s {
namespace {

using Use = PodSourceOptions::Use;

// How long profiling may wait for the first answer about pods.
constexpr std::chrono::seconds kPatience{10};

std::string from_environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string() : std::string(value);
}

bool is_readable(const std::string& path) { return ::access(path.c_str(), R_OK) == 0; }

bool has_logs(const PodSourceOptions& options) {
  return is_readable(options.log_directory + "/containers") || is_readable(options.log_directory + "/pods");
}

// nullopt: nothing tells where one is.
Expected<std::optional<ApiServer>> api_server_of(const PodSourceOptions& options) {
  if (options.use == Use::logs) return std::nullopt;
  ApiServer server;
  if (!options.api_server.empty()) {
    auto parsed = parse_api_server(options.api_server);
    if (!parsed) return Unexpected(parsed.error());
    server = std::move(*parsed);
  } else {
    server.host = from_environment("KUBERNETES_SERVICE_HOST");
    server.port = from_environment("KUBERNETES_SERVICE_PORT");
    if (server.port.empty()) server.port = "443";
    if (server.host.empty() || (options.use == Use::automatic && !is_readable(options.token_file))) {
      return std::nullopt;
    }
  }
  server.token_file = options.token_file;
  server.ca_file = options.ca_file;
  return server;
}

}  // namespace

Expected<std::unique_ptr<PodSource>> PodSource::start(PodSourceOptions options) {
  if (options.use == Use::off) return nullptr;
  if (options.node.empty()) options.node = from_environment("NODE_NAME");
  auto server = api_server_of(options);
  if (!server) return Unexpected(server.error());
  if (options.use == Use::api && !*server) {
    return fail("--kubernetes api needs --kubernetes.api-server outside of a pod");
  }
  if (*server && options.node.empty()) {
    const std::string advice = "set --kubernetes.node or $NODE_NAME to the name of this node";
    if (options.use == Use::api) return fail("the pods of which node? " + advice);
    spdlog::warn("the API server is not asked for pods: {}", advice);
    server->reset();
  }
  if (!*server && !has_logs(options)) {
    if (options.use == Use::automatic) return nullptr;
    return fail("the kubelet's logs cannot be read", options.log_directory + "/containers");
  }
  return std::unique_ptr<PodSource>(new PodSource(std::move(*server), options));
}

PodSource::PodSource(std::optional<ApiServer> server, const PodSourceOptions& options)
    : started_(std::chrono::steady_clock::now()) {
  if (server) {
    watch_ = std::make_unique<PodWatch>(std::move(*server), options.node, from_api_, options.times);
  }
  if (options.use != Use::api) {
    log_thread_ = std::jthread([this, options](const std::stop_token& stop) { read_logs(stop, options); });
  }
}

PodSource::~PodSource() = default;

void PodSource::read_logs(const std::stop_token& stop, const PodSourceOptions& options) {
  while (!stop.stop_requested()) {
    // While the API server answers, it knows better.
    if (watch_ == nullptr || !watch_->current()) {
      if (auto pods = read_pod_logs(options.log_directory)) {
        for (model::Pod& pod : *pods) pod.node = options.node;
        from_logs_.replace(std::move(*pods));
        logs_read_ = true;
      }
    }
    std::unique_lock lock(wait_mutex_);
    wake_.wait_for(lock, stop, options.log_interval, [] { return false; });
  }
}

std::optional<PodMatch> PodSource::find(const Placement& placement) const {
  auto match = from_api_.find(placement);
  if (match && !match->container.empty()) return match;
  auto logged = from_logs_.find(placement);
  if (!match) return logged;
  if (logged) match->container = std::move(logged->container);
  return match;
}

bool PodSource::settled() const {
  if (watch_ != nullptr ? watch_->synced() : logs_read_.load()) return true;
  return std::chrono::steady_clock::now() - started_ > kPatience;
}

model::KubernetesStatus PodSource::status() const {
  model::KubernetesStatus status;
  const PodDirectory& directory = watch_ != nullptr && watch_->synced() ? from_api_ : from_logs_;
  status.pods = directory.size();
  status.dropped_pods = from_api_.dropped() + from_logs_.dropped();
  if (watch_ == nullptr) return status;
  status.api_current = watch_->current();
  status.lists = watch_->lists();
  status.watches = watch_->watches();
  for (size_t i = 0; i < kWatchFailureNames.size(); ++i) {
    status.failures.push_back(
        {std::string(kWatchFailureNames[i]), watch_->failures(static_cast<WatchFailure>(i))});
  }
  return status;
}

}  // namespace goheapd::k8s
