// The text formats of /proc/PID files, as pure functions: tests need no process, and a hostile comm or path
// is only a string here. Formats: proc_pid_stat(5), proc_pid_status(5), proc_pid_maps(5), proc_pid_cgroup(5).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/byte_view.h"

namespace goheapd::process {

// What goheapd uses of /proc/PID/stat.
struct ProcessStat {
  pid_t pid = 0;
  std::string comm;  // at most 15 bytes, any byte but NUL: ") R (", newlines and invalid UTF-8 occur
  char state = '?';
  pid_t parent = 0;
  bool kernel_thread = false;
  uint64_t cpu_ticks = 0;   // utime + stime of all threads, dead ones too, in clock ticks
  uint64_t start_time = 0;  // clock ticks since boot
  uint64_t virtual_bytes = 0;
  uint64_t resident_pages = 0;
  uint64_t code_start = 0;   // in the main program's code; 0 or 1 where we may not ptrace the process
  uint64_t stack_start = 0;  // drawn anew by each exec (ASLR); 0 where we may not ptrace the process
};

// nullopt: not a stat line.
std::optional<ProcessStat> parse_stat(std::string_view text);

// One line of /proc/PID/maps that is backed by a file.
struct FileMapping {
  uint64_t start = 0;
  uint64_t end = 0;
  uint64_t file_offset = 0;
  uint64_t inode = 0;
  bool executable = false;
  std::string path;  // as the kernel prints it: "\012" for a newline, " (deleted)" behind a name that is gone
};

// The file-backed mappings, in ascending order of address. Lines of other kinds, and lines that make no
// sense, are left out.
std::vector<FileMapping> parse_file_mappings(std::string_view text);

// The soft limits of /proc/PID/limits; UINT64_MAX = unlimited, nullopt = not in the text.
struct ProcessLimits {
  std::optional<uint64_t> open_files;
  std::optional<uint64_t> address_space;  // bytes
};
ProcessLimits parse_limits(std::string_view text);

// When the system started, in seconds since 1970: btime of /proc/stat.
std::optional<uint64_t> parse_boot_time(std::string_view system_stat_text);

// NSpid of /proc/PID/status: the process's pid in every pid namespace it is in, outermost first. Empty: no
// such line.
std::vector<pid_t> parse_namespace_pids(std::string_view status_text);

// The paths of /proc/PID/cgroup, in the order in which they are likely to name the container: version 2's, the memory
// controller's, systemd's, others, and roots "/" last.
std::vector<std::string> parse_cgroup_paths(std::string_view text);

// The value of an entry of /proc/PID/auxv (AT_PHDR, ...), an array of 8-byte (type, value) pairs.
std::optional<uint64_t> find_auxv(ByteView bytes, uint64_t type);

}  // namespace goheapd::process
