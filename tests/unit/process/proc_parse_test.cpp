#include "daemon/process/proc_parse.h"

#include <gtest/gtest.h>

#include <array>

namespace goheapd::process {
namespace {

constexpr std::string_view kTail =
    " S 1 42 42 34816 -1 4194304 100 0 3 0 250 75 7 8 20 0 9 0 123456 1000 200 18446744073709551615 4194304 "
    "5000000 140722222222222 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0\n";

std::string stat_line(std::string_view comm) { return "42 (" + std::string(comm) + ")" + std::string(kTail); }

TEST(ParseStat, ReadsTheFieldsThatNameAProcess) {
  const auto stat = parse_stat(stat_line("server"));
  ASSERT_TRUE(stat);
  EXPECT_EQ(stat->pid, 42);
  EXPECT_EQ(stat->comm, "server");
  EXPECT_EQ(stat->state, 'S');
  EXPECT_EQ(stat->parent, 1);
  EXPECT_FALSE(stat->kernel_thread);
  EXPECT_EQ(stat->cpu_ticks, 325u);
  EXPECT_EQ(stat->start_time, 123456u);
  EXPECT_EQ(stat->virtual_bytes, 1000u);
  EXPECT_EQ(stat->resident_pages, 200u);
  EXPECT_EQ(stat->stack_start, 140722222222222u);
}

TEST(ParseStat, CommMayHoldAnything) {
  for (const std::string comm : {"a b", ") R 7 (", "", "((", "))", "a\nb", "\xff\xfe", "a) S 1 2 3"}) {
    const auto stat = parse_stat(stat_line(comm));
    ASSERT_TRUE(stat) << comm;
    EXPECT_EQ(stat->comm, comm);
    EXPECT_EQ(stat->start_time, 123456u) << comm;
  }
}

TEST(ParseStat, RecognisesKernelThreads) {
  std::string line = stat_line("kthreadd");
  line.replace(line.find("4194304"), 7, "2129984");  // PF_KTHREAD | PF_NOFREEZE | PF_FORKNOEXEC
  ASSERT_TRUE(parse_stat(line));
  EXPECT_TRUE(parse_stat(line)->kernel_thread);
}

TEST(ParseStat, RefusesWhatIsCutOrNoStatLine) {
  const std::string line = stat_line("server");
  // Everything up to the 28th field is needed.
  const size_t enough = line.find("140722222222222");
  for (size_t length = 0; length <= enough; ++length) {
    EXPECT_FALSE(parse_stat(std::string_view(line).substr(0, length))) << length;
  }
  EXPECT_FALSE(parse_stat(")("));
  EXPECT_FALSE(parse_stat("x" + line));
  std::string letters = line;
  letters.replace(letters.find("123456"), 6, "twelve");
  EXPECT_FALSE(parse_stat(letters));
}

TEST(ParseFileMappings, KeepsOnlyFiles) {
  const auto mappings = parse_file_mappings(
      "00400000-00500000 r-xp 00000000 fd:01 1234                               /usr/bin/server\n"
      "00500000-00600000 r--p 00100000 fd:01 1234                               /usr/bin/server\n"
      "c000000000-c000400000 rw-p 00000000 00:00 0 \n"
      "7f0000000000-7f0000001000 r-xp 00002000 00:2e 77                         /srv/a b\\012c (deleted)\n"
      "7ffc1fea6000-7ffc1fec7000 rw-p 00000000 00:00 0                          [stack]\n"
      "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]");
  ASSERT_EQ(mappings.size(), 3u);
  EXPECT_EQ(mappings[0].start, 0x400000u);
  EXPECT_EQ(mappings[0].end, 0x500000u);
  EXPECT_EQ(mappings[0].file_offset, 0u);
  EXPECT_EQ(mappings[0].inode, 1234u);
  EXPECT_TRUE(mappings[0].executable);
  EXPECT_EQ(mappings[0].path, "/usr/bin/server");
  EXPECT_EQ(mappings[1].file_offset, 0x100000u);
  EXPECT_FALSE(mappings[1].executable);
  EXPECT_EQ(mappings[2].path, "/srv/a b\\012c (deleted)");
}

TEST(ParseFileMappings, LeavesOutLinesThatMakeNoSense) {
  EXPECT_TRUE(parse_file_mappings("").empty());
  EXPECT_TRUE(parse_file_mappings("\n\n").empty());
  EXPECT_TRUE(parse_file_mappings("00500000-00400000 r-xp 0 0:0 1 /backwards\n").empty());
  EXPECT_TRUE(parse_file_mappings("00400000 r-xp 0 0:0 1 /no/end\n").empty());
  EXPECT_TRUE(parse_file_mappings("00400000-00500000 r-x 0 0:0 1 /short/permissions\n").empty());
  EXPECT_TRUE(parse_file_mappings("00400000-ffffffffffffffffff r-xp 0 0:0 1 /overflow\n").empty());
  EXPECT_TRUE(parse_file_mappings("00400000-00500000 r-xp 0 0:0\n").empty());
}

TEST(ParseNamespacePids, InnermostIsLast) {
  EXPECT_EQ(parse_namespace_pids("Name:\tx\nPid:\t31\nNSpid:\t31\t7\t1\nNSpgid:\t31\n"),
            (std::vector<pid_t>{31, 7, 1}));
  EXPECT_TRUE(parse_namespace_pids("Name:\tNSpid\n").empty());
  EXPECT_TRUE(parse_namespace_pids("NSpid:\t31\tx\n").empty());
}

TEST(ParseCgroupPaths, PutsTheUnifiedHierarchyFirst) {
  using Paths = std::vector<std::string>;
  EXPECT_EQ(parse_cgroup_paths("0::/system.slice/a.service\n"), Paths{"/system.slice/a.service"});
  EXPECT_EQ(parse_cgroup_paths("3:memory:/docker/abc\n0::/kube:pods/x\n1:name=systemd:/y\n"),
            (Paths{"/kube:pods/x", "/docker/abc", "/y"}));
}

TEST(ParseCgroupPaths, PutsRootsLast) {
  using Paths = std::vector<std::string>;
  EXPECT_EQ(parse_cgroup_paths("5:cpu:/c\n4:name=systemd:/s\n3:memory:/m\n0::/\n"),
            (Paths{"/m", "/s", "/c", "/"}));
  EXPECT_EQ(parse_cgroup_paths("4:name=systemd:/s\n3:memory:/\n0::/\n"), (Paths{"/s", "/", "/"}));
  EXPECT_TRUE(parse_cgroup_paths("nonsense\n1:2\n").empty());
}

TEST(FindAuxv, StopsAtTheEnd) {
  const std::array<uint64_t, 7> words = {3, 0x400040, 5, 11, 0, 0, 9};
  const ByteView bytes(words.data(), sizeof(words));
  EXPECT_EQ(find_auxv(bytes, 3), 0x400040u);
  EXPECT_EQ(find_auxv(bytes, 5), 11u);
  EXPECT_FALSE(find_auxv(bytes, 9));
  EXPECT_FALSE(find_auxv(ByteView(words.data(), 8), 3));
}

TEST(ParseLimits, SoftLimitsInTheirUnits) {
  const ProcessLimits limits = parse_limits(
      "Limit                     Soft Limit           Hard Limit           Units     \n"
      "Max cpu time              unlimited            unlimited            seconds   \n"
      "Max address space         unlimited            unlimited            bytes     \n"
      "Max open files            1024                 524288               files     \n");
  EXPECT_EQ(limits.open_files, 1024u);
  EXPECT_EQ(limits.address_space, UINT64_MAX);
  EXPECT_FALSE(parse_limits("").open_files);
  EXPECT_FALSE(parse_limits("Max open files").open_files);
  EXPECT_FALSE(parse_limits("Max open files            lots").open_files);
}

TEST(ParseBootTime, IsTheLineOfThatName) {
  EXPECT_EQ(parse_boot_time("cpu  1 2 3\nctxt 5\nbtime 1700000000\nprocesses 9\n"), 1'700'000'000u);
  EXPECT_FALSE(parse_boot_time("cpu  1 2 3\n"));
  EXPECT_FALSE(parse_boot_time("btime soon\n"));
}

}  // namespace
}  // namespace goheapd::process
