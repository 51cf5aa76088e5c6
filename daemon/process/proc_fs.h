// /proc, or a directory that looks like it: the kernel's facts about processes.
#pragma once

#include <sys/types.h>

#include <cerrno>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/expected.h"
#include "daemon/base/unique_fd.h"
#include "daemon/model/memory_reading.h"
#include "daemon/model/process_key.h"
#include "daemon/process/proc_parse.h"

namespace goheapd::process {

// What /proc/PID/exe leads to. Device and inode name a file while something holds it open (a running process
// does); size and time of change tell a later file with the same inode from it.
struct ExeIdentity {
  uint64_t device = 0;
  uint64_t inode = 0;
  uint64_t size = 0;
  int64_t modified_ns = 0;
  bool same_inode(const ExeIdentity& other) const { return device == other.device && inode == other.inode; }
  bool operator==(const ExeIdentity&) const = default;
};

// What the errno of an error about a file below /proc/PID means: the process is gone (or, for exe, a kernel thread or a
// zombie), ...
inline bool is_gone(const Error& error) { return error.errno_value == ENOENT || error.errno_value == ESRCH; }
// ... or we lack CAP_SYS_PTRACE.
inline bool is_forbidden(const Error& error) {
  return error.errno_value == EACCES || error.errno_value == EPERM;
}

// Errors carry errno, see is_gone() and is_forbidden().
//
// Pids are those of our own pid namespace, hence the daemon runs in the host's. Files are reached through
// /proc/PID, which crosses mount namespaces, so containers need nothing special. A ProcFs has no mutable
// state: any thread may use it.
class ProcFs {
 public:
  static Expected<ProcFs> open(const std::string& root = "/proc");

  // All processes there are, in no order.
  Expected<std::vector<pid_t>> pids() const;

  Expected<ProcessStat> stat(pid_t pid) const;
  Expected<ExeIdentity> exe(pid_t pid) const;
  // The path of the program as its own mount namespace sees it, " (deleted)" behind it if it is gone.
  Expected<std::string> exe_path(pid_t pid) const;
  // The same without what the kernel has put behind it; a file whose own name ends so keeps it.
  Expected<std::string> program_path(pid_t pid) const;
  Expected<std::vector<pid_t>> namespace_pids(pid_t pid) const;
  // See parse_cgroup_paths; empty where the process is gone.
  std::vector<std::string> cgroup_paths(pid_t pid) const;
  Expected<std::vector<FileMapping>> file_mappings(pid_t pid) const;

  // Address at which file offset 0 of the main program is mapped: the mapping with the program headers that
  // the kernel told the process of (AT_PHDR). Names, devices and inodes in maps are not compared, since
  // overlayfs and btrfs print others than stat(2) gives.
  // auxv is readable by its owner and CAP_DAC_READ_SEARCH only; others, with CAP_SYS_PTRACE, learn from stat where the
  // program's code is and take the mapping of that file's beginning.
  Expected<uint64_t> program_start(pid_t pid) const;
  // That other way alone.
  Expected<uint64_t> program_start_by_code(pid_t pid) const;

  // CPU time that all threads of the process have used, user and system, in nanoseconds; resolution one clock
  // tick (10 ms).
  Expected<uint64_t> cpu_time_ns(pid_t pid) const;

  // Memory, CPU time, descriptors and limits. What we may not see of the latter two is left out.
  Expected<model::ProcessUsage> usage(pid_t pid) const;

  // "ROOT/PID/NAME", for those who open it themselves (exe, root).
  std::string path(pid_t pid, std::string_view name) const;

 private:
  ProcFs(std::string root, UniqueFd directory) : root_(std::move(root)), directory_(std::move(directory)) {}
  // Whether the program is the file at this path, in its own root directory or in ours.
  bool runs_file_at(pid_t pid, const std::string& path) const;
  // How many entries a directory of a process has; nullopt: not readable for us.
  std::optional<uint64_t> count_entries(pid_t pid, std::string_view name) const;
  std::optional<uint64_t> boot_time_seconds() const;
  Expected<std::string> read_relative(const std::string& relative, size_t limit) const;
  Expected<std::string> read_file(pid_t pid, std::string_view name, size_t limit) const;

  std::string root_;
  UniqueFd directory_;
};

}  // namespace goheapd::process
