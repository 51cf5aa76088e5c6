// Which capabilities are enough on this kernel to probe another user's process: the least with uprobe_multi links, more
// without. Runs here and on the kernels of tests/vm.
#include <grp.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>

#include "daemon/probe/host_support.h"
#include "tests/bpf/target_fixture.h"

namespace goheapd::testing {
namespace {

// Not in Debian 12's <linux/capability.h> under the names of older kernels; the numbers are ABI.
constexpr unsigned kSysPtrace = CAP_SYS_PTRACE;
constexpr unsigned kSysAdmin = CAP_SYS_ADMIN;
constexpr unsigned kPerfmon = 38;
constexpr unsigned kBpf = 39;
constexpr unsigned kNobody = 65534;

struct Case {
  std::string name;
  std::vector<unsigned> capabilities;
  bool enough_with_uprobe_multi;
  bool enough_without;
};

// From now on this process is nobody with these capabilities, as systemd would start it.
bool become(const std::vector<unsigned>& capabilities) {
  const rlimit unlimited{RLIM_INFINITY, RLIM_INFINITY};
  ::setrlimit(RLIMIT_MEMLOCK, &unlimited);  // LimitMEMLOCK=infinity, for kernels before 5.11
  if (::prctl(PR_SET_KEEPCAPS, 1) != 0 || ::setgroups(0, nullptr) != 0) return false;
  if (::setresgid(kNobody, kNobody, kNobody) != 0 || ::setresuid(kNobody, kNobody, kNobody) != 0)
    return false;
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, 2> sets{};
  for (const unsigned capability : capabilities) {
    sets[capability / 32].effective |= 1u << capability % 32;
    sets[capability / 32].permitted |= 1u << capability % 32;
  }
  // A process that was started as nobody may be looked at by itself; one that became nobody has to say so.
  return ::syscall(SYS_capset, &header, sets.data()) == 0 && ::prctl(PR_SET_DUMPABLE, 1) == 0;
}

bool has_uprobe_multi() {
  const std::array methods = {probe::AttachMethod::uprobe_multi};
  return probe::inspect_host(methods).method.has_value();
}

// Empty if a process with these capabilities could attach, else what it was told.
std::string attach_as(const std::vector<unsigned>& capabilities, const probe::AttachRequest& request) {
  int answer[2];
  if (::pipe(answer) != 0) return "no pipe";
  const pid_t child = ::fork();
  if (child == 0) {
    const auto work = [&]() -> std::string {
      if (!become(capabilities)) return "cannot become nobody";
      auto collector =
          probe::Collector::create({}, {.event = [](model::Event&&) {}, .stack = [](model::ExactStack&&) {}});
      if (!collector) return to_string(collector.error());
      const auto attached = collector->attach(request);
      return attached ? "" : to_string(attached.error());
    };
    const std::string text = work();
    const ssize_t written = ::write(answer[1], text.data(), text.size());
    ::_exit(written == static_cast<ssize_t>(text.size()) ? 0 : 1);
  }
  ::close(answer[1]);
  std::string text;
  std::array<char, 4096> chunk{};
  for (ssize_t got = 0; (got = ::read(answer[0], chunk.data(), chunk.size())) > 0;)
    text.append(chunk.data(), static_cast<size_t>(got));
  ::close(answer[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  if (status != 0) return "the child ended with status " + std::to_string(status) + " " + text;
  return text;
}

class Capabilities : public ::testing::TestWithParam<Case> {};

TEST_P(Capabilities, AreEnoughOrMissed) {
  GoProgram program(build_go_program("allocator", {.minor = go_minors().back()}));
  const auto request = request_for(program, Watch::exact);
  const bool enough = has_uprobe_multi() ? GetParam().enough_with_uprobe_multi : GetParam().enough_without;
  const std::string failure = attach_as(GetParam().capabilities, request);
  EXPECT_EQ(failure.empty(), enough) << failure;
  // What is missing is named.
  if (!enough) {
    EXPECT_NE(failure.find("CAP_"), std::string::npos) << failure;
  }
  EXPECT_EQ(program.ask("work mixed 10"), "done");
}

INSTANTIATE_TEST_SUITE_P(
    Of, Capabilities,
    ::testing::Values(Case{"none", {}, false, false}, Case{"perfmon", {kPerfmon}, false, false},
                      Case{"bpf_perfmon", {kBpf, kPerfmon}, false, false},
                      Case{"bpf_perfmon_ptrace", {kBpf, kPerfmon, kSysPtrace}, true, false},
                      Case{"sys_admin_ptrace", {kSysAdmin, kSysPtrace}, true, true}),
    [](const auto& parameter) { return parameter.param.name; });

}  // namespace
}  // namespace goheapd::testing
