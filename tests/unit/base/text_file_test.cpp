#include "daemon/base/text_file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>

namespace goheapd {
namespace {

class TextFile : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directory(directory_); }
  void TearDown() override { std::filesystem::remove_all(directory_); }
  std::string write(const std::string& text) const {
    const std::string path = directory_ / "file";
    std::ofstream(path, std::ios::binary) << text;
    return path;
  }
  std::filesystem::path directory_ =
      std::filesystem::temp_directory_path() / ("text_file." + std::to_string(::getpid()));
};

TEST_F(TextFile, IsReadWhole) {
  EXPECT_EQ(read_text_file(write(""), 0).value(), "");
  const std::string text = std::string(9000, 'x') + '\0' + "end\n";
  EXPECT_EQ(read_text_file(write(text), text.size()).value(), text);
  EXPECT_FALSE(read_text_file("/proc/self/status", 1 << 16)->empty());
}

TEST_F(TextFile, WhatIsNoSmallFileIsAnError) {
  EXPECT_EQ(read_text_file(directory_ / "gone", 10).error().errno_value, ENOENT);
  EXPECT_EQ(read_text_file(directory_, 10).error().errno_value, EISDIR);
  EXPECT_EQ(read_text_file(write("12345678901"), 10).error().errno_value, EFBIG);
  EXPECT_EQ(read_text_file("/dev/zero", 10).error().errno_value, EFBIG);
}

}  // namespace
}  // namespace goheapd
