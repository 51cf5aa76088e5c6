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

std::string hexadecimal(uint64_t number) {
  std::array<char, 17> text;
  std::snprintf(text.data(), text.size(), "%016lx", number);
  return text.data();
}

// A program holds the paths of its files, and with them its variables lie elsewhere: trees share programs because all
// build them from copies in one place.
fs::path copy_in_cache(const fs::path& source, uint64_t hash) {
  const fs::path copy = cache_directory() / "test-programs/sources" / hexadecimal(hash);
  if (fs::exists(copy)) return copy;
  // Several tests may want the same copy at once: the first rename stands.
  const std::string unfinished = copy.string() + "." + std::to_string(::getpid());
  fs::create_directories(copy.parent_path());
  fs::copy(source, unfinished, fs::copy_options::recursive);
  std::error_code exists;
  fs::rename(unfinished, copy, exists);
  if (exists) fs::remove_all(unfinished);
  return copy;
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
  const uint64_t content = content_hash(source);
  uint64_t hash = add_to_hash(content, std::to_string(minor) + build.arch + (build.strip ? "strip" : ""));
  for (const auto& flag : build.flags) hash = add_to_hash(hash, flag);
  for (const auto& setting : build.environment) hash = add_to_hash(hash, setting);

  const fs::path folder = cache_directory() / "test-programs";
  const fs::path result =
      folder / (build.program + "-1." + std::to_string(minor) + "-" + build.arch + "-" + hexadecimal(hash));
  if (fs::exists(result)) return result.string();

  const fs::path copy = copy_in_cache(source, content);
  // Several tests may want the same program at once: each builds its own, the last rename stands.
  const std::string unfinished = result.string() + "." + std::to_string(::getpid());
  std::string command =
      "cd " + quoted(copy.string()) +
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
