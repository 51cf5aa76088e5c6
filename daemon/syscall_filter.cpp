#include "daemon/syscall_filter.h"

#include <sched.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <memory>

namespace goheapd {
namespace {

// Chosen by reading what the daemon and its libraries do, and tried in all end-to-end tests; then whatever does the same in other releases of the C
// library or on other architectures, which have fewer old calls. Names that this libseccomp does not know are left out.
constexpr std::array kAllowed = {
    // Memory. mmap and mprotect: see below.
    "brk", "madvise", "mincore", "mlock", "mlock2", "mremap", "msync", "munlock", "munmap",
    // Threads of our own. clone: see below.
    "exit", "exit_group", "futex", "futex_time64", "futex_waitv", "futex_wait", "futex_wake",
    "get_robust_list", "getcpu", "gettid", "membarrier", "restart_syscall", "rseq", "sched_get_priority_max",
    "sched_get_priority_min", "sched_getaffinity", "sched_getparam", "sched_getscheduler",
    "sched_setaffinity", "sched_yield", "set_robust_list", "set_tid_address",
    // Signals that arrive, and abort().
    "rt_sigaction", "rt_sigpending", "rt_sigprocmask", "rt_sigreturn", "rt_sigsuspend", "rt_sigtimedwait",
    "sigaltstack", "signalfd", "signalfd4", "tgkill",
    // Who we are and what we may use.
    "capget", "getegid", "geteuid", "getgid", "getgroups", "getpgrp", "getpid", "getppid", "getpriority",
    "getrandom", "getresgid", "getresuid", "getrlimit", "getrusage", "getuid", "prctl", "prlimit64",
    "setrlimit", "sysinfo", "times", "uname", "ugetrlimit",
    // Files: ours, the targets' executables, /proc; and a database's.
    "access", "close", "close_range", "copy_file_range", "dup", "dup2", "dup3", "faccessat", "faccessat2",
    "fadvise64", "fallocate", "fchmod", "fchmodat", "fchown", "fcntl", "fcntl64", "fdatasync", "flock",
    "fstat", "fstat64", "fstatfs", "fsync", "ftruncate", "getcwd", "getdents", "getdents64", "ioctl", "link",
    "linkat", "lseek", "lstat", "memfd_create", "mkdir", "mkdirat", "newfstatat", "open", "openat", "openat2",
    "pipe", "pipe2", "pread64", "preadv", "preadv2", "pwrite64", "pwritev", "pwritev2", "read", "readahead",
    "readlink", "readlinkat", "readv", "rename", "renameat", "renameat2", "rmdir", "sendfile", "stat",
    "stat64", "statfs", "statx", "symlink", "symlinkat", "sync_file_range", "truncate", "umask", "unlink",
    "unlinkat", "utimensat", "write", "writev",
    // Waiting and time.
    "clock_getres", "clock_gettime", "clock_nanosleep", "epoll_create", "epoll_create1", "epoll_ctl",
    "epoll_pwait", "epoll_pwait2", "epoll_wait", "eventfd", "eventfd2", "gettimeofday", "inotify_add_watch",
    "inotify_init1", "inotify_rm_watch", "nanosleep", "poll", "ppoll", "pselect6", "select", "time",
    "timerfd_create", "timerfd_gettime", "timerfd_settime",
    // Sockets. socket: see below.
    "accept", "accept4", "bind", "connect", "getpeername", "getsockname", "getsockopt", "listen", "recvfrom",
    "recvmmsg", "recvmsg", "sendmmsg", "sendmsg", "sendto", "setsockopt", "shutdown", "socketpair",
    // Probes, and the processes that they are in.
    "bpf", "perf_event_open", "pidfd_open", "process_vm_readv"};

struct Release {
  void operator()(void* context) const { seccomp_release(context); }
};

Unexpected failed(const char* what, int result) { return fail(what, "seccomp", -result); }

// What clone3 is asked for is in memory, where a filter cannot look; the C library falls back to clone when it is told that
// there is no such call. A filter of its own, which does not log: each new thread asks.
int hide_clone3() {
  const std::unique_ptr<void, Release> filter(seccomp_init(SCMP_ACT_ALLOW));
  if (!filter) return -ENOMEM;
  int result = seccomp_rule_add(filter.get(), SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
  if (result == 0) result = seccomp_attr_set(filter.get(), SCMP_FLTATR_CTL_TSYNC, 1);
  return result == 0 ? seccomp_load(filter.get()) : result;
}

}  // namespace

Expected<void> filter_own_syscalls(bool writes_to_targets) {
  const std::unique_ptr<void, Release> filter(seccomp_init(SCMP_ACT_ERRNO(EPERM)));
  if (!filter) return fail("cannot make a system call filter");
  int result = 0;
  // The first failure stays in `result`.
  const auto allow = [&](const char* name, std::initializer_list<scmp_arg_cmp> conditions) {
    const int number = seccomp_syscall_resolve_name(name);
    if (number == __NR_SCMP_ERROR || result != 0) return;
    result = seccomp_rule_add_array(filter.get(), SCMP_ACT_ALLOW, number,
                                    static_cast<unsigned>(conditions.size()), conditions.begin());
  };
  for (const char* name : kAllowed) allow(name, {});
  if (writes_to_targets) allow("process_vm_writev", {});
  // Threads but no processes. Of two filters the stricter one has its way, so clone3 is not there all the same.
  allow("clone", {SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD)});
  allow("clone3", {});
  // Code comes from files only, as the modules by which the C library looks up names do.
  allow("mmap", {SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0)});
  allow("mmap", {SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC | PROT_WRITE, PROT_EXEC)});
  allow("mprotect", {SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0)});
  for (const int family : {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK}) {
    allow("socket", {SCMP_A0(SCMP_CMP_EQ, static_cast<scmp_datum_t>(family), 0)});
  }
  if (result == 0) result = hide_clone3();
  if (result != 0) return failed("cannot build the system call filter", result);
  // For the threads that are there already as well.
  result = seccomp_attr_set(filter.get(), SCMP_FLTATR_CTL_TSYNC, 1);
  if (result == 0) result = seccomp_attr_set(filter.get(), SCMP_FLTATR_CTL_LOG, 1);
  if (result == 0) result = seccomp_load(filter.get());
  if (result != 0) return failed("the kernel does not take the system call filter", result);
  return {};
}

}  // namespace goheapd
