#pragma once

#include <yaml-cpp/yaml.h>

#include <string>

#include "daemon/base/expected.h"

namespace goheapd {

// " (line 3)"; empty where no line is known.
std::string on_line(const YAML::Mark& mark);

// The one document of a YAML text; null if there is none. Whatever bytes there are, this ends and does not throw. Errors say
// what is wrong in which line.
Expected<YAML::Node> load_yaml(const std::string& text);

}  // namespace goheapd
