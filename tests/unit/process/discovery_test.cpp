#include "daemon/process/discovery.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/personality.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <map>

#include "daemon/base/clock.h"
#include "tests/unit/process/fake_proc.h"

namespace goheapd::process {
namespace {

using Kind = ProcessChange::Kind;
constexpr pid_t kPid = kFirstFakePid;
constexpr int kScansPerRotation = 16;

// A fake /proc and a Discovery on it; files are watched unless the test says otherwise.
class FakeWorld : public testing::Test {
 protected:
  Discovery discover() {
    auto discovery = Discovery::create(proc_, [this](const ProcessSighting& sighting) {
      judged_.push_back(sighting);
      const auto verdict = verdicts_.find(sighting.exe.inode);
      return verdict == verdicts_.end() ? Interest::watch : verdict->second;
    });
    EXPECT_TRUE(discovery);
    return *std::move(discovery);
  }
  std::string executable(const std::string& name, Interest interest) {
    std::string path = fake_.executable(name);
    struct stat status {};
    ::stat(path.c_str(), &status);
    verdicts_[status.st_ino] = interest;
    return path;
  }
  static std::vector<ProcessChange> scan(Discovery& discovery) {
    auto changes = discovery.scan();
    EXPECT_TRUE(changes);
    return *std::move(changes);
  }
  // As many scans as it takes until every process was looked at.
  static std::vector<ProcessChange> scan_all(Discovery& discovery) {
    std::vector<ProcessChange> all;
    for (int i = 0; i < kScansPerRotation; ++i) {
      for (auto& change : scan(discovery)) all.push_back(std::move(change));
    }
    return all;
  }

  FakeProc fake_;
  ProcFs proc_ = *ProcFs::open(fake_.root());
  std::map<uint64_t, Interest> verdicts_;
  std::vector<ProcessSighting> judged_;
};

TEST_F(FakeWorld, ReportsEachProcessOnce) {
  const std::string exe = executable("go", Interest::watch);
  fake_.put(kPid, {.exe = exe, .start_time = 5, .comm = "one"});
  fake_.put(kPid + 1, {.exe = exe, .start_time = 6, .comm = "two"});
  Discovery discovery = discover();
  const auto changes = scan(discovery);
  ASSERT_EQ(changes.size(), 2u);
  for (const auto& change : changes) {
    EXPECT_EQ(change.kind, Kind::appeared);
    EXPECT_EQ(change.process.key.start_time, change.process.key.pid == kPid ? 5u : 6u);
    EXPECT_EQ(change.process.comm, change.process.key.pid == kPid ? "one" : "two");
  }
  EXPECT_TRUE(scan_all(discovery).empty());
  EXPECT_EQ(judged_.size(), 2u);
}

TEST_F(FakeWorld, SkipsWhatHasNoProgram) {
  fake_.put(kPid, {.exe = ""});
  Discovery discovery = discover();
  EXPECT_TRUE(scan_all(discovery).empty());
  EXPECT_TRUE(judged_.empty());
}

TEST_F(FakeWorld, JudgesAnIgnoredFileOnce) {
  const std::string exe = executable("sh", Interest::ignore_file);
  for (pid_t pid = kPid; pid < kPid + 50; ++pid) fake_.put(pid, {.exe = exe});
  Discovery discovery = discover();
  EXPECT_TRUE(scan_all(discovery).empty());
  EXPECT_EQ(judged_.size(), 1u);
}

TEST_F(FakeWorld, JudgesAnIgnoredProcessOnceButNotItsFile) {
  const std::string exe = executable("other", Interest::ignore_process);
  fake_.put(kPid, {.exe = exe});
  fake_.put(kPid + 1, {.exe = exe});
  Discovery discovery = discover();
  EXPECT_TRUE(scan_all(discovery).empty());
  EXPECT_EQ(judged_.size(), 2u);
}

TEST_F(FakeWorld, ExitIsTheDirectoryGone) {
  fake_.put(kPid, {.exe = executable("go", Interest::watch)});
  fake_.put(kPid + 1, {.exe = executable("sh", Interest::ignore_file)});
  Discovery discovery = discover();
  EXPECT_EQ(scan(discovery).size(), 1u);
  fake_.remove(kPid);
  fake_.remove(kPid + 1);
  const auto changes = scan(discovery);
  ASSERT_EQ(changes.size(), 1u);
  EXPECT_EQ(changes[0].kind, Kind::exited);
  EXPECT_EQ(changes[0].process.key.pid, kPid);
  EXPECT_EQ(discovery.processes(), 0u);
}

TEST_F(FakeWorld, ExecOfAnotherFileEndsOneProgramAndBeginsAnother) {
  fake_.put(kPid, {.exe = executable("a", Interest::watch)});
  Discovery discovery = discover();
  EXPECT_EQ(scan(discovery).size(), 1u);
  fake_.put(kPid, {.exe = executable("b", Interest::watch), .stack_start = 8});
  const auto changes = scan(discovery);
  ASSERT_EQ(changes.size(), 2u);
  EXPECT_EQ(changes[0].kind, Kind::replaced);
  EXPECT_EQ(changes[0].process.key.exec_count, 0u);
  EXPECT_EQ(changes[1].kind, Kind::appeared);
  EXPECT_EQ(changes[1].process.key.exec_count, 1u);
  EXPECT_EQ(changes[1].process.key.start_time, changes[0].process.key.start_time);
}

TEST_F(FakeWorld, ExecOfAnIgnoredFileOnlyEndsTheProgram) {
  fake_.put(kPid, {.exe = executable("a", Interest::watch)});
  const std::string shell = executable("sh", Interest::ignore_file);
  fake_.put(kPid + 1, {.exe = shell});
  Discovery discovery = discover();
  EXPECT_EQ(scan(discovery).size(), 1u);
  fake_.put(kPid, {.exe = shell, .stack_start = 8});
  const auto changes = scan(discovery);
  ASSERT_EQ(changes.size(), 1u);
  EXPECT_EQ(changes[0].kind, Kind::replaced);
  EXPECT_TRUE(scan_all(discovery).empty());
}

TEST_F(FakeWorld, AScanSeesAnExecOfTheSameFileByItsStack) {
  const std::string exe = executable("a", Interest::watch);
  fake_.put(kPid, {.exe = exe});
  Discovery discovery = discover();
  EXPECT_EQ(scan(discovery).size(), 1u);
  fake_.put(kPid, {.exe = exe, .stack_start = 8});
  const auto changes = scan(discovery);
  ASSERT_EQ(changes.size(), 2u);
  EXPECT_EQ(changes[1].process.key.exec_count, 1u);
}

TEST_F(FakeWorld, AHintIsProofOfAnExecEvenIfNothingElseShowsIt) {
  fake_.put(kPid, {.exe = executable("a", Interest::watch)});
  Discovery discovery = discover();
  EXPECT_EQ(scan(discovery).size(), 1u);
  const auto changes = discovery.on_exec_hint(kPid, kernel_time_ns());
  ASSERT_EQ(changes.size(), 2u);
  EXPECT_EQ(changes[0].kind, Kind::replaced);
  EXPECT_EQ(changes[1].process.key.exec_count, 1u);
}

TEST_F(FakeWorld, AHintOfAnExecThatAScanHasSeenChangesNothing) {
  const uint64_t executed = kernel_time_ns();
  fake_.put(kPid, {.exe = executable("a", Interest::watch)});
  Discovery discovery = discover();
  EXPECT_EQ(scan(discovery).size(), 1u);
  EXPECT_TRUE(discovery.on_exec_hint(kPid, executed).empty());
}

TEST_F(FakeWorld, AHintFindsAProcessThatNoScanHasSeen) {
  Discovery discovery = discover();
  EXPECT_TRUE(scan(discovery).empty());
  fake_.put(kPid, {.exe = executable("a", Interest::watch)});
  EXPECT_EQ(discovery.on_exec_hint(kPid, kernel_time_ns()).size(), 1u);
  EXPECT_TRUE(scan_all(discovery).empty());
  // A hint that comes after the process is gone.
  EXPECT_TRUE(discovery.on_exec_hint(kPid + 9, kernel_time_ns()).empty());
  EXPECT_TRUE(scan(discovery).empty());
}

TEST_F(FakeWorld, AReusedPidIsAnotherProcess) {
  const std::string exe = executable("a", Interest::watch);
  fake_.put(kPid, {.exe = exe, .start_time = 5});
  Discovery discovery = discover();
  EXPECT_EQ(scan(discovery).size(), 1u);
  fake_.put(kPid, {.exe = exe, .start_time = 6});
  const auto changes = scan(discovery);
  ASSERT_EQ(changes.size(), 2u);
  EXPECT_EQ(changes[0].kind, Kind::exited);
  EXPECT_EQ(changes[0].process.key.start_time, 5u);
  EXPECT_EQ(changes[1].kind, Kind::appeared);
  EXPECT_EQ(changes[1].process.key.start_time, 6u);
  EXPECT_EQ(changes[1].process.key.exec_count, 0u);
}

TEST_F(FakeWorld, AForkedChildGetsTimeToExecute) {
  const std::string exe = executable("go", Interest::watch);
  fake_.put(kPid, {.exe = exe});
  Discovery discovery = discover();
  EXPECT_EQ(scan(discovery).size(), 1u);
  fake_.put(kPid + 1, {.exe = exe, .parent = kPid});  // executes "ls" before the next scan
  fake_.put(kPid + 2, {.exe = exe, .parent = kPid});  // stays
  EXPECT_TRUE(scan(discovery).empty());
  fake_.put(kPid + 1, {.exe = executable("ls", Interest::ignore_file), .stack_start = 8, .parent = kPid});
  const auto changes = scan(discovery);
  ASSERT_EQ(changes.size(), 1u);
  EXPECT_EQ(changes[0].process.key.pid, kPid + 2);
}

TEST_F(FakeWorld, OldProcessesAreLookedAtInTurns) {
  const std::string exe = executable("sh", Interest::ignore_file);
  constexpr int kProcesses = 160;
  for (pid_t pid = kPid; pid < kPid + kProcesses; ++pid) fake_.put(pid, {.exe = exe});
  Discovery discovery = discover();
  scan_all(discovery);
  uint64_t before = discovery.counters().checks;
  for (int i = 0; i < kScansPerRotation; ++i) {
    scan(discovery);
    EXPECT_EQ(discovery.counters().checks - before, kProcesses / kScansPerRotation);
    before = discovery.counters().checks;
  }
  // An old one that executes something is found within a rotation, and is young again then.
  fake_.put(kPid, {.exe = executable("go", Interest::watch), .stack_start = 8});
  EXPECT_EQ(scan_all(discovery).size(), 1u);
}

// ---- real processes: children of this test ----

class RealWorld : public testing::Test {
 protected:
  void TearDown() override {
    for (const pid_t child : children_) {
      ::kill(child, SIGKILL);
      ::waitpid(child, nullptr, 0);
    }
  }
  // Runs a program; returns when the exec is done (the pipe's write end closes with it).
  pid_t run(const std::vector<const char*>& arguments) {
    std::array<int, 2> executed{};
    EXPECT_EQ(::pipe2(executed.data(), O_CLOEXEC), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      std::vector<char*> argv;
      for (const char* argument : arguments) argv.push_back(const_cast<char*>(argument));
      argv.push_back(nullptr);
      // ThreadSanitizer may have turned address randomization off for itself, and children inherit that.
      ::personality(PER_LINUX);
      ::execv(argv[0], argv.data());
      ::_exit(127);
    }
    ::close(executed[1]);
    char byte = 0;
    EXPECT_EQ(::read(executed[0], &byte, 1), 0);
    ::close(executed[0]);
    children_.push_back(child);
    return child;
  }
  Discovery discover() {
    auto discovery = Discovery::create(proc_, [this](const ProcessSighting& sighting) {
      for (const pid_t child : children_) {
        if (child == sighting.key.pid) return Interest::watch;
      }
      return Interest::ignore_process;
    });
    EXPECT_TRUE(discovery);
    return *std::move(discovery);
  }
  static bool readable(int fd, int timeout_ms) {
    pollfd entry{fd, POLLIN, 0};
    return ::poll(&entry, 1, timeout_ms) == 1;
  }

  ProcFs proc_ = *ProcFs::open();
  std::vector<pid_t> children_;
};

TEST_F(RealWorld, ExitIsToldAtOnce) {
  const pid_t child = run({"/bin/sleep", "1000"});
  Discovery discovery = discover();
  const auto changes = discovery.scan();
  ASSERT_TRUE(changes);
  ASSERT_EQ(changes->size(), 1u);
  EXPECT_EQ((*changes)[0].process.comm, "sleep");
  EXPECT_EQ(discovery.counters().without_exit_notice, 0u);
  EXPECT_FALSE(readable(discovery.exit_fd(), 0));
  EXPECT_TRUE(discovery.take_exits().empty());

  ::kill(child, SIGKILL);
  ASSERT_TRUE(readable(discovery.exit_fd(), 2000));
  const auto exits = discovery.take_exits();
  ASSERT_EQ(exits.size(), 1u);
  EXPECT_EQ(exits[0].kind, Kind::exited);
  EXPECT_EQ(exits[0].process.key, (*changes)[0].process.key);
  EXPECT_FALSE(readable(discovery.exit_fd(), 0));
}

// Under another user, who has no capabilities: 0 if what it finds denied is right, else which of the checks was not.
int what_is_wrong_as_nobody(const ProcFs& proc, pid_t of_root, pid_t zombie, const std::string& hidden_file) {
  if (::geteuid() == 0 && (::setresgid(65534, 65534, 65534) != 0 || ::setresuid(65534, 65534, 65534) != 0))
    return 2;
  auto discovery = Discovery::create(proc, [](const auto&) { return Interest::ignore_process; });
  if (!discovery || !discovery->scan()) return 3;
  const auto denied = discovery->denied();
  const auto has = [&denied](pid_t pid) {
    return std::find(denied.begin(), denied.end(), pid) != denied.end();
  };
  if (!has(of_root)) return 4;
  if (has(zombie) || has(::getpid())) return 5;
  for (const pid_t pid : denied) {
    const auto stat = proc.stat(pid);
    if (stat && stat->kernel_thread) return 6;
  }
  // A file that its own file system hides, as FUSE does from root, too.
  FakeProc fake;
  fake.put(kPid, {.exe = hidden_file});
  const ProcFs other = *ProcFs::open(fake.root());
  if (const auto exe = other.exe(kPid); exe || !is_forbidden(exe.error())) return 7;
  auto of_fake = Discovery::create(other, [](const auto&) { return Interest::ignore_process; });
  return of_fake && of_fake->scan() && of_fake->denied().empty() ? 0 : 8;
}

TEST_F(RealWorld, WhatMayNotBeLookedAtIsKnown) {
  const pid_t zombie = ::fork();
  if (zombie == 0) ::_exit(0);
  siginfo_t info{};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(zombie), &info, WEXITED | WNOWAIT), 0);
  FakeProc hidden;  // a directory that nobody else may enter
  const std::string file = hidden.executable("hidden");
  const pid_t of_root = ::geteuid() == 0 ? ::getpid() : 1;
  const pid_t nobody = ::fork();
  if (nobody == 0) ::_exit(what_is_wrong_as_nobody(proc_, of_root, zombie, file));
  int status = 0;
  ASSERT_EQ(::waitpid(nobody, &status, 0), nobody);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
  ::waitpid(zombie, nullptr, 0);
}

TEST_F(RealWorld, ManyExitsAtOnce) {
  for (int i = 0; i < 100; ++i) run({"/bin/sleep", "1000"});
  Discovery discovery = discover();
  EXPECT_EQ(discovery.scan()->size(), 100u);
  for (const pid_t child : children_) ::kill(child, SIGKILL);
  for (const pid_t child : children_) {
    siginfo_t info{};
    ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT), 0);
  }
  EXPECT_EQ(discovery.take_exits().size(), 100u);
}

// sh executes itself: same pid, same file, same start time.
TEST_F(RealWorld, ExecOfTheSameFileIsSeen) {
  const pid_t child = run({"/bin/sh", "-c", "kill -STOP $$; exec /bin/sh -c 'kill -STOP $$; :'"});
  siginfo_t info{};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(child), &info, WSTOPPED), 0);
  Discovery discovery = discover();
  const auto before = discovery.scan();
  ASSERT_TRUE(before);
  ASSERT_EQ(before->size(), 1u);

  ::kill(child, SIGCONT);
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(child), &info, WSTOPPED), 0);
  const auto after = discovery.scan();
  ASSERT_TRUE(after);
  ASSERT_EQ(after->size(), 2u);
  EXPECT_EQ((*after)[0].kind, Kind::replaced);
  EXPECT_EQ((*after)[1].kind, Kind::appeared);
  EXPECT_EQ((*after)[1].process.key.exec_count, 1u);
  EXPECT_EQ((*after)[1].process.key.start_time, (*before)[0].process.key.start_time);
  ::kill(child, SIGCONT);
}

}  // namespace
}  // namespace goheapd::process
