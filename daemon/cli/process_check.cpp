#include "daemon/cli/process_check.h"

#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <string>

#include "daemon/gobin/go_marks.h"
#include "daemon/probe/host_support.h"

namespace goheapd::cli {
namespace {

std::string directory_of(pid_t pid) { return "/proc/" + std::to_string(pid); }

}  // namespace

std::string advice_on_access(bool is_root, bool sees_all) {
  if (!is_root) return "run goheapd as root";
  if (!sees_all)
    return "this root has no CAP_SYS_PTRACE: grant it (containers: securityContext, or --cap-add=SYS_PTRACE)";
  return "not even root with CAP_SYS_PTRACE may: a security module (AppArmor, SELinux) forbids it, or this "
         "is a user namespace and that is of another";
}

std::string advice_on_access() {
  return advice_on_access(::geteuid() == 0, probe::own_capabilities().sys_ptrace);
}

Expected<void> check_readable(pid_t pid) {
  const std::string name = "process " + std::to_string(pid);
  if (!std::filesystem::exists(directory_of(pid))) {
    return fail("no process with pid " + std::to_string(pid) +
                ": check the pid; of a program in a container the one that this host knows it by is needed");
  }
  if (::access((directory_of(pid) + "/exe").c_str(), R_OK) == 0) return {};
  const int error = errno;
  if (error == ENOENT) return fail(name + " runs no program: it is one of the kernel's, or has just ended");
  const std::string reason = to_string(Error{"cannot read the program of " + name, {}, error});
  return fail(reason + "; " + advice_on_access() + "; goheapd doctor says what else is missing");
}

Expected<void> check_go_program(pid_t pid) {
  if (auto readable = check_readable(pid); !readable) return readable;
  if (gobin::may_be_go(directory_of(pid) + "/exe")) return {};
  const std::string number = std::to_string(pid);
  return fail("process " + number + " is not a Go program: check the pid; ps -p " + number +
              " shows what it is, goheapd serve finds all Go programs of this host");
}

}  // namespace goheapd::cli
