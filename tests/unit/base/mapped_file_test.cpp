#include "daemon/base/mapped_file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>

namespace goheapd {
namespace {

namespace fs = std::filesystem;

class MappedFileTest : public testing::Test {
 protected:
  void SetUp() override { std::ofstream(path_, std::ios::binary) << std::string(kBytes, 'x'); }
  void TearDown() override { fs::remove(path_); }

  static constexpr size_t kBytes = 64 * 1024;
  const std::string path_ = fs::temp_directory_path() / ("mapped_file_test." + std::to_string(::getpid()));
};

TEST_F(MappedFileTest, OutlivesTheName) {
  auto file = MappedFile::open(path_);
  ASSERT_TRUE(file);
  EXPECT_EQ(file->bytes().size(), kBytes);
  fs::remove(path_);
  file->release_pages();
  EXPECT_EQ(file->bytes().read<char>(kBytes - 1), 'x');
  const ByteView bytes = file->bytes();
  const MappedFile moved = std::move(*file);
  EXPECT_EQ(moved.bytes().data(), bytes.data());
  EXPECT_EQ(bytes.read<char>(0), 'x');
}

TEST_F(MappedFileTest, VanishedPagesReadAsZeros) {
  auto file = MappedFile::open(path_);
  ASSERT_TRUE(file);
  EXPECT_EQ(file->bytes().read<char>(kBytes - 1), 'x');
  const uint64_t before = MappedFile::vanished_pages();
  fs::resize_file(path_, 0);
  for (size_t at = 0; at < kBytes; at += 1024) EXPECT_EQ(file->bytes().read<char>(at), '\0');
  EXPECT_GT(MappedFile::vanished_pages(), before);
}

TEST_F(MappedFileTest, SaysWhatItCannotOpen) {
  EXPECT_EQ(MappedFile::open(path_ + ".missing").error().errno_value, ENOENT);
  EXPECT_EQ(MappedFile::open("/proc").error().what, "not a regular file");
  fs::resize_file(path_, 0);
  auto empty = MappedFile::open(path_);
  ASSERT_TRUE(empty);
  EXPECT_TRUE(empty->bytes().empty());
}

TEST_F(MappedFileTest, OtherBusErrorsStillKill) {
  auto file = MappedFile::open(path_);
  ASSERT_TRUE(file);
  // The first takes our handler out, the second meets the one before it.
  EXPECT_DEATH(std::raise(SIGBUS); std::raise(SIGBUS), "");
}

}  // namespace
}  // namespace goheapd
