#include "daemon/cli/redaction.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iterator>
#include <memory>
#include <utility>

#include "daemon/profile/redactor.h"

namespace goheapd::cli {

std::string check_regex(const std::string& pattern) {
  const auto parsed = Pattern::parse(pattern);
  return parsed ? std::string() : to_string(parsed.error());
}

std::vector<Pattern> compiled(const std::vector<std::string>& patterns) {
  std::vector<Pattern> result;
  std::transform(patterns.begin(), patterns.end(), std::back_inserter(result),
                 [](const std::string& text) { return Pattern::parse(text).value(); });
  return result;
}

CLI::Option* add_redact_flag(CLI::App& app, std::vector<std::string>& patterns) {
  return app
      .add_option("--redact", patterns,
                  "what matches in a name of a function, file, type, program, pod or label leaves only as a "
                  "digest; repeatable")
      ->check(check_regex)
      ->type_name("REGEX");
}

RewriteMessage redacting(std::vector<Pattern> patterns) {
  if (patterns.empty()) return {};
  // Shared, since a function object must be copyable.
  auto redactor = std::make_shared<const profile::Redactor>(std::move(patterns));
  return [redactor](const std::string& message) { return redactor->redact_text(message); };
}

}  // namespace goheapd::cli
