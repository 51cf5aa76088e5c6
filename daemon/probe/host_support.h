// What this host's kernel and our privileges allow, found by trying and not by version numbers.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "daemon/probe/uprobe_methods.h"

namespace goheapd::probe {

struct Capabilities {
  bool bpf = false;      // or sys_admin, which includes it
  bool perfmon = false;  // or sys_admin
  bool sys_ptrace = false;
  bool sys_admin = false;
  bool sys_resource = false;
};
// Effective capabilities of this process, from the text of a /proc/PID/status file.
Capabilities parse_capabilities(const std::string& proc_status);
Capabilities own_capabilities();

struct HostSupport {
  std::string kernel_release;
  Capabilities capabilities;
  bool kernel_btf = false;  // /sys/kernel/btf/vmlinux can be read
  bool initial_pid_namespace = false;
  bool bpf_syscall = false;  // a minimal program loads
  int bpf_errno = 0;         // why not
  bool ring_buffer = false;
  bool uprobe_multi = false;  // a link to a function of ours could be made
  int uprobe_multi_errno = 0;
  bool perf_uprobe = false;
  int perf_uprobe_errno = 0;
  std::optional<std::string> tracefs;  // where it is mounted, if its uprobe_events can be written
  int perf_event_paranoid = 0;
  // Bytes that may be locked, which limits maps on kernels before 5.11; nullopt = unlimited.
  std::optional<uint64_t> memlock_limit;
  bool maps_count_as_locked = false;  // such a kernel
  std::string libbpf_version;
};
// Tries everything. Takes some 50 ms: closing a link waits for a grace period.
HostSupport inspect_host();

// The first of `methods` that this host allows.
std::optional<AttachMethod> choose_method(const HostSupport& host, std::span<const AttachMethod> methods);

// Can sites be attached with one uprobe_multi link? 0 or the errno. Older kernels accept the program and
// refuse the link, so the link has to be tried.
int try_uprobe_multi();

std::string libbpf_version();

// One sentence: why loading failed with this errno, and what to do.
std::string explain_load_error(int errno_value, const HostSupport& host);

}  // namespace goheapd::probe
