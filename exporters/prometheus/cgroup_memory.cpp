#include "exporters/prometheus/memory_limit.h"

#include <algorithm>
#include <fstream>
#include <string>
#include <string_view>

namespace goheapd::exporters::prometheus_text {
namespace {

// Version 1 says "no limit" by a number near 2^63; no machine has this much.
constexpr uint64_t kNoLimit = uint64_t{1} << 60;

// The least limit of `group` (as /proc/self/cgroup names it) and of those above it. A container may see its own group
// as the root of the mount while it is named from the host's root: then only the top of the walk finds a file.
std::optional<uint64_t> least_limit(const std::filesystem::path& mount, std::string_view group,
                                    const char* file) {
  std::optional<uint64_t> least;
  std::string path(group);
  while (true) {
    std::ifstream stream(mount.string() + path + "/" + file);
    // "max" is no number and means none.
    if (uint64_t limit = 0; stream >> limit && limit < kNoLimit)
      least = std::min(limit, least.value_or(limit));
    const auto slash = path.rfind('/');
    if (slash == std::string::npos || path.empty()) return least;
    path.resize(slash);
  }
}

bool has_memory_controller(std::string_view controllers) {
  while (!controllers.empty()) {
    const auto comma = controllers.find(',');
    if (controllers.substr(0, comma) == "memory") return true;
    controllers = comma == std::string_view::npos ? std::string_view() : controllers.substr(comma + 1);
  }
  return false;
}

}  // namespace

std::optional<uint64_t> memory_limit_bytes(const std::filesystem::path& root) {
  const std::filesystem::path groups = root / "sys/fs/cgroup";
  std::optional<uint64_t> least;
  // Lines "hierarchy:controllers:path"; version 2 is the hierarchy without controllers.
  std::ifstream stream(root / "proc/self/cgroup");
  for (std::string line; std::getline(stream, line);) {
    const auto first = line.find(':');
    const auto second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string_view controllers = std::string_view(line).substr(first + 1, second - first - 1);
    const std::string_view group = std::string_view(line).substr(second + 1);
    if (group.empty() || group[0] != '/' || group.find("/..") != std::string_view::npos) continue;
    std::optional<uint64_t> limit;
    if (controllers.empty()) {
      limit = least_limit(groups, group, "memory.max");
    } else if (has_memory_controller(controllers)) {
      limit = least_limit(groups / "memory", group, "memory.limit_in_bytes");
    }
    if (limit) least = std::min(*limit, least.value_or(*limit));
  }
  return least;
}

}  // namespace goheapd::exporters::prometheus_text
