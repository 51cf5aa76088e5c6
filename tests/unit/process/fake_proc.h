// A directory that looks like /proc, for tests: processes come, execute and go as the test says.
#pragma once

#include <gtest/gtest.h>
#include <sys/types.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace goheapd::process {

// Pids above this limit of the kernel (PID_MAX_LIMIT on 64 bit) belong to no real process.
inline constexpr pid_t kFirstFakePid = 4'194'305;

class FakeProc {
 public:
  FakeProc() {
    std::string pattern = testing::TempDir() + "goheapd-proc-XXXXXX";
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp");
    root_ = pattern;
  }
  ~FakeProc() {
    std::error_code ignored;
    std::filesystem::remove_all(root_, ignored);
  }
  FakeProc(const FakeProc&) = delete;
  FakeProc& operator=(const FakeProc&) = delete;

  std::string root() const { return root_.string(); }

  // A file that processes can run; outside of the process directories.
  std::string executable(const std::string& name) {
    const auto path = root_ / ("bin-" + name);
    std::ofstream(path) << name;
    return path.string();
  }

  struct Process {
    std::string exe;  // empty: none, as kernel threads and zombies have
    uint64_t start_time = 100;
    uint64_t stack_start = 7;
    std::string comm = "fake";
    pid_t parent = 1;
  };
  void put(pid_t pid, const Process& process) {
    const auto directory = root_ / std::to_string(pid);
    std::filesystem::create_directories(directory);
    std::filesystem::remove(directory / "exe");
    if (!process.exe.empty()) std::filesystem::create_symlink(process.exe, directory / "exe");
    write(pid, "stat",
          std::to_string(pid) + " (" + process.comm + ") S " + std::to_string(process.parent) +
              " 1 1 0 -1 4194304 0 0 0 0 3 4 0 0 20 0 1 0 " + std::to_string(process.start_time) +
              " 0 0 0 0 0 " + std::to_string(process.stack_start) + " 0 0 0 0\n");
  }
  void write(pid_t pid, const std::string& name, const std::string& text) {
    std::ofstream(root_ / std::to_string(pid) / name, std::ios::binary) << text;
  }
  void remove(pid_t pid) { std::filesystem::remove_all(root_ / std::to_string(pid)); }

 private:
  std::filesystem::path root_;
};

}  // namespace goheapd::process
