#include "daemon/probe/host_support.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <fstream>
#include <iterator>

#include "daemon/base/unique_fd.h"
#include "daemon/probe/own_function.h"
#include "daemon/probe/uprobe_methods.h"

namespace goheapd::probe {
namespace {

// Bits of the capability sets, linux/capability.h.
constexpr unsigned kCapSysPtrace = 19;
constexpr unsigned kCapSysAdmin = 21;
constexpr unsigned kCapSysResource = 24;
constexpr unsigned kCapPerfmon = 38;
constexpr unsigned kCapBpf = 39;

// Inode of the initial pid namespace: PROC_PID_INIT_INO, fixed since 3.8.
constexpr uint64_t kInitialPidNamespace = 0xeffffffc;

std::string read_text(const std::string& path) {
  std::ifstream stream(path);
  return {std::istreambuf_iterator<char>(stream), {}};
}

// The smallest program there is: returns 0. Negative errno instead of a descriptor on failure.
int load_minimal_program(bpf_attach_type attach_type) {
  const std::array<bpf_insn, 2> instructions = {
      bpf_insn{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .src_reg = 0, .off = 0, .imm = 0},
      bpf_insn{.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0},
  };
  LIBBPF_OPTS(bpf_prog_load_opts, options);
  options.expected_attach_type = attach_type;
  const int fd = bpf_prog_load(BPF_PROG_TYPE_KPROBE, "goheapd_try", "GPL", instructions.data(),
                               instructions.size(), &options);
  return fd < 0 ? -errno : fd;
}

// Attaches a program that does nothing to a function of ours that nobody calls meanwhile, and lets go of it.
template <typename Link>
int try_link(bpf_attach_type attach_type, Link link) {
  const int program = load_minimal_program(attach_type);
  if (program < 0) return -program;
  const UniqueFd fd(program);
  const auto function = own_function(CostClass::branch);
  if (!function) return ENOENT;
  const ProbePlaces places{"/proc/self/exe", ::getpid(), std::span(&function->file_offset, 1)};
  const Expected<ProbeLink> result = link(fd.get(), places);
  if (result) return 0;
  return result.error().errno_value != 0 ? result.error().errno_value : EIO;
}

// Older kernels accept a program for uprobe_multi and refuse the link, so the link is what has to be tried.
int try_uprobe_multi() {
  return try_link(static_cast<bpf_attach_type>(kUprobeMultiAttachType),
                  [](int program, const ProbePlaces& places) {
                    const uint64_t cookie = 0;
                    return link_uprobe_multi(program, places, std::span(&cookie, 1));
                  });
}

int try_perf_uprobe() { return try_link(static_cast<bpf_attach_type>(0), link_perf_uprobes); }

std::optional<std::string> find_tracefs() {
  for (const char* const path : {"/sys/kernel/tracing", "/sys/kernel/debug/tracing"}) {
    const std::string events = std::string(path) + "/uprobe_events";
    if (::access(events.c_str(), W_OK) == 0) return path;
  }
  return std::nullopt;
}

void find_method(HostSupport& host, std::span<const AttachMethod> methods) {
  for (const AttachMethod method : methods) {
    int error = ENOENT;
    switch (method) {
      case AttachMethod::uprobe_multi:
        error = host.uprobe_multi_errno = try_uprobe_multi();
        break;
      case AttachMethod::tracefs_event:
        if (host.tracefs) error = host.perf_uprobe_errno = try_perf_uprobe();
        break;
      case AttachMethod::perf_uprobe:
        error = host.perf_uprobe_errno = try_perf_uprobe();
        break;
    }
    if (error != 0) continue;
    host.method = method;
    return;
  }
}

// Before 5.11 maps are charged to RLIMIT_MEMLOCK; from then on to the memory cgroup.
bool version_below(const std::string& release, int major, int minor) {
  int found_major = 0;
  int found_minor = 0;
  const char* const end = release.data() + release.size();
  const auto first = std::from_chars(release.data(), end, found_major);
  if (first.ptr != end && *first.ptr == '.') std::from_chars(first.ptr + 1, end, found_minor);
  return found_major < major || (found_major == major && found_minor < minor);
}

}  // namespace

Capabilities parse_capabilities(const std::string& proc_status) {
  Capabilities capabilities;
  const size_t label = proc_status.find("CapEff:");
  if (label == std::string::npos) return capabilities;
  const size_t digits = proc_status.find_first_not_of(" \t", label + 7);
  if (digits == std::string::npos) return capabilities;
  uint64_t set = 0;
  std::from_chars(proc_status.data() + digits, proc_status.data() + proc_status.size(), set, 16);
  const auto has = [set](unsigned bit) { return (set >> bit & 1) != 0; };
  capabilities.sys_admin = has(kCapSysAdmin);
  capabilities.bpf = has(kCapBpf) || capabilities.sys_admin;
  capabilities.perfmon = has(kCapPerfmon) || capabilities.sys_admin;
  capabilities.sys_ptrace = has(kCapSysPtrace);
  capabilities.sys_resource = has(kCapSysResource);
  return capabilities;
}

Capabilities own_capabilities() { return parse_capabilities(read_text("/proc/self/status")); }

std::string libbpf_version() {
  return std::to_string(libbpf_major_version()) + "." + std::to_string(libbpf_minor_version());
}

HostSupport inspect_host(std::span<const AttachMethod> methods) {
  HostSupport host;
  utsname names{};
  if (::uname(&names) == 0) host.kernel_release = names.release;
  host.libbpf_version = libbpf_version();
  host.capabilities = own_capabilities();
  host.kernel_btf = ::access("/sys/kernel/btf/vmlinux", R_OK) == 0;
  struct stat status {};
  host.initial_pid_namespace =
      ::stat("/proc/self/ns/pid", &status) == 0 && status.st_ino == kInitialPidNamespace;
  const int program = load_minimal_program(static_cast<bpf_attach_type>(0));
  host.bpf_syscall = program >= 0;
  host.bpf_errno = program < 0 ? -program : 0;
  const UniqueFd program_fd(program >= 0 ? program : -1);
  const UniqueFd ring(bpf_map_create(BPF_MAP_TYPE_RINGBUF, "goheapd_try", 0, 0, 4096, nullptr));
  host.ring_buffer = static_cast<bool>(ring);
  if (!ring) host.ring_buffer_errno = errno;
  host.tracefs = find_tracefs();
  find_method(host, methods);
  std::ifstream("/proc/sys/kernel/perf_event_paranoid") >> host.perf_event_paranoid;
  rlimit limit{};
  if (::getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
    host.memlock_limit = limit.rlim_cur;
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_max != RLIM_INFINITY)
    host.open_files_limit = limit.rlim_max;
  host.maps_count_as_locked = version_below(host.kernel_release, 5, 11);
  return host;
}

std::string explain_load_error(int errno_value, const HostSupport& host) {
  // With few descriptors libbpf may also believe that the kernel lacks what it could not try, and fail for want of that.
  constexpr uint64_t kFilesToLoad = 64;
  if (errno_value == EMFILE || (host.open_files_limit && *host.open_files_limit < kFilesToLoad))
    return "goheapd needs more file descriptors than it may have: raise LimitNOFILE= of its service, or "
           "ulimit -n";
  // EACCES is also what the verifier says to a program that it finds unsafe.
  const bool may_load = host.bpf_syscall && host.capabilities.bpf && host.capabilities.perfmon;
  if (errno_value == EPERM || (errno_value == EACCES && !may_load)) {
    if (host.maps_count_as_locked && host.memlock_limit && !host.capabilities.sys_resource)
      return "the kernel charges BPF maps to the limit of locked memory: raise it (LimitMEMLOCK=infinity, or "
             "ulimit "
             "-l unlimited)";
    if (!host.capabilities.bpf || !host.capabilities.perfmon)
      return "missing capability: run as root, or give the program CAP_BPF, CAP_PERFMON and CAP_SYS_PTRACE";
    return "the kernel refuses the programs although the capabilities are there: look for a lockdown, a "
           "seccomp filter "
           "or a security module that forbids bpf()";
  }
  if (!host.kernel_btf)
    return "the kernel has no type information at /sys/kernel/btf/vmlinux: use a kernel built with "
           "CONFIG_DEBUG_INFO_BTF";
  if (!host.ring_buffer) return "the kernel has no BPF ring buffer: goheapd needs Linux 5.8 or newer";
  if (errno_value == ENOMEM)
    return "the kernel has no memory for the maps: raise the memory limit of goheapd's cgroup";
  return "the kernel refuses the programs: run with --log.level=debug and report the verifier's log";
}

}  // namespace goheapd::probe
