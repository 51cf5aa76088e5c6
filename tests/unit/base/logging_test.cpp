#include "daemon/base/logging.h"

#include <gtest/gtest.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>

namespace goheapd {
namespace {

// What is logged at each level while JOURNAL_STREAM names the inode of stderr, `off` added, or (none) is not set.
std::string logged(LogFormat format, std::optional<uint64_t> off) {
  testing::internal::CaptureStderr();
  struct stat status {};
  EXPECT_EQ(::fstat(STDERR_FILENO, &status), 0);
  ::unsetenv("JOURNAL_STREAM");
  if (off) {
    const std::string stream = std::to_string(status.st_dev) + ":" + std::to_string(status.st_ino + *off);
    ::setenv("JOURNAL_STREAM", stream.c_str(), 1);
  }
  set_up_logging("debug", format);
  spdlog::debug("a \"word\"");
  spdlog::info("b\nc");
  spdlog::warn("d");
  spdlog::error("e");
  ::unsetenv("JOURNAL_STREAM");
  return testing::internal::GetCapturedStderr();
}

TEST(Logging, JournaldIsToldThePriority) {
  EXPECT_EQ(logged(LogFormat::logfmt, 0),
            "<7>level=debug msg=\"a \\\"word\\\"\"\n"
            "<6>level=info msg=\"b\\u000ac\"\n"
            "<4>level=warn msg=\"d\"\n"
            "<3>level=error msg=\"e\"\n");
  EXPECT_TRUE(logged(LogFormat::json, 0).ends_with("\n<3>{\"level\":\"error\",\"msg\":\"e\"}\n"));
}

// The kernel cuts a comm at 15 bytes, wherever that is.
TEST(Logging, LinesAreUtf8WhateverTheyName) {
  for (const auto format : {LogFormat::logfmt, LogFormat::json}) {
    testing::internal::CaptureStderr();
    set_up_logging("debug", format);
    spdlog::info("pid 1 (Gr\xc3\xb6\xc3): \x1b \xff");
    const std::string line = testing::internal::GetCapturedStderr();
    EXPECT_NE(line.find("\"pid 1 (Gr\xc3\xb6\xef\xbf\xbd): \\u001b \xef\xbf\xbd\""), std::string::npos)
        << line;
  }
}

// As in a shell of a session that a service has started.
TEST(Logging, AStreamThatIsNotStderrDoesNotCount) {
  for (const auto off : {std::optional<uint64_t>(1), std::optional<uint64_t>()}) {
    const std::string lines = logged(LogFormat::logfmt, off);
    EXPECT_TRUE(lines.starts_with("ts=20")) << lines;
    EXPECT_NE(lines.find("Z level=error msg=\"e\"\n"), std::string::npos) << lines;
    EXPECT_EQ(lines.find('<'), std::string::npos) << lines;
  }
}

}  // namespace
}  // namespace goheapd
