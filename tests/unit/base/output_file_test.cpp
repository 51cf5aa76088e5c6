#include "daemon/base/output_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "daemon/base/unique_fd.h"

namespace goheapd {
namespace {

namespace fs = std::filesystem;

class OutputFile : public ::testing::Test {
 protected:
  OutputFile() {
    std::string pattern = testing::TempDir() + "goheapd-output-XXXXXX";
    directory_ = ::mkdtemp(pattern.data());
  }
  ~OutputFile() override { fs::remove_all(directory_); }

  std::string at(const std::string& name) const { return (directory_ / name).string(); }
  void put(const std::string& name, const std::string& text) const { std::ofstream(at(name)) << text; }
  std::string text_of(const std::string& name) const {
    std::ifstream file(at(name));
    return {std::istreambuf_iterator<char>(file), {}};
  }
  std::vector<std::string> names() const {
    std::vector<std::string> found;
    std::transform(fs::directory_iterator(directory_), {}, std::back_inserter(found),
                   [](const fs::directory_entry& entry) { return entry.path().filename().string(); });
    std::sort(found.begin(), found.end());
    return found;
  }

  // What both say: that it works, or the errno.
  int both(const std::string& path) const {
    const auto checked = check_output_file(path);
    const auto written = write_output_file(path, "new");
    EXPECT_EQ(checked.has_value(), written.has_value()) << path;
    if (written) return 0;
    EXPECT_EQ(written.error().what, "cannot write");
    EXPECT_EQ(checked.error().errno_value, written.error().errno_value) << path;
    return written.error().errno_value;
  }

  fs::path directory_;
};

TEST_F(OutputFile, IsWrittenAndReplacedWhole) {
  ASSERT_TRUE(write_output_file(at("a"), "first"));
  EXPECT_EQ(text_of("a"), "first");
  fs::create_hard_link(at("a"), at("b"));
  ASSERT_TRUE(write_output_file(at("a"), "2"));
  EXPECT_EQ(text_of("a"), "2");
  EXPECT_EQ(text_of("b"), "first");  // nobody who reads the old one sees half of the new one
  EXPECT_EQ(names(), (std::vector<std::string>{"a", "b"}));
}

TEST_F(OutputFile, HasTheModeThatTheUmaskSays) {
  const mode_t before = ::umask(027);
  const auto written = write_output_file(at("a"), "x");
  ::umask(before);
  ASSERT_TRUE(written);
  EXPECT_EQ(fs::status(at("a")).permissions(), static_cast<fs::perms>(0640));
}

// A profile shows names: whoever has made the file private does not want all to read the next one.
TEST_F(OutputFile, AFileThatIsThereKeepsItsMode) {
  put("a", "old");
  for (const mode_t mode : {0600U, 0664U}) {
    ASSERT_EQ(::chmod(at("a").c_str(), mode), 0);
    ASSERT_TRUE(write_output_file(at("a"), "x"));
    EXPECT_EQ(fs::status(at("a")).permissions(), static_cast<fs::perms>(mode));
    EXPECT_EQ(text_of("a"), "x");
  }
}

TEST_F(OutputFile, ACheckLeavesEverythingAsItIs) {
  put("a", "old");
  EXPECT_TRUE(check_output_file(at("a")));
  EXPECT_TRUE(check_output_file(at("b")));
  EXPECT_EQ(text_of("a"), "old");
  EXPECT_EQ(names(), std::vector<std::string>{"a"});
}

TEST_F(OutputFile, NoOtherFileIsTouched) {
  put("victim", "precious");
  put("a.part", "precious");
  fs::create_symlink("victim", at("b.part"));
  EXPECT_EQ(both(at("a")), 0);
  EXPECT_EQ(both(at("b")), 0);
  EXPECT_EQ(text_of("victim"), "precious");
  EXPECT_EQ(text_of("a.part"), "precious");
  EXPECT_EQ(names(), (std::vector<std::string>{"a", "a.part", "b", "b.part", "victim"}));
}

TEST_F(OutputFile, LinksAreFollowedAndStay) {
  fs::create_directory(at("there"));
  put("there/file", "old");
  fs::create_symlink("there/file", at("relative"));
  fs::create_symlink(at("relative"), at("chain"));
  fs::create_symlink("there/missing", at("dangling"));
  EXPECT_EQ(both(at("chain")), 0);
  EXPECT_EQ(both(at("dangling")), 0);
  for (const char* link : {"relative", "chain", "dangling"}) EXPECT_TRUE(fs::is_symlink(at(link))) << link;
  EXPECT_EQ(text_of("there/file"), "new");
  EXPECT_EQ(text_of("there/missing"), "new");
  EXPECT_EQ(names(), (std::vector<std::string>{"chain", "dangling", "relative", "there"}));
  EXPECT_EQ(std::distance(fs::directory_iterator(at("there")), {}), 2);
}

TEST_F(OutputFile, WhatIsNoRegularFileIsWrittenInto) {
  ASSERT_EQ(::mkfifo(at("fifo").c_str(), 0600), 0);
  fs::create_symlink("fifo", at("link"));
  // Both ends, so that nobody waits for the other.
  const UniqueFd reader(::open(at("fifo").c_str(), O_RDWR | O_CLOEXEC | O_NONBLOCK));
  ASSERT_TRUE(reader);
  for (const char* name : {"fifo", "link"}) {
    EXPECT_EQ(both(at(name)), 0) << name;
    std::array<char, 16> read{};
    EXPECT_EQ(::read(reader.get(), read.data(), read.size()), 3) << name;
    EXPECT_STREQ(read.data(), "new");
  }
  EXPECT_TRUE(fs::is_fifo(at("fifo")));
  EXPECT_TRUE(fs::is_symlink(at("link")));
  EXPECT_EQ(names(), (std::vector<std::string>{"fifo", "link"}));
}

// As a container sees a file that it was handed.
TEST_F(OutputFile, AMountPointIsWrittenInto) {
  put("a", "the old, longer text");
  put("mounted", "");
  ASSERT_EQ(::mount(at("a").c_str(), at("mounted").c_str(), nullptr, MS_BIND, nullptr), 0)
      << std::strerror(errno);
  EXPECT_EQ(both(at("mounted")), 0);
  EXPECT_EQ(text_of("a"), "new");
  ASSERT_EQ(::umount(at("mounted").c_str()), 0);
  EXPECT_EQ(names(), (std::vector<std::string>{"a", "mounted"}));
}

// All that a container may write in a root of its own that is read-only.
TEST_F(OutputFile, InAReadOnlyFolderAFileThatMayBeWrittenIs) {
  put("a", "the old, longer text");
  fs::create_directory(at("folder"));
  put("folder/mounted", "");
  const std::string folder = at("folder");
  ASSERT_EQ(::mount(folder.c_str(), folder.c_str(), nullptr, MS_BIND, nullptr), 0) << std::strerror(errno);
  ASSERT_EQ(::mount(at("a").c_str(), at("folder/mounted").c_str(), nullptr, MS_BIND, nullptr), 0);
  ASSERT_EQ(::mount(nullptr, folder.c_str(), nullptr, MS_BIND | MS_REMOUNT | MS_RDONLY, nullptr), 0);
  EXPECT_EQ(both(at("folder/mounted")), 0);
  EXPECT_EQ(text_of("a"), "new");
  EXPECT_EQ(both(at("folder/other")), EROFS);
  ASSERT_EQ(::umount(at("folder/mounted").c_str()), 0);
  ASSERT_EQ(::umount(folder.c_str()), 0);
}

// The name that /proc gives it is nobody's.
TEST_F(OutputFile, AFileWithoutANameIsWrittenInto) {
  put("a", "a longer text");
  const UniqueFd file(::open(at("a").c_str(), O_RDWR | O_CLOEXEC));
  fs::remove(at("a"));
  EXPECT_EQ(both("/proc/self/fd/" + std::to_string(file.get())), 0);
  std::array<char, 16> read{};
  EXPECT_EQ(::pread(file.get(), read.data(), read.size(), 0), 3);
  EXPECT_TRUE(names().empty());
}

TEST_F(OutputFile, WhatCannotBeWrittenIsKnownBefore) {
  fs::create_directory(at("directory"));
  fs::create_symlink("b", at("a"));
  fs::create_symlink("a", at("b"));
  put("file", "");
  const UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  at("socket").copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  EXPECT_EQ(both(""), ENOENT);
  EXPECT_EQ(both(at("directory")), EISDIR);
  EXPECT_EQ(both(at("new/")), EISDIR);
  EXPECT_EQ(both(at("missing/new")), ENOENT);
  EXPECT_EQ(both(at("file/new")), ENOTDIR);
  EXPECT_EQ(both(at("a")), ELOOP);
  EXPECT_EQ(both(at("socket")), ENXIO);
  EXPECT_EQ(names(), (std::vector<std::string>{"a", "b", "directory", "file", "socket"}));
}

}  // namespace
}  // namespace goheapd
