#include "exporters/prometheus/cgroup_memory.h"

#include <algorithm>
#include <fstream>
#include <string>
#include <string_view>

namespace goheapd::exporters::prometheus_text {
namespace {

// Version 1 says "no limit" by a number near 2^63; no machine has this much.
constexpr uint64_t kNoLimit = uint64_t{1} << 60;

// What a version calls its files.
struct Files {
  const char* limit;
  const char* usage;
  const char* droppable;  // a key of memory.stat
};
constexpr Files kVersion2{"/memory.max", "/memory.current", "inactive_file"};
// Without "total_" it is without the groups below.
constexpr Files kVersion1{"/memory.limit_in_bytes", "/memory.usage_in_bytes", "total_inactive_file"};

std::optional<uint64_t> number_in(const std::string& path) {
  std::ifstream stream(path);
  // "max" is no number and means none.
  if (uint64_t number = 0; stream >> number) return number;
  return std::nullopt;
}

std::optional<uint64_t> usage_of(const std::string& group, const Files& files) {
  const auto charged = number_in(group + files.usage);
  if (!charged) return std::nullopt;
  std::ifstream stat(group + "/memory.stat");
  std::string key;
  uint64_t value = 0;
  while (stat >> key >> value) {
    // The two are not read at the same moment.
    if (key == files.droppable) return *charged - std::min(*charged, value);
  }
  return charged;
}

// Of `group` (as /proc/self/cgroup names it) and of those above it. A container may see its own group as the root of
// the mount while it is named from the host's root: then only the top of the walk finds files.
CgroupMemory memory_of(const std::filesystem::path& mount, std::string_view group, const Files& files) {
  CgroupMemory memory;
  std::string path(group);
  while (true) {
    const std::string directory = mount.string() + path;
    const auto limit = number_in(directory + files.limit);
    if (limit && *limit < kNoLimit && *limit < memory.limit.value_or(kNoLimit)) {
      memory = {limit, usage_of(directory, files)};
    } else if (!memory.limit && !memory.usage) {
      memory.usage = usage_of(directory, files);
    }
    const auto slash = path.rfind('/');
    if (slash == std::string::npos || path.empty()) return memory;
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

CgroupMemory cgroup_memory(const std::filesystem::path& root) {
  const std::filesystem::path groups = root / "sys/fs/cgroup";
  CgroupMemory tightest;
  // Lines "hierarchy:controllers:path"; version 2 is the hierarchy without controllers.
  std::ifstream stream(root / "proc/self/cgroup");
  for (std::string line; std::getline(stream, line);) {
    const auto first = line.find(':');
    const auto second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string_view controllers = std::string_view(line).substr(first + 1, second - first - 1);
    const std::string_view group = std::string_view(line).substr(second + 1);
    if (group.empty() || group[0] != '/' || group.find("/..") != std::string_view::npos) continue;
    CgroupMemory memory;
    if (controllers.empty()) {
      memory = memory_of(groups, group, kVersion2);
    } else if (has_memory_controller(controllers)) {
      memory = memory_of(groups / "memory", group, kVersion1);
    }
    // A controller is in one hierarchy only; the other has nothing to say.
    const bool tells_more =
        memory.limit ? *memory.limit < tightest.limit.value_or(kNoLimit) : !tightest.limit && !tightest.usage;
    if (tells_more) tightest = memory;
  }
  return tightest;
}

}  // namespace goheapd::exporters::prometheus_text
