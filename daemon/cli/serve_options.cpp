#include "daemon/cli/serve_options.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <set>

#include "daemon/base/duration.h"
#include "daemon/base/text_file.h"
#include "daemon/base/yaml.h"
#include "daemon/cli/redaction.h"
#include "exporters/http/address.h"

namespace goheapd::cli {
namespace {

// PID_MAX_LIMIT of 64-bit Linux.
constexpr int kMaxPid = 4 * 1024 * 1024;

constexpr size_t kMaxConfigBytes = size_t{1} << 20;

// `place` is where an error is.
Expected<std::vector<std::string>> values_of(const std::string& key, const YAML::Node& node,
                                             const std::string& place) {
  std::vector<std::string> values;
  if (node.IsScalar()) {
    values.push_back(node.Scalar());
  } else if (node.IsSequence()) {
    for (const YAML::Node& item : node) {
      if (!item.IsScalar()) return fail("the list must hold plain values" + on_line(item.Mark()), key);
      values.push_back(item.Scalar());
    }
  } else {
    return fail("must be a value or a list of values" + place, key);
  }
  return values;
}

Expected<void> apply_key(CLI::App& app, const YAML::Node& key_node, const YAML::Node& node) {
  const std::string& key = key_node.Scalar();
  // Where nothing follows a key, the parser has looked for it in the lines below.
  const std::string place = on_line(node.IsNull() ? key_node.Mark() : node.Mark());
  CLI::Option* option = app.get_option_no_throw("--" + key);
  if (option == nullptr || key == "config" || key == "help")
    return fail("unknown key" + on_line(key_node.Mark()), key);
  if (option->count() > 0) return {};  // the command line wins
  auto values = values_of(key, node, place);
  if (!values) return tl::unexpected(values.error());
  const bool is_list = option->get_items_expected_max() > 1;
  if (values->size() != 1 && !is_list) return fail("takes one value" + place, key);
  if (values->empty()) {
    // None, which is what a list without a default has anyway; the parser of flags knows no empty ones.
    if (option->get_default_str().empty()) return {};
    return fail("needs at least one value" + place, key);
  }
  try {
    for (const std::string& value : *values) option->add_result(value);
    option->run_callback();
  } catch (const CLI::Error& error) {
    std::string what = error.what();
    // The caller names the key.
    if (const std::string flag = "--" + key + ": "; what.starts_with(flag)) what.erase(0, flag.size());
    return fail(what + place, key);
  }
  return {};
}

}  // namespace

std::string to_seconds(std::string& text) {
  std::string compact = text;
  compact.erase(std::remove(compact.begin(), compact.end(), ' '), compact.end());
  const auto duration = parse_duration(compact);
  if (!duration || duration->count() < 0) {
    const bool is_number = !compact.empty() && compact.find_first_not_of("0123456789.") == std::string::npos;
    return text +
           (is_number ? " has no unit: write " + compact + "s for seconds, or a time"
                      : std::string(" is not a time")) +
           " such as 10s, 1m30s or 500ms";
  }
  text = std::to_string(std::chrono::duration<double>(*duration).count());
  return {};
}

void add_overhead_budget_flag(CLI::App& app, double& percent, const std::string& help) {
  app.add_option("--overhead-budget", percent, help)
      ->check(CLI::Range(0.001, 100.0))
      // No range leaves this one out, since it compares with nothing.
      ->check([](const std::string& text) {
        return std::isnan(std::stod(text)) ? text + " is not a number" : std::string();
      })
      ->type_name("PERCENT")
      ->capture_default_str();
}

model::Mode ServeOptions::parsed_mode() const { return model::mode_of(mode); }

std::vector<Pattern> ServeOptions::redact_patterns() const { return compiled(redact); }

void bind_serve_flags(CLI::App& app, ServeOptions& options) {
  app.add_option("--web.listen-address", options.listen_addresses,
                 "address and port to serve HTTP on; repeatable; [::1]:PORT and :PORT (all addresses) too")
      ->check([](const std::string& text) {
        const auto parsed = exporters::http::parse_listen_address(text);
        return parsed ? std::string() : to_string(parsed.error());
      })
      ->type_name("ADDR:PORT")
      ->capture_default_str();
  app.add_option("--web.config.file", options.web_config_file,
                 "TLS and basic auth, in the exporter-toolkit's format")
      ->type_name("FILE");
  app.add_option("--config", options.config_file, "YAML file with a key for each of these flags")
      ->type_name("FILE");
  app.add_option("--mode", options.mode, "how to profile: auto, sampled, exact or buckets")
      ->check(CLI::IsMember({"auto", "sampled", "exact", "buckets"}))
      ->capture_default_str();
  app.add_flag("--live-heap", options.live_heap, "in mode exact, sample the live heap beside the counts");
  app.add_option("--pid", options.pids, "profile only this process; repeatable")
      ->check(CLI::Range(1, kMaxPid))
      ->type_name("N");
  app.add_option("--include", options.include, "profile only executables whose path matches; repeatable")
      ->check(check_regex)
      ->type_name("REGEX");
  app.add_option("--exclude", options.exclude, "never profile executables whose path matches; repeatable")
      ->check(check_regex)
      ->type_name("REGEX");
  app.add_option("--allow-runtime-sampling", options.allow_runtime_sampling,
                 "in programs whose path matches and whose runtime does not sample, switch the runtime's own "
                 "sampler on by "
                 "writing MemProfileRate into their memory, the only write goheapd ever makes; needs "
                 "--data-dir, where it is "
                 "noted so that it is set back whatever happens; repeatable")
      ->check(check_regex)
      ->type_name("REGEX");
  // The runtime's table of records alone takes 1.4 MiB: https://github.com/golang/go/blob/go1.24.4/src/runtime/mprof.go#L42
  app.add_option(
         "--runtime-sampling-memory", options.runtime_sampling_memory_mib,
         "MiB that the records of a sampler which goheapd switched on may take in the program, where they "
         "are never freed; beyond, it is switched off again")
      ->check(CLI::Range(2, 1 << 20))
      ->type_name("MIB")
      ->capture_default_str();
  add_overhead_budget_flag(app, options.overhead_budget_percent,
                           "share of a target's CPU time that probes may take, in percent: mode auto keeps "
                           "to it, the others warn; of a small program five times as much, up to 4 percent, "
                           "as long as that is less than 0.2 percent of one CPU");
  app.add_option("--data-dir", options.data_dir, "directory for state that outlives the daemon")
      ->type_name("DIR");
  app.add_option("--log.level", options.log_level, "debug, info, warn or error")
      ->check(CLI::IsMember({"debug", "info", "warn", "error"}))
      ->capture_default_str();
  app.add_option("--log.format", options.log_format, "logfmt or json")
      ->check(CLI::IsMember({"logfmt", "json"}))
      ->capture_default_str();
  app.add_option("--exited-retention", options.exited_retention_seconds,
                 "how long the last profile of a process that has exited is served, of 256 at most")
      ->transform(CLI::Validator(to_seconds, "TIME"))
      ->type_name("TIME")
      ->default_str("10m");
  app.add_option("--top-sites", options.top_sites, "call sites per target that become metrics")
      ->check(CLI::Range(0, 1000))
      ->type_name("N")
      ->capture_default_str();
  add_redact_flag(app, options.redact);
  app.add_option("--seccomp.off", options.seccomp_off,
                 "do without the filter that keeps system calls from us which serving does not need; the "
                 "reason is logged")
      ->type_name("REASON");
  bind_kubernetes_flags(app, options);
  // Else the parser takes each word behind a flag with a list for one more value of it.
  for (CLI::Option* option : app.get_options()) {
    option->allow_extra_args(false);
    // Units and charts give flags of their own, before those of their operators, who have the last word.
    if (option->get_items_expected_max() == 1) option->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  }
}

Expected<void> apply_config_file(CLI::App& app, const std::string& path) {
  const auto text = read_text_file(path, kMaxConfigBytes);
  if (!text) return fail("the config file " + text.error().what, path, text.error().errno_value);
  const auto bad = [&path](const std::string& what) { return fail("bad config file " + path + ": " + what); };
  const auto root = load_yaml(*text);
  if (!root) return bad(root.error().what);
  if (root->IsNull()) return {};
  if (!root->IsMap()) return bad("it must be a map of flag names to values");
  std::set<std::string> seen;
  for (const auto& entry : *root) {
    if (!entry.first.IsScalar()) return bad("a key must be a flag's name" + on_line(entry.first.Mark()));
    const std::string& key = entry.first.Scalar();
    if (!seen.insert(key).second) return bad(key + " is there twice" + on_line(entry.first.Mark()));
    if (auto applied = apply_key(app, entry.first, entry.second); !applied)
      return bad(applied.error().subject + ": " + applied.error().what);
  }
  return {};
}

std::vector<std::string> changed_start_values(const ServeOptions& at_start, const ServeOptions& now) {
  std::vector<std::string> changed;
  const auto compare = [&](const char* flag, const auto ServeOptions::*value) {
    if (at_start.*value != now.*value) changed.emplace_back(flag);
  };
  compare("web.listen-address", &ServeOptions::listen_addresses);
  compare("web.config.file", &ServeOptions::web_config_file);
  compare("data-dir", &ServeOptions::data_dir);
  compare("seccomp.off", &ServeOptions::seccomp_off);
  compare("kubernetes", &ServeOptions::kubernetes);
  compare("kubernetes.node", &ServeOptions::kubernetes_node);
  compare("kubernetes.api-server", &ServeOptions::kubernetes_api_server);
  compare("kubernetes.token-file", &ServeOptions::kubernetes_token_file);
  compare("kubernetes.ca-file", &ServeOptions::kubernetes_ca_file);
  compare("kubernetes.log-dir", &ServeOptions::kubernetes_log_dir);
  if (!at_start.may_write_targets() && !now.allow_runtime_sampling.empty())
    changed.emplace_back("allow-runtime-sampling");
  return changed;
}

Expected<void> validate(const ServeOptions& options) {
  if (!options.allow_runtime_sampling.empty() && options.data_dir.empty()) {
    return fail(
        "--allow-runtime-sampling needs --data-dir: what was written must be set back after a crash, too");
  }
  if (options.listen_addresses.empty()) return fail("at least one --web.listen-address is needed");
  return validate_kubernetes(options);
}

Expected<ServeOptions> parse_serve_options(int argc, const char* const* argv) {
  ServeOptions options;
  CLI::App program;
  CLI::App* serve = program.add_subcommand("serve");
  bind_serve_flags(*serve, options);
  try {
    program.parse(argc, argv);
    if (!options.config_file.empty()) {
      auto applied = apply_config_file(*serve, options.config_file);
      if (!applied) return tl::unexpected(applied.error());
    }
  } catch (const CLI::Error& error) {
    return fail(error.what());
  }
  if (auto valid = validate(options); !valid) return tl::unexpected(valid.error());
  return options;
}

}  // namespace goheapd::cli
