#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

namespace goheapd::exporters::prometheus_text {

// What the kernel's OOM killer goes by, in bytes. It counts more than the process's pages: BPF maps and the ring are
// charged to the group, too.
struct CgroupMemory {
  // The least limit of this process's cgroup and the groups above it; none if nothing limits it.
  std::optional<uint64_t> limit;
  // What is charged to the group that sets this limit, or without a limit to the own one, but for pages of files that
  // the kernel would drop first. None where the kernel does not say, as in the root group.
  std::optional<uint64_t> usage;
};

// Of either cgroup version. `root` is what holds proc/ and sys/.
// https://docs.kernel.org/admin-guide/cgroup-v2.html#memory-interface-files
CgroupMemory cgroup_memory(const std::filesystem::path& root = "/");

}  // namespace goheapd::exporters::prometheus_text
