#pragma once

#include <string>
#include <vector>

namespace goheapd::gobin {

enum class Arch : unsigned char { amd64, arm64 };

struct GoVersion {
  int minor = 0;  // go1.MINOR.patch
  int patch = 0;
  std::string text;  // as in the file, "go1.24.4 X:noswissmap"
  std::vector<std::string> experiments;
};

}  // namespace goheapd::gobin
