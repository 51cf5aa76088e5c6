// What this host's kernel and our privileges allow, found by trying and not by version numbers.
#pragma once

#include <array>
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
  int ring_buffer_errno = 0;
  // The way in which probes will be attached: the first of those asked for that works. Those before it have been tried
  // in vain, those after it have not been tried.
  std::optional<AttachMethod> method;
  int uprobe_multi_errno = 0;
  int perf_uprobe_errno = 0;           // of tracefs events, too: they need the same rights
  std::optional<std::string> tracefs;  // where it is mounted, if its uprobe_events can be written
  int perf_event_paranoid = 0;
  // Bytes that may be locked, which limits maps on kernels before 5.11; nullopt = unlimited.
  std::optional<uint64_t> memlock_limit;
  bool maps_count_as_locked = false;  // such a kernel
  // Files that we may have open; the commands raise their limit as far as this.
  std::optional<uint64_t> open_files_limit;  // nullopt = unlimited
  std::string libbpf_version;
};
inline constexpr std::array kAllMethods = {AttachMethod::uprobe_multi, AttachMethod::tracefs_event,
                                           AttachMethod::perf_uprobe};
// Takes some 50 ms with uprobe_multi and 200 ms with the others: taking out the probe that was tried waits for the kernel.
HostSupport inspect_host(std::span<const AttachMethod> methods = kAllMethods);

std::string libbpf_version();

// One sentence: why loading failed with this errno, and what to do.
std::string explain_load_error(int errno_value, const HostSupport& host);

}  // namespace goheapd::probe
