// --redact, which serve and record share, and the check of all flags that are regular expressions.
#pragma once

#include <string>
#include <vector>

#include "daemon/base/logging.h"
#include "daemon/base/pattern.h"

namespace CLI {  // NOLINT(readability-identifier-naming): CLI11's name
class App;
class Option;
}  // namespace CLI

namespace goheapd::cli {

// For CLI11, as the check of a flag or a key that is a regular expression. What it returns is why it is none.
std::string check_regex(const std::string& pattern);

// Of what that check has let pass.
std::vector<Pattern> compiled(const std::vector<std::string>& patterns);

// Adds the flag, which appends to `patterns`.
CLI::Option* add_redact_flag(CLI::App& app, std::vector<std::string>& patterns);

// Hides in log messages what matches; nothing to do for none.
RewriteMessage redacting(std::vector<Pattern> patterns);

}  // namespace goheapd::cli
