#include "daemon/base/open_file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <string>

namespace goheapd {
namespace {

namespace fs = std::filesystem;

class OpenFileTest : public testing::Test {
 protected:
  void SetUp() override { fs::create_directories(directory_); }
  void TearDown() override { fs::remove_all(directory_); }

  std::string write(const std::string& name, const std::string& text) const {
    std::ofstream(directory_ / name) << text;
    return directory_ / name;
  }
  static std::string read(const std::string& path) {
    std::string text;
    std::ifstream(path) >> text;
    return text;
  }
  const fs::path directory_ = fs::temp_directory_path() / ("open_file_test." + std::to_string(::getpid()));
};

TEST_F(OpenFileTest, StaysTheFileThatItWas) {
  const fs::path link = directory_ / "link";
  fs::create_symlink(write("a", "first"), link);
  const auto file = OpenFile::open(link);
  ASSERT_TRUE(file);
  EXPECT_EQ((*file)->name(), link.string());
  EXPECT_TRUE(*(*file)->is_at(link));
  EXPECT_EQ((*file)->identity(), *(*file)->identity_now());

  fs::remove(link);
  fs::create_symlink(write("b", "second"), link);
  EXPECT_FALSE(*(*file)->is_at(link));
  EXPECT_TRUE(*(*file)->is_at(directory_ / "a"));
  EXPECT_EQ(read((*file)->path()), "first");
  fs::remove(directory_ / "a");
  EXPECT_EQ(read((*file)->path()), "first");
  EXPECT_EQ((*file)->is_at(directory_ / "a").error().errno_value, ENOENT);
}

TEST_F(OpenFileTest, KnowsThatItWasWrittenTo) {
  const auto file = OpenFile::open(write("a", "first"));
  ASSERT_TRUE(file);
  write("a", "longer than before");
  EXPECT_NE((*file)->identity(), *(*file)->identity_now());
  EXPECT_TRUE(*(*file)->is_at(directory_ / "a"));
}

TEST_F(OpenFileTest, TakesRegularFilesOnly) {
  EXPECT_EQ(OpenFile::open(directory_ / "missing").error().errno_value, ENOENT);
  EXPECT_EQ(OpenFile::open(directory_).error().what, "not a regular file");
  EXPECT_EQ(OpenFile::open("/dev/null").error().what, "not a regular file");
}

}  // namespace
}  // namespace goheapd
