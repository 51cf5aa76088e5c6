#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

namespace goheapd::exporters::prometheus_text {

// The memory limit in bytes that this process's cgroup and the groups above it set, of either cgroup version; none if
// nothing limits it. `root` is what holds proc/ and sys/.
// https://docs.kernel.org/admin-guide/cgroup-v2.html#memory-interface-files
std::optional<uint64_t> memory_limit_bytes(const std::filesystem::path& root = "/");

}  // namespace goheapd::exporters::prometheus_text
