#include "tests/support/go_toolchain.h"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace goheapd::test {
namespace {

namespace fs = std::filesystem;

fs::path cache_directory() {
  if (const char* cache = std::getenv("GOHEAPD_CACHE")) return cache;
  if (const char* cache = std::getenv("XDG_CACHE_HOME")) return fs::path(cache) / "goheapd";
  const char* home = std::getenv("HOME");
  return fs::path(home == nullptr ? "/root" : home) / ".cache/goheapd";
}

std::string quoted(const std::string& word) {
  std::string out = "'";
  for (char c : word) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

// FNV-1a: tells contents apart, nothing more.
uint64_t add_to_hash(uint64_t hash, const std::string& bytes) {
  for (char c : bytes) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return (hash ^ 0xff) * 0x100000001b3;  // ends a string
}

uint64_t content_hash(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  uint64_t hash = 0xcbf29ce484222325;
  for (const fs::path& file : files) {
    std::ifstream in(file, std::ios::binary);
    std::ostringstream text;
    text << in.rdbuf();
    hash = add_to_hash(add_to_hash(hash, fs::relative(file, folder).string()), text.str());
  }
  return hash;
}

}  // namespace

std::string go_root(int minor) {
  return (cache_directory() / "go/usr/lib" / ("go-1." + std::to_string(minor))).string();
}

std::vector<int> go_minors() {
  std::vector<int> minors;
  for (int minor = 19; minor < 64; ++minor) {
    if (fs::exists(go_root(minor) + "/bin/go")) minors.push_back(minor);
  }
  return minors;
}

Expected<std::string> output_of(const std::string& command) {
  FILE* pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) return fail("cannot start a shell", command, errno);
  std::string out;
  std::array<char, 65536> buffer;
  for (size_t n = 0; (n = std::fread(buffer.data(), 1, buffer.size(), pipe)) > 0;)
    out.append(buffer.data(), n);
  const int status = ::pclose(pipe);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) return fail("command failed", command + "\n" + out);
  return out;
}

Expected<std::string> build_go_program(int minor, const GoBuild& build) {
  const fs::path source = fs::path(GOHEAPD_GO_PROGRAMS) / build.program;
  uint64_t hash =
      add_to_hash(content_hash(source), std::to_string(minor) + build.arch + (build.strip ? "strip" : ""));
  // A program holds the paths of its files, and with them its variables lie elsewhere: trees must not share programs.
  hash = add_to_hash(hash, source.string());
  for (const auto& flag : build.flags) hash = add_to_hash(hash, flag);
  for (const auto& setting : build.environment) hash = add_to_hash(hash, setting);

  const fs::path folder = cache_directory() / "test-programs";
  std::array<char, 17> key;
  std::snprintf(key.data(), key.size(), "%016lx", hash);
  const fs::path result =
      folder / (build.program + "-1." + std::to_string(minor) + "-" + build.arch + "-" + key.data());
  if (fs::exists(result)) return result.string();

  fs::create_directories(folder);
  // Several tests may want the same program at once: each builds its own, the last rename stands.
  const std::string unfinished = result.string() + "." + std::to_string(::getpid());
  std::string command =
      "cd " + quoted(source.string()) +
      " && env GOTOOLCHAIN=local GOFLAGS=-mod=mod GOPROXY=off CGO_ENABLED=0 GOARCH=" + build.arch +
      " GOCACHE=" + quoted((cache_directory() / "gocache").string());
  for (const auto& setting : build.environment) command += " " + quoted(setting);
  command += " " + quoted(go_root(minor) + "/bin/go") + " build -o " + quoted(unfinished);
  for (const auto& flag : build.flags) command += " " + quoted(flag);
  command += " . 2>&1";
  if (build.strip) command += " && strip " + quoted(unfinished) + " 2>&1";
  if (auto built = output_of(command); !built) return Unexpected(built.error());
  fs::rename(unfinished, result);
  return result.string();
}

}  // namespace goheapd::test
