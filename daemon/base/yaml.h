#pragma once

#include <yaml-cpp/yaml.h>
#include <string>

#include "daemon/base/expected.h"

namespace goheapd {

// The one document of a YAML text; null if there is none. Whatever bytes there are, this ends and does not throw. Errors say
// what is wrong in which line.
Expected<YAML::Node> load_yaml(const std::string& text);

}  // namespace goheapd
