#pragma once

#include <optional>
#include <string>
#include <vector>

#include "daemon/base/expected.h"
#include "daemon/base/pattern.h"
#include "daemon/k8s/pod_source.h"
#include "daemon/model/target.h"
#include "daemon/pod_policy.h"

namespace CLI {  // NOLINT(readability-identifier-naming): CLI11's name
class App;
}

namespace goheapd::cli {

// What an operator may say to the daemon, as said: checked, not yet acted on.
struct ServeOptions {
  std::vector<std::string> listen_addresses{"127.0.0.1:9786"};
  std::string web_config_file;
  std::string config_file;
  std::string mode = "auto";
  std::vector<int> pids;
  std::vector<std::string> include;  // regular expressions on the executable's path
  std::vector<std::string> exclude;
  bool live_heap = false;
  std::vector<std::string> allow_runtime_sampling;  // the same
  unsigned runtime_sampling_memory_mib = 16;
  double overhead_budget_percent = 1;
  std::string data_dir;
  std::string log_level = "info";
  std::string log_format = "logfmt";
  unsigned top_sites = 20;
  double exited_retention_seconds = 600;
  std::vector<std::string> redact;  // regular expressions on names
  std::string seccomp_off;          // why not; empty = filtered

  std::string kubernetes = "auto";
  std::string kubernetes_node;
  std::string kubernetes_api_server;
  std::string kubernetes_token_file = k8s::PodSourceOptions{}.token_file;
  std::string kubernetes_ca_file = k8s::PodSourceOptions{}.ca_file;
  std::string kubernetes_log_dir = k8s::PodSourceOptions{}.log_directory;
  std::vector<std::string> namespaces;
  std::vector<std::string> excluded_namespaces;
  std::vector<std::string> pod_selectors;

  model::Mode parsed_mode() const;
  // Of the options at start: --allow-runtime-sampling can be taken up later. Else our filter of system calls has taken
  // away the means for good.
  bool may_write_targets() const { return !allow_runtime_sampling.empty() || !seccomp_off.empty(); }
  // Only after validate().
  std::vector<Pattern> redact_patterns() const;
  k8s::PodSourceOptions pod_source() const;
  // Only after validate().
  PodSelection pod_selection() const;
};

// Turns a time ("90s", "1m30s", "0") into seconds, for a flag that is bound to a double. What it returns is why it cannot.
// A number without a unit is refused: whoever writes 5 may mean minutes.
std::string to_seconds(std::string& text);

// The flag that serve and record share.
void add_overhead_budget_flag(CLI::App& app, double& percent, const std::string& help);

// kubernetes_options.cpp: the part of these flags that is about pods, and its checks.
void bind_kubernetes_flags(CLI::App& app, ServeOptions& options);
Expected<void> validate_kubernetes(const ServeOptions& options);

// Adds every flag of `serve` to `app`, bound to `options`.
void bind_serve_flags(CLI::App& app, ServeOptions& options);

// Reads a YAML file whose keys are flag names without dashes and fills what the command line did not say.
// Unknown keys and values that the flag refuses are errors that name the key and the line.
Expected<void> apply_config_file(CLI::App& app, const std::string& path);

// The flags that are taken at start only and say something else in `now`.
std::vector<std::string> changed_start_values(const ServeOptions& at_start, const ServeOptions& now);

// Checks what flags alone cannot: how they go together. Error: one line for the user.
Expected<void> validate(const ServeOptions& options);

// Parses a whole command line ("goheapd serve ...") again; used at start and at SIGHUP.
Expected<ServeOptions> parse_serve_options(int argc, const char* const* argv);

}  // namespace goheapd::cli
