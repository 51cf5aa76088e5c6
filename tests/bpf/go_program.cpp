#include "tests/bpf/go_program.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "tests/support/long_tests.h"

namespace goheapd::testing {
namespace {

// Where there is no toolchain (in the virtual machines of tests/vm): a directory with programs that were built before.
const char* const ready_made = std::getenv("GOHEAPD_READY_MADE_PROGRAMS");

std::filesystem::path cache_directory() {
  if (const char* const cache = std::getenv("GOHEAPD_CACHE")) return cache;
  if (const char* const cache = std::getenv("XDG_CACHE_HOME"))
    return std::filesystem::path(cache) / "goheapd";
  const char* const home = std::getenv("HOME");
  return std::filesystem::path(home != nullptr ? home : "/root") / ".cache" / "goheapd";
}

std::string go_command(int minor) {
  return (cache_directory() / "go/usr/lib" / ("go-1." + std::to_string(minor)) / "bin/go").string();
}

std::string compiler_profile(int minor) {
  return "'" +
         (cache_directory() / "go/usr/lib" / ("go-1." + std::to_string(minor)) /
          "src/cmd/compile/default.pgo")
             .string() +
         "'";
}

std::string run(const std::string& command) {
  std::string output;
  FILE* const pipe = ::popen((command + " 2>&1").c_str(), "r");
  if (pipe == nullptr) throw std::runtime_error("cannot run " + command);
  char chunk[4096];
  while (const size_t got = ::fread(chunk, 1, sizeof(chunk), pipe)) output.append(chunk, got);
  if (::pclose(pipe) != 0) throw std::runtime_error(command + ":\n" + output);
  return output;
}

}  // namespace

std::string name_of(const GoBuild& build) {
  std::string name = "go1_" + std::to_string(build.minor);
  if (build.pie) name += "_pie";
  if (build.strip) name += "_strip";
  if (build.cgo) name += "_cgo";
  if (build.profile_guided) name += "_pgo";
  return name;
}

std::vector<int> go_minors() {
  std::vector<int> minors;
  if (ready_made != nullptr) {
    for (const auto& file : std::filesystem::directory_iterator(ready_made)) {
      const std::string name = file.path().filename().string();
      const size_t minor = name.rfind("go1_");
      if (minor != std::string::npos) minors.push_back(std::atoi(name.c_str() + minor + 4));
    }
    return minors;
  }
  for (const int minor : {19, 20, 21, 22, 23, 24, 25, 26, 27})
    if (std::filesystem::exists(go_command(minor))) minors.push_back(minor);
  return minors;
}

std::vector<GoBuild> plain_builds() {
  std::vector<GoBuild> all;
  for (const int minor : go_minors()) all.push_back({.minor = minor});
  return all;
}

std::vector<GoBuild> various_builds() {
  constexpr int kFirstProfileGuided = 21;  // the first with -pgo
  std::vector<GoBuild> all = plain_builds();
  const std::vector<int> minors = go_minors();
  for (const int minor : minors) {
    if (!test::wants_long_tests() && minor != minors.back()) continue;
    all.push_back({.minor = minor, .pie = true, .strip = true});
    all.push_back({.minor = minor, .cgo = true});
    if (minor >= kFirstProfileGuided) all.push_back({.minor = minor, .profile_guided = true});
  }
  return all;
}

std::string build_go_program(const std::string& name, const GoBuild& build) {
  if (ready_made != nullptr) return std::string(ready_made) + "/" + name + "_" + name_of(build);
  const std::filesystem::path directory = std::filesystem::path(GOHEAPD_TEST_BINARY_DIR) / "go";
  std::filesystem::create_directories(directory);
  const std::string output = (directory / (name + "_" + name_of(build))).string();
  std::ostringstream command;
  command << "cd '" << GOHEAPD_SOURCE_DIR << "/tests/go_programs/" << name
          << "' && env GOTOOLCHAIN=local GO111MODULE=on"
          << " GOFLAGS=-mod=mod GOCACHE='" << (cache_directory() / "gocache").string()
          << "' CGO_ENABLED=" << (build.cgo ? 1 : 0) << " '" << go_command(build.minor) << "' build -o '"
          << output << "'" << (build.pie ? " -buildmode=pie" : "") << (build.strip ? " -ldflags='-s -w'" : "")
          << (build.profile_guided ? " -pgo=" + compiler_profile(build.minor) : "") << " .";
  run(command.str());
  return output;
}

GoProgram::GoProgram(const std::string& path, const std::vector<std::string>& environment) {
  int input[2];
  int output[2];
  if (::pipe2(input, O_CLOEXEC) != 0 || ::pipe2(output, O_CLOEXEC) != 0) throw std::runtime_error("no pipes");
  input_ = UniqueFd(input[1]);
  output_ = UniqueFd(output[0]);
  pid_ = ::fork();
  if (pid_ == 0) {
    ::dup2(input[0], 0);
    ::dup2(output[1], 1);
    for (const std::string& variable : environment) ::putenv(const_cast<char*>(variable.c_str()));
    char* const arguments[] = {const_cast<char*>(path.c_str()), nullptr};
    ::execv(path.c_str(), arguments);
    ::_exit(127);
  }
  ::close(input[0]);
  ::close(output[1]);
  if (hear() != "ready") throw std::runtime_error(path + " did not start");
}

GoProgram::~GoProgram() { kill(); }

void GoProgram::kill() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

void GoProgram::tell(const std::string& command) {
  const std::string line = command + "\n";
  if (::write(input_.get(), line.data(), line.size()) != static_cast<ssize_t>(line.size()))
    throw std::runtime_error("the program does not listen");
}

std::string GoProgram::hear() {
  std::string line;
  for (;;) {
    pollfd wait{output_.get(), POLLIN, 0};
    if (::poll(&wait, 1, 60'000) != 1) throw std::runtime_error("the program does not answer");
    char byte = 0;
    if (::read(output_.get(), &byte, 1) != 1) throw std::runtime_error("the program has ended");
    if (byte == '\n') return line;
    line += byte;
  }
}

std::string GoProgram::ask(const std::string& command) {
  tell(command);
  return hear();
}

std::vector<uint64_t> GoProgram::ask_numbers(const std::string& command) {
  std::istringstream line(ask(command));
  std::vector<uint64_t> numbers;
  for (uint64_t number = 0; line >> number;) numbers.push_back(number);
  return numbers;
}

uint64_t load_bias(pid_t pid, uint64_t load_base) {
  const std::string exe = std::filesystem::read_symlink("/proc/" + std::to_string(pid) + "/exe").string();
  std::ifstream maps("/proc/" + std::to_string(pid) + "/maps");
  for (std::string line; std::getline(maps, line);) {
    std::istringstream fields(line);
    std::string range, permissions, device, path;
    uint64_t offset = 0;
    uint64_t inode = 0;
    fields >> range >> permissions >> std::hex >> offset >> device >> std::dec >> inode >> path;
    if (path == exe) return std::stoull(range, nullptr, 16) - offset - load_base;
  }
  throw std::runtime_error("no mapping of " + exe);
}

}  // namespace goheapd::testing
