#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>

#include "daemon/cli/serve_options.h"

namespace goheapd::cli {
namespace {

using Use = k8s::PodSourceOptions::Use;
constexpr std::array<std::pair<const char*, Use>, 4> kUses = {
    {{"auto", Use::automatic}, {"api", Use::api}, {"logs", Use::logs}, {"off", Use::off}}};

}  // namespace

void bind_kubernetes_flags(CLI::App& app, ServeOptions& options) {
  app.add_option("--kubernetes", options.kubernetes,
                 "where the names of pods come from: the API server (api), the names of the kubelet's log "
                 "files (logs), "
                 "what of these there is (auto), or nowhere (off)")
      ->check(CLI::IsMember({"auto", "api", "logs", "off"}))
      ->capture_default_str();
  app.add_option("--kubernetes.node", options.kubernetes_node, "name of this node; default: $NODE_NAME")
      ->type_name("NAME");
  app.add_option("--kubernetes.api-server", options.kubernetes_api_server,
                 "the API server; default: as pods find it, by $KUBERNETES_SERVICE_HOST")
      ->type_name("https://HOST:PORT");
  app.add_option("--kubernetes.token-file", options.kubernetes_token_file, "token of the service account")
      ->type_name("FILE")
      ->capture_default_str();
  app.add_option("--kubernetes.ca-file", options.kubernetes_ca_file,
                 "certificate authority of the API server")
      ->type_name("FILE")
      ->capture_default_str();
  app.add_option("--kubernetes.log-dir", options.kubernetes_log_dir,
                 "where containers/ and pods/ of the kubelet are")
      ->type_name("DIR")
      ->capture_default_str();
  app.add_option("--kubernetes.namespace", options.namespaces,
                 "profile only pods of this namespace; repeatable")
      ->type_name("NAME");
  app.add_option("--kubernetes.exclude-namespace", options.excluded_namespaces,
                 "never profile pods of this namespace; repeatable")
      ->type_name("NAME");
  app.add_option("--kubernetes.pod-selector", options.pod_selectors,
                 "profile only pods with these labels, as in kubectl -l; repeatable, one must match")
      ->check([](const std::string& text) {
        const auto selector = k8s::LabelSelector::parse(text);
        return selector ? std::string() : to_string(selector.error());
      })
      ->type_name("SELECTOR");
}

k8s::PodSourceOptions ServeOptions::pod_source() const {
  k8s::PodSourceOptions source;
  const auto* use =
      std::find_if(kUses.begin(), kUses.end(), [this](const auto& row) { return row.first == kubernetes; });
  if (use != kUses.end()) source.use = use->second;
  source.node = kubernetes_node;
  source.api_server = kubernetes_api_server;
  source.token_file = kubernetes_token_file;
  source.ca_file = kubernetes_ca_file;
  source.log_directory = kubernetes_log_dir;
  return source;
}

PodSelection ServeOptions::pod_selection() const {
  PodSelection selection{namespaces, excluded_namespaces, {}};
  for (const std::string& text : pod_selectors) {
    if (auto selector = k8s::LabelSelector::parse(text)) selection.selectors.push_back(std::move(*selector));
  }
  return selection;
}

Expected<void> validate_kubernetes(const ServeOptions& options) {
  if (!options.kubernetes_api_server.empty()) {
    if (auto server = k8s::parse_api_server(options.kubernetes_api_server); !server) {
      return tl::unexpected(server.error());
    }
  }
  const bool selects =
      !options.namespaces.empty() || !options.excluded_namespaces.empty() || !options.pod_selectors.empty();
  if (options.kubernetes == "off" && selects) {
    return fail("pods cannot be selected by namespace or label with --kubernetes off");
  }
  return {};
}

}  // namespace goheapd::cli
