#include "exporters/prometheus/cgroup_memory.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace goheapd::exporters::prometheus_text {
namespace {

// A made-up /proc and /sys.
class CgroupMemoryTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "cgroup-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    root_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(root_); }
  void write(const std::string& path, const std::string& text) {
    std::filesystem::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text;
  }

  std::filesystem::path root_;
};

TEST_F(CgroupMemoryTest, NoneWithoutProc) {
  EXPECT_EQ(cgroup_memory(root_).limit, std::nullopt);
  EXPECT_EQ(cgroup_memory(root_).usage, std::nullopt);
}

TEST_F(CgroupMemoryTest, OwnGroupOfVersion2) {
  write("proc/self/cgroup", "0::/system.slice/goheapd.service\n");
  write("sys/fs/cgroup/system.slice/goheapd.service/memory.max", "536870912\n");
  write("sys/fs/cgroup/system.slice/memory.max", "max\n");
  EXPECT_EQ(cgroup_memory(root_).limit, 536'870'912U);
}

TEST_F(CgroupMemoryTest, TighterGroupAbove) {
  write("proc/self/cgroup", "0::/kubepods.slice/pod1.scope/container.scope\n");
  write("sys/fs/cgroup/kubepods.slice/pod1.scope/container.scope/memory.max", "1000000\n");
  write("sys/fs/cgroup/kubepods.slice/pod1.scope/memory.max", "900000\n");
  EXPECT_EQ(cgroup_memory(root_).limit, 900'000U);
}

// Without a cgroup namespace the name is the host's while the mount shows the container's own group.
TEST_F(CgroupMemoryTest, NamedFromTheHostsRoot) {
  write("proc/self/cgroup", "0::/kubepods.slice/pod1.scope/container.scope\n");
  write("sys/fs/cgroup/memory.max", "268435456\n");
  EXPECT_EQ(cgroup_memory(root_).limit, 268'435'456U);
}

TEST_F(CgroupMemoryTest, Unlimited) {
  write("proc/self/cgroup", "0::/\n");
  write("sys/fs/cgroup/memory.max", "max\n");
  EXPECT_EQ(cgroup_memory(root_).limit, std::nullopt);
}

TEST_F(CgroupMemoryTest, Version1) {
  write("proc/self/cgroup", "11:cpu,cpuacct:/other\n4:hugetlb,memory:/docker/abc\n0::/\n");
  write("sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes", "123456789\n");
  write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  EXPECT_EQ(cgroup_memory(root_).limit, 123'456'789U);
}

TEST_F(CgroupMemoryTest, UsageIsOfTheGroupThatSetsTheLimit) {
  write("proc/self/cgroup", "0::/kubepods.slice/pod1.scope/container.scope\n");
  write("sys/fs/cgroup/kubepods.slice/pod1.scope/container.scope/memory.max", "1000000\n");
  write("sys/fs/cgroup/kubepods.slice/pod1.scope/container.scope/memory.current", "300000\n");
  write("sys/fs/cgroup/kubepods.slice/pod1.scope/memory.max", "900000\n");
  write("sys/fs/cgroup/kubepods.slice/pod1.scope/memory.current", "800000\n");
  write("sys/fs/cgroup/kubepods.slice/pod1.scope/memory.stat",
        "anon 400000\ninactive_file 50000\nfile 90000\n");
  write("sys/fs/cgroup/kubepods.slice/memory.current", "5000000\n");
  EXPECT_EQ(cgroup_memory(root_).usage, 750'000U);
}

TEST_F(CgroupMemoryTest, UsageOfTheOwnGroupWithoutALimit) {
  write("proc/self/cgroup", "0::/system.slice/goheapd.service\n");
  write("sys/fs/cgroup/system.slice/goheapd.service/memory.max", "max\n");
  write("sys/fs/cgroup/system.slice/goheapd.service/memory.current", "300000\n");
  write("sys/fs/cgroup/system.slice/goheapd.service/memory.stat", "inactive_file 300001\n");
  write("sys/fs/cgroup/system.slice/memory.current", "5000000\n");
  EXPECT_EQ(cgroup_memory(root_).limit, std::nullopt);
  EXPECT_EQ(cgroup_memory(root_).usage, 0U);
}

TEST_F(CgroupMemoryTest, UsageOfVersion1CountsGroupsBelow) {
  write("proc/self/cgroup", "4:memory:/docker/abc\n0::/system.slice\n");
  write("sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes", "1000000\n");
  write("sys/fs/cgroup/memory/docker/abc/memory.usage_in_bytes", "800000\n");
  write("sys/fs/cgroup/memory/docker/abc/memory.stat", "inactive_file 1\ntotal_inactive_file 200000\n");
  EXPECT_EQ(cgroup_memory(root_).usage, 600'000U);
}

TEST_F(CgroupMemoryTest, DoesNotLeaveTheMount) {
  write("proc/self/cgroup", "0::/../outside\nnonsense\n0:\n");
  write("sys/fs/outside/memory.max", "1\n");
  EXPECT_EQ(cgroup_memory(root_).limit, std::nullopt);
}

}  // namespace
}  // namespace goheapd::exporters::prometheus_text
