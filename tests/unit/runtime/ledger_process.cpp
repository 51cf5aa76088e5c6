#include "tests/unit/runtime/ledger_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <charconv>
#include <sstream>
#include <stdexcept>

namespace goheapd::test {
namespace {

constexpr int kTimeoutMs = 60'000;

std::vector<uint64_t> numbers_of(const std::string& line) {
  std::vector<uint64_t> numbers;
  std::istringstream words(line);
  for (uint64_t number = 0; words >> number;) numbers.push_back(number);
  return numbers;
}

}  // namespace

LedgerProcess::LedgerProcess(const std::string& executable, uint64_t rate, uint64_t records) {
  std::array<int, 2> in{};
  std::array<int, 2> out{};
  if (::pipe2(in.data(), O_CLOEXEC) != 0 || ::pipe2(out.data(), O_CLOEXEC) != 0)
    throw std::runtime_error("pipe2");
  std::string rate_text = std::to_string(rate);
  std::string records_text = std::to_string(records);
  std::string path = executable;
  std::array<char*, 4> argv = {path.data(), rate_text.data(), records_text.data(), nullptr};
  pid_ = ::fork();
  if (pid_ == 0) {
    ::dup2(in[0], 0);
    ::dup2(out[1], 1);
    ::execv(argv[0], argv.data());
    ::_exit(127);
  }
  ::close(in[0]);
  ::close(out[1]);
  to_ = in[1];
  from_ = out[0];
  if (read_line() != "ok") throw std::runtime_error("the ledger did not start");
}

LedgerProcess::~LedgerProcess() {
  kill();
  ::close(to_);
  ::close(from_);
}

void LedgerProcess::kill() {
  if (pid_ < 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

std::string LedgerProcess::read_line() {
  for (;;) {
    if (const size_t end = buffered_.find('\n'); end != std::string::npos) {
      std::string line = buffered_.substr(0, end);
      buffered_.erase(0, end + 1);
      return line;
    }
    pollfd entry{from_, POLLIN, 0};
    if (::poll(&entry, 1, kTimeoutMs) != 1) throw std::runtime_error("the ledger does not answer");
    std::array<char, 65536> bytes;
    const ssize_t count = ::read(from_, bytes.data(), bytes.size());
    if (count <= 0) throw std::runtime_error("the ledger has exited");
    buffered_.append(bytes.data(), static_cast<size_t>(count));
  }
}

std::vector<std::vector<uint64_t>> LedgerProcess::command(const std::string& line) {
  const std::string text = line + "\n";
  if (::write(to_, text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    throw std::runtime_error("cannot write to the ledger");
  }
  std::vector<std::vector<uint64_t>> answer;
  for (;;) {
    const std::string reply = read_line();
    if (reply == "ok") return answer;
    answer.push_back(numbers_of(reply));
    if (answer.back().empty()) throw std::runtime_error("the ledger says: " + reply);
  }
}

std::vector<LedgerRecord> LedgerProcess::profile() {
  std::vector<LedgerRecord> records;
  for (const auto& line : command("profile")) {
    records.push_back({line.at(0), line.at(1), line.at(2), line.at(3), {line.begin() + 4, line.end()}});
  }
  return records;
}

std::map<uint64_t, uint64_t> LedgerProcess::objects() {
  std::map<uint64_t, uint64_t> objects;
  for (const auto& line : command("objects")) objects[line.at(0)] = line.at(1);
  return objects;
}

const std::vector<LedgerVariant>& ledger_variants() {
  static const std::vector<LedgerVariant> variants = {
      {"plain", {}},
      {"stripped", {"-ldflags=-s -w"}},
      {"pie", {"-buildmode=pie"}},
      {"stripped_pie", {"-buildmode=pie", "-ldflags=-s -w"}},
      // The system's linker: other sections, other load address.
      {"external", {"-ldflags=-linkmode=external"}, {"CGO_ENABLED=1"}},
      {"external_pie", {"-buildmode=pie", "-ldflags=-linkmode=external"}, {"CGO_ENABLED=1"}, /*strip=*/true},
  };
  return variants;
}

std::string build_ledger(int minor, const LedgerVariant& variant) {
  GoBuild build;
  build.program = "heap_ledger";
  build.flags = variant.flags;
  build.environment = variant.environment;
  build.strip = variant.strip;
  auto path = build_go_program(minor, build);
  if (!path) throw std::runtime_error(to_string(path.error()));
  return *std::move(path);
}

}  // namespace goheapd::test
