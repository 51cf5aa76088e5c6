#include "daemon/syscall_filter.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <fstream>
#include <functional>
#include <string>
#include <thread>

namespace goheapd {
namespace {

// Runs `test` in a child of its own, since a filter stays; what it returns must be empty.
std::string in_child(const std::function<std::string()>& test) {
  int pipe_fds[2];
  if (::pipe(pipe_fds) != 0) return "no pipe";
  const pid_t child = ::fork();
  if (child == 0) {
    const std::string failure = test();
    const ssize_t written = ::write(pipe_fds[1], failure.data(), failure.size());
    ::_exit(written == static_cast<ssize_t>(failure.size()) ? 0 : 1);
  }
  ::close(pipe_fds[1]);
  std::string failure;
  std::array<char, 4096> buffer{};
  for (ssize_t size = 0; (size = ::read(pipe_fds[0], buffer.data(), buffer.size())) > 0;) {
    failure.append(buffer.data(), static_cast<size_t>(size));
  }
  ::close(pipe_fds[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  if (status != 0) failure += " child ended with " + std::to_string(status);
  return failure;
}

bool is_refused(long result) { return result == -1 && errno == EPERM; }

TEST(SyscallFilter, WritesToTargetsWhereItMust) {
  EXPECT_EQ(in_child([]() -> std::string {
              if (auto filtered = filter_own_syscalls(true); !filtered) return to_string(filtered.error());
              return ::process_vm_writev(::getpid(), nullptr, 0, nullptr, 0, 0) == 0 ? "" : "refused";
            }),
            "");
}

TEST(SyscallFilter, LeavesNoWayToStartOrChangeOthers) {
  const std::string failure = in_child([]() -> std::string {
    if (auto filtered = filter_own_syscalls(false); !filtered) return to_string(filtered.error());
    std::string allowed;
    const auto refuse = [&allowed](const char* name, long result) {
      if (!is_refused(result)) allowed += std::string(name) + " ";
    };
    refuse("fork", ::syscall(SYS_clone, SIGCHLD, nullptr, nullptr, nullptr, nullptr));
    const char* const arguments[] = {"/bin/true", nullptr};
    refuse("execve", ::syscall(SYS_execve, "/bin/true", arguments, nullptr));
    refuse("ptrace", ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr));
    refuse("process_vm_writev", ::process_vm_writev(::getpid(), nullptr, 0, nullptr, 0, 0));
    refuse("kill", ::kill(::getpid(), 0));
    refuse("mount", ::mount("none", "/tmp", "tmpfs", 0, nullptr));
    refuse("unshare", ::unshare(CLONE_NEWNS));
    refuse("setuid", ::syscall(SYS_setuid, 0));
    refuse("init_module", ::syscall(SYS_init_module, nullptr, 0, ""));
    refuse("chmod", ::syscall(SYS_fchownat, AT_FDCWD, "/tmp", 0, 0, 0));
    refuse("raw socket", ::socket(AF_PACKET, SOCK_RAW, 0));
    void* page = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) return "no page";
    refuse("mprotect", ::mprotect(page, 4096, PROT_READ | PROT_EXEC));
    void* code =
        ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    refuse("mmap", code == MAP_FAILED ? -1 : 0);
    return allowed.empty() ? "" : "still allowed: " + allowed;
  });
  EXPECT_EQ(failure, "");
}

TEST(SyscallFilter, LeavesWhatServingNeeds) {
  const std::string failure = in_child([]() -> std::string {
    if (auto filtered = filter_own_syscalls(false); !filtered) return to_string(filtered.error());
    std::string status;
    std::ifstream("/proc/self/status") >> status;
    if (status.empty()) return "cannot read a file";
    std::atomic<bool> ran{false};
    std::thread([&ran] { ran = true; }).join();
    if (!ran) return "cannot start a thread";
    const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || ::listen(fd, 1) != 0) return "cannot listen";
    return {};
  });
  EXPECT_EQ(failure, "");
}

TEST(SyscallFilter, ReachesThreadsThatAreThereAlready) {
  const std::string failure = in_child([]() -> std::string {
    std::atomic<int> step{0};
    std::atomic<bool> refused{false};
    std::thread other([&] {
      step = 1;
      while (step != 2) std::this_thread::yield();
      refused = is_refused(::kill(::getpid(), 0));
    });
    while (step != 1) std::this_thread::yield();
    const auto filtered = filter_own_syscalls(false);
    step = 2;
    other.join();
    if (!filtered) return to_string(filtered.error());
    return refused ? "" : "a thread is not filtered";
  });
  EXPECT_EQ(failure, "");
}

}  // namespace
}  // namespace goheapd
