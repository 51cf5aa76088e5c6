#include "daemon/cli/process_check.h"

#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <string>

#include "daemon/gobin/go_marks.h"

namespace goheapd::cli {
namespace {

std::string directory_of(pid_t pid) { return "/proc/" + std::to_string(pid); }

}  // namespace

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
  return fail(reason + "; run goheapd as root; goheapd doctor says what else is missing");
}

Expected<void> check_go_program(pid_t pid) {
  if (auto readable = check_readable(pid); !readable) return readable;
  if (gobin::may_be_go(directory_of(pid) + "/exe")) return {};
  const std::string number = std::to_string(pid);
  return fail("process " + number + " is not a Go program: check the pid; ps -p " + number +
              " shows what it is, goheapd serve finds all Go programs of this host");
}

}  // namespace goheapd::cli
