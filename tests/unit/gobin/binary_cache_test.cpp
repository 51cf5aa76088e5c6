#include "daemon/gobin/binary_cache.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "tests/unit/gobin/synthetic_binary.h"

namespace goheapd::gobin {
namespace {

using test::SyntheticBinary;
namespace fs = std::filesystem;

class BinaryCacheTest : public testing::Test {
 protected:
  void SetUp() override { fs::create_directories(directory_); }
  void TearDown() override { fs::remove_all(directory_); }

  std::string write(const std::string& name, const std::vector<std::byte>& bytes) {
    const std::string path = directory_ / name;
    std::ofstream out(path, std::ios::binary);
    out.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    return path;
  }
  std::string write_binary(const std::string& name, uint8_t code = 0x90) {
    auto binary = SyntheticBinary::ordinary();
    binary.functions[0].code = {code};
    return write(name, binary.build());
  }
  static Expected<std::shared_ptr<const GoBinary>> open(BinaryCache& cache, const std::string& path) {
    auto file = OpenFile::open(path);
    if (!file) return Unexpected(file.error());
    auto executable = cache.open(*file);
    if (!executable) return Unexpected(executable.error());
    return executable->binary;
  }
  const fs::path directory_ = fs::temp_directory_path() / ("binary_cache_test." + std::to_string(::getpid()));
};

TEST_F(BinaryCacheTest, OneBinaryForAllNamesAndCopiesOfAFile) {
  BinaryCache cache;
  const std::string path = write_binary("a");
  fs::create_hard_link(path, directory_ / "link");
  const std::string copy = write_binary("copy");
  auto first = open(cache, path);
  ASSERT_TRUE(first) << to_string(first.error());
  EXPECT_EQ(*open(cache, path), *first);
  EXPECT_EQ(*open(cache, directory_ / "link"), *first);
  EXPECT_EQ(*open(cache, copy), *first);
  // Same build id, other code.
  auto other = open(cache, write_binary("b", 0xc3));
  ASSERT_TRUE(other);
  EXPECT_NE(*other, *first);
}

TEST_F(BinaryCacheTest, ReplacedFileIsReadAgain) {
  BinaryCache cache;
  const std::string path = write_binary("a");
  auto first = open(cache, path);
  ASSERT_TRUE(first);
  fs::rename(write_binary("new", 0xc3), path);
  auto second = open(cache, path);
  ASSERT_TRUE(second);
  EXPECT_NE(*second, *first);
  // The old one still answers.
  EXPECT_TRUE((*first)->function("runtime.mallocgc"));
}

TEST_F(BinaryCacheTest, RemembersRefusals) {
  BinaryCache cache;
  const std::string path = write("text", std::vector<std::byte>(100));
  auto refused = open(cache, path);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().what, "not an ELF file");
  EXPECT_EQ(open(cache, path).error().what, "not an ELF file");
  EXPECT_EQ(open(cache, directory_ / "missing").error().errno_value, ENOENT);
  fs::rename(write_binary("a"), path);
  EXPECT_TRUE(open(cache, path));
}

TEST_F(BinaryCacheTest, KeepsUsedBinariesAndAFewUnused) {
  BinaryCache cache(2);
  std::vector<std::shared_ptr<const GoBinary>> used;
  for (uint8_t i = 0; i < 5; ++i) used.push_back(*open(cache, write_binary("used" + std::to_string(i), i)));
  EXPECT_EQ(cache.size(), 5u);
  for (uint8_t i = 0; i < 5; ++i) {
    ASSERT_TRUE(open(cache, write_binary("unused" + std::to_string(i), static_cast<uint8_t>(0x40 + i))));
  }
  // The one just opened was still in the hands of open().
  EXPECT_EQ(cache.size(), 5u + 2u + 1u);
  EXPECT_EQ(*open(cache, (directory_ / "used0").string()), used[0]);
  // A second file of a binary that nobody uses does not make it used.
  used.clear();
  ASSERT_TRUE(open(cache, write_binary("copy0", 0)));
  ASSERT_TRUE(open(cache, write_binary("last", 0x70)));
  EXPECT_EQ(cache.size(), 2u + 1u);
}

// A process executes another program between two looks at its /proc/PID/exe.
TEST_F(BinaryCacheTest, WhatThePathMeansLaterDoesNotMatter) {
  BinaryCache cache;
  const fs::path exe = directory_ / "exe";
  fs::create_symlink(write_binary("a"), exe);
  const auto a = OpenFile::open(exe);
  ASSERT_TRUE(a);
  fs::remove(exe);
  fs::create_symlink(write("text", std::vector<std::byte>(100)), exe);
  const auto first = cache.open(*a);
  ASSERT_TRUE(first) << to_string(first.error());
  EXPECT_EQ(first->file, *a);
  EXPECT_FALSE(open(cache, exe));  // and nothing of it is said of the other
  EXPECT_EQ(*open(cache, directory_ / "a"), first->binary);

  fs::remove(exe);
  fs::create_symlink(directory_ / "a", exe);
  const auto text = OpenFile::open(directory_ / "text");
  ASSERT_TRUE(text);
  EXPECT_FALSE(cache.open(*text));
  EXPECT_EQ(*open(cache, exe), first->binary);
}

TEST_F(BinaryCacheTest, OneDescriptorForAFileAndOneForEachCopy) {
  BinaryCache cache;
  const std::string path = write_binary("a");
  auto first = cache.open(*OpenFile::open(path));
  ASSERT_TRUE(first);
  EXPECT_EQ(cache.open(*OpenFile::open(path))->file, first->file);
  const auto copy = cache.open(*OpenFile::open(write_binary("copy")));
  ASSERT_TRUE(copy);
  EXPECT_EQ(copy->binary, first->binary);
  EXPECT_NE(copy->file, first->file);
  EXPECT_TRUE(*copy->file->is_at(directory_ / "copy"));
  // The cache itself keeps no file open.
  const std::weak_ptr<const OpenFile> closed = first->file;
  first->file.reset();
  EXPECT_TRUE(closed.expired());
  EXPECT_TRUE(*cache.open(*OpenFile::open(path))->file->is_at(path));
}

}  // namespace
}  // namespace goheapd::gobin
