#include "daemon/process/proc_fs.h"

#include <elf.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <link.h>
#include <spawn.h>
#include <sys/auxv.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <ctime>

#include "daemon/base/clock.h"
#include "tests/unit/process/fake_proc.h"

namespace goheapd::process {
namespace {

constexpr pid_t kPid = kFirstFakePid;

ProcFs open_proc(const std::string& root = "/proc") {
  auto proc = ProcFs::open(root);
  EXPECT_TRUE(proc) << to_string(proc.error());
  return *std::move(proc);
}

std::string auxv(uint64_t program_headers) {
  const std::array<uint64_t, 4> words = {AT_PHDR, program_headers, 0, 0};
  return std::string(reinterpret_cast<const char*>(words.data()), sizeof(words));
}

TEST(ProcFs, RootMustExist) {
  const auto proc = ProcFs::open("/nonexistent/proc");
  ASSERT_FALSE(proc);
  EXPECT_EQ(proc.error().errno_value, ENOENT);
}

TEST(ProcFs, ListsOnlyProcesses) {
  FakeProc fake;
  fake.put(kPid, {});
  fake.put(kPid + 1, {});
  fake.executable("sleep");
  std::filesystem::create_directory(fake.root() + "/12x");
  std::filesystem::create_directory(fake.root() + "/0");
  std::filesystem::create_directory(fake.root() + "/99999999999999");
  const ProcFs proc = open_proc(fake.root());
  for (int round = 0; round < 2; ++round) {  // listing anew starts at the beginning
    auto pids = proc.pids();
    ASSERT_TRUE(pids);
    std::sort(pids->begin(), pids->end());
    EXPECT_EQ(*pids, (std::vector<pid_t>{kPid, kPid + 1}));
  }
}

TEST(ProcFs, KnowsOurselves) {
  const ProcFs proc = open_proc();
  const auto pids = proc.pids();
  ASSERT_TRUE(pids);
  EXPECT_NE(std::find(pids->begin(), pids->end(), ::getpid()), pids->end());

  const auto stat = proc.stat(::getpid());
  ASSERT_TRUE(stat);
  EXPECT_EQ(stat->parent, ::getppid());
  EXPECT_NE(stat->stack_start, 0u);
  EXPECT_FALSE(stat->kernel_thread);

  const auto path = proc.exe_path(::getpid());
  ASSERT_TRUE(path);
  EXPECT_EQ(*path, std::filesystem::read_symlink("/proc/self/exe").string());
  const auto cgroups = proc.cgroup_paths(::getpid());
  ASSERT_FALSE(cgroups.empty());
  EXPECT_EQ(cgroups.front().front(), '/');
  const auto namespace_pids = proc.namespace_pids(::getpid());
  ASSERT_TRUE(namespace_pids);
  EXPECT_EQ(namespace_pids->front(), ::getpid());
}

TEST(ProcFs, ProgramStartIsWhereOurElfHeaderIs) {
  const ProcFs proc = open_proc();
  const auto start = proc.program_start(::getpid());
  ASSERT_TRUE(start) << to_string(start.error());
  const auto* header = reinterpret_cast<const ElfW(Ehdr)*>(*start);
  EXPECT_EQ(header->e_ident[EI_MAG1], 'E');
  EXPECT_EQ(*start + header->e_phoff, ::getauxval(AT_PHDR));
}

TEST(ProcFs, ProgramStartIsFoundWithoutTheAuxiliaryVector) {
  const ProcFs proc = open_proc();
  const auto by_headers = proc.program_start(::getpid());
  const auto by_code = proc.program_start_by_code(::getpid());
  ASSERT_TRUE(by_code) << to_string(by_code.error());
  EXPECT_EQ(*by_code, by_headers.value_or(0));
}

TEST(ProcFs, ProgramStartWithoutTheAuxiliaryVectorIsOfTheFileWithTheCode) {
  FakeProc fake;
  fake.put(kPid, {});
  fake.write(kPid, "maps",
             "00400000-00500000 r--p 00000000 fd:01 9 /other\n"
             "7f0000000000-7f0000001000 r--p 00000000 00:2e 77 /name\n"
             "7f0000001000-7f0000003000 r-xp 00001000 00:2e 77 /name\n");
  const ProcFs proc = open_proc(fake.root());
  const auto put_code_at = [&fake](uint64_t address) {
    fake.write(kPid, "stat",
               std::to_string(kPid) + " (fake) S 1 1 1 0 -1 4194304 0 0 0 0 3 4 0 0 20 0 1 0 100 0 0 0 " +
                   std::to_string(address) + " 0 7 0 0 0 0\n");
  };
  put_code_at(0x7f0000001000);
  EXPECT_EQ(proc.program_start_by_code(kPid).value_or(0), 0x7f0000000000u);
  put_code_at(1);  // what the kernel says to those who may not know
  EXPECT_FALSE(proc.program_start_by_code(kPid));
  put_code_at(0x7f0000001000);
  fake.write(kPid, "maps",
             "7f0000000000-7f0000001000 r--p 00000000 00:2e 78 /other\n"
             "7f0000001000-7f0000003000 r-xp 00001000 00:2e 77 /name\n");
  EXPECT_FALSE(proc.program_start_by_code(kPid));
}

TEST(ProcFs, ProgramStartFollowsTheProgramHeadersAndNotTheNames) {
  FakeProc fake;
  fake.put(kPid, {});
  fake.write(kPid, "maps",
             "00400000-00500000 r-xp 00000000 fd:01 9 /decoy\n"
             "7f0000001000-7f0000003000 r--p 00001000 00:2e 77 /upper/name (deleted)\n"
             "7f0000003000-7f0000004000 r-xp 00003000 00:2e 77 /upper/name (deleted)\n");
  fake.write(kPid, "auxv", auxv(0x7f0000001040));
  const ProcFs proc = open_proc(fake.root());
  EXPECT_EQ(proc.program_start(kPid).value_or(0), 0x7f0000000000u);

  fake.write(kPid, "auxv", auxv(0x7f0000009040));
  EXPECT_FALSE(proc.program_start(kPid));
  fake.write(kPid, "auxv", "");
  EXPECT_FALSE(proc.program_start(kPid));
}

TEST(ProcFs, CpuTimeGrowsAsWeCompute) {
  const ProcFs proc = open_proc();
  const auto before = proc.cpu_time_ns(::getpid());
  ASSERT_TRUE(before);
  timespec start{};
  timespec now{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &start);
  const auto used_ns = [&] {
    return (now.tv_sec - start.tv_sec) * 1'000'000'000 + (now.tv_nsec - start.tv_nsec);
  };
  do {
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  } while (used_ns() < 60'000'000);
  const auto after = proc.cpu_time_ns(::getpid());
  ASSERT_TRUE(after);
  // 60 ms, give or take a tick at each end.
  EXPECT_GE(*after - *before, 40'000'000u);
  EXPECT_LE(*after - *before, 500'000'000u);
}

TEST(ProcFs, UsageOfThisProcess) {
  const ProcFs proc = open_proc();
  const UniqueFd one_more(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  const auto usage = proc.usage(::getpid());
  ASSERT_TRUE(usage) << to_string(usage.error());
  EXPECT_GT(usage->resident_bytes, 1u << 20);
  EXPECT_GT(usage->virtual_bytes, usage->resident_bytes);
  EXPECT_GE(usage->open_fds, 4u);  // with the three standard ones
  EXPECT_EQ(usage->max_fds, limit.rlim_cur);
  EXPECT_TRUE(usage->max_virtual_bytes);
  // Started before now, and not long ago.
  const double now = static_cast<double>(wall_time_ns()) * 1e-9;
  EXPECT_LE(usage->start_seconds, now + 2);
  EXPECT_GT(usage->start_seconds, now - 3600);
  EXPECT_EQ(proc.usage(::getpid())->start_seconds, usage->start_seconds);
}

TEST(ProcFs, UsageLeavesOutWhatCannotBeRead) {
  FakeProc fake;
  fake.put(kPid, {});
  const auto usage = open_proc(fake.root()).usage(kPid);
  ASSERT_TRUE(usage) << to_string(usage.error());
  EXPECT_FALSE(usage->open_fds);
  EXPECT_FALSE(usage->max_fds);
}

TEST(ProcFs, GoneProcessesSayEnoent) {
  const ProcFs proc = open_proc();
  EXPECT_EQ(proc.stat(kPid).error().errno_value, ENOENT);
  EXPECT_EQ(proc.exe(kPid).error().errno_value, ENOENT);
  EXPECT_EQ(proc.file_mappings(kPid).error().errno_value, ENOENT);
}

TEST(ProcFs, BrokenFilesAreErrors) {
  FakeProc fake;
  fake.put(kPid, {});
  fake.write(kPid, "stat", "garbage");
  fake.write(kPid, "cgroup", "garbage");
  fake.write(kPid, "status", std::string(1u << 20, 'x'));
  const ProcFs proc = open_proc(fake.root());
  EXPECT_FALSE(proc.stat(kPid));
  EXPECT_TRUE(proc.cgroup_paths(kPid).empty());
  EXPECT_EQ(proc.namespace_pids(kPid).error().errno_value, EFBIG);
}

class ProgramPath : public ::testing::Test {
 protected:
  // A process that runs a copy of a program, of this name.
  pid_t start(const std::string& name) {
    path_ = directory_.executable(name);
    std::filesystem::copy_file("/bin/sleep", path_, std::filesystem::copy_options::overwrite_existing);
    std::string path = path_;
    std::string argument = "60";
    char* const arguments[] = {path.data(), argument.data(), nullptr};
    EXPECT_EQ(::posix_spawn(&pid_, path_.c_str(), nullptr, nullptr, arguments, environ), 0);
    return pid_;
  }
  ~ProgramPath() override {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }

  FakeProc directory_;
  std::string path_;
  pid_t pid_ = 0;
  const ProcFs proc_ = open_proc();
};

TEST_F(ProgramPath, IsThatOfAFileThatIsGone) {
  const pid_t pid = start("tool");
  EXPECT_EQ(proc_.program_path(pid).value_or(""), path_);
  std::filesystem::remove(path_);
  EXPECT_EQ(proc_.exe_path(pid).value_or(""), path_ + " (deleted)");
  EXPECT_EQ(proc_.program_path(pid).value_or(""), path_);
}

TEST_F(ProgramPath, IsThatOfAFileThatWasReplaced) {
  const pid_t pid = start("tool");
  std::filesystem::create_hard_link(path_, path_ + ".old");
  std::filesystem::copy_file("/bin/sleep", path_ + ".new");
  std::filesystem::rename(path_ + ".new", path_);
  EXPECT_EQ(proc_.program_path(pid).value_or(""), path_);
}

TEST_F(ProgramPath, MayEndLikeThatOfAFileThatIsGone) {
  const pid_t pid = start("tool (deleted)");
  EXPECT_EQ(proc_.program_path(pid).value_or(""), path_);
  std::filesystem::remove(path_);
  EXPECT_EQ(proc_.program_path(pid).value_or(""), path_);
}

TEST(ProcFs, ExeTellsFilesApart) {
  FakeProc fake;
  fake.put(kPid, {.exe = fake.executable("a")});
  fake.put(kPid + 1, {.exe = fake.executable("a")});
  fake.put(kPid + 2, {.exe = fake.executable("b")});
  const ProcFs proc = open_proc(fake.root());
  const auto first = proc.exe(kPid);
  const auto second = proc.exe(kPid + 1);
  const auto third = proc.exe(kPid + 2);
  ASSERT_TRUE(first && second && third);
  EXPECT_EQ(*first, *second);
  EXPECT_FALSE(first->same_inode(*third));
}

}  // namespace
}  // namespace goheapd::process
