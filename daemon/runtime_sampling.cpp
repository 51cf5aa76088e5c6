#include "daemon/runtime_sampling.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <nlohmann/json.hpp>

#include "daemon/runtime/sampler_switch.h"

namespace goheapd {
namespace {

using nlohmann::json;

constexpr const char* kVariable = "runtime.MemProfileRate";
constexpr const char* kJournalName = "runtime-sampling.json";
constexpr size_t kLargestJournal = 1 << 20;

// Another boot has other processes under the same pids and start times.
std::string read_boot_id() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string id;
  std::getline(file, id);
  return id;
}

Expected<void> write_whole(const std::filesystem::path& path, const std::string& text) {
  constexpr const char* kFailed = "cannot write the journal of runtime sampling";
  const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!fd) return fail(kFailed, path, errno);
  const ssize_t written = ::write(fd.get(), text.data(), text.size());
  if (written < 0) return fail(kFailed, path, errno);
  if (written != static_cast<ssize_t>(text.size())) return fail(kFailed, path, ENOSPC);
  if (::fsync(fd.get()) != 0) return fail(kFailed, path, errno);
  return {};
}

Expected<void> write_synced(const std::filesystem::path& path, const std::string& text) {
  const std::filesystem::path fresh = path.string() + ".new";
  if (auto written = write_whole(fresh, text); !written) {
    ::unlink(fresh.c_str());  // what is there of it takes the last space of the disk
    return written;
  }
  if (::rename(fresh.c_str(), path.c_str()) != 0) {
    return fail("cannot replace the journal of runtime sampling", path, errno);
  }
  // The new name must be on disk, too, before a target is written to.
  const UniqueFd directory(::open(path.parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory || ::fsync(directory.get()) != 0) {
    return fail("cannot sync the data directory", path.parent_path(), errno);
  }
  return {};
}

// What is missing of the path, for nobody but us, whatever the umask is.
Expected<void> make_private(const std::filesystem::path& directory) {
  if (directory.has_relative_path() && directory.has_parent_path()) {
    if (std::error_code error; !std::filesystem::exists(directory.parent_path(), error)) {
      if (auto made = make_private(directory.parent_path()); !made) return made;
    }
  }
  if (::mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST)
    return fail("cannot make the data directory", directory, errno);
  return {};
}

// The journal says where to write into programs: whoever can write it can have that done.
Expected<void> check_private(int fd, const std::string& what, const std::filesystem::path& path) {
  struct stat status {};
  if (::fstat(fd, &status) != 0) return fail("cannot look at " + what, path, errno);
  if ((status.st_mode & (S_IWGRP | S_IWOTH)) != 0)
    return fail("others may write " + what + ": take that right away (chmod go-w)", path);
  if (status.st_uid != ::geteuid() && status.st_uid != 0)
    return fail(what + " belongs to another user, who could write into it: chown it", path);
  return {};
}

}  // namespace

RuntimeSampling::RuntimeSampling(const process::ProcFs& proc, std::filesystem::path journal, UniqueFd lock)
    : proc_(proc), journal_(std::move(journal)), lock_(std::move(lock)), boot_id_(read_boot_id()) {}

bool RuntimeSampling::has_journal(const std::filesystem::path& data_dir) {
  std::error_code error;
  return std::filesystem::exists(data_dir / kJournalName, error);
}

Expected<std::unique_ptr<RuntimeSampling>> RuntimeSampling::create(const process::ProcFs& proc,
                                                                   const std::filesystem::path& data_dir) {
  if (auto made = make_private(data_dir); !made) return Unexpected(made.error());
  UniqueFd lock(::open(data_dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!lock) return fail("cannot open the data directory", data_dir, errno);
  if (auto safe = check_private(lock.get(), "the data directory", data_dir); !safe)
    return Unexpected(safe.error());
  // Of two daemons with one journal each would set back what the other has just enabled.
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return fail("another goheapd uses this data directory", data_dir);
    return fail("cannot lock the data directory", data_dir, errno);
  }
  std::unique_ptr<RuntimeSampling> sampling(
      new RuntimeSampling(proc, data_dir / kJournalName, std::move(lock)));
  if (auto restored = sampling->restore(); !restored) return Unexpected(restored.error());
  return sampling;
}

void RuntimeSampling::close() {
  std::lock_guard lock(mutex_);
  closed_ = true;
  while (!enabled_.empty()) switch_off(enabled_.begin()->first);
}

Unexpected RuntimeSampling::refuse(Refusal why, Error error) {
  ++refusals_[static_cast<size_t>(why)];
  return Unexpected(std::move(error));
}

Expected<RuntimeSampling::Entry> RuntimeSampling::identify(pid_t pid) const {
  const auto stat = proc_.stat(pid);
  if (!stat) return Unexpected(stat.error());
  return Entry{pid, stat->start_time, stat->stack_start, 0};
}

void RuntimeSampling::set_back(const Entry& entry) {
  auto now = identify(entry.pid);
  if (!now) return;  // it is gone
  now->address = entry.address;
  if (*now != entry) return;  // another program
  auto memory = process::ProcessMemory::open(entry.pid);
  const auto rate = memory ? memory->read<uint64_t>(entry.address) : Unexpected(memory.error());
  if (rate && *rate != runtime::kSwitchedOnRate) {
    spdlog::info("pid {}: MemProfileRate is {}: somebody else has set it, and it is left so", entry.pid,
                 *rate);
    return;
  }
  const auto done = rate ? runtime::set_sample_rate(*memory, entry.address, runtime::kSwitchedOnRate, 0)
                         : Unexpected(rate.error());
  if (done) {
    ++writes_;
    spdlog::info("pid {}: MemProfileRate, which goheapd had set, is 0 again", entry.pid);
  } else if (done.error().errno_value != ESRCH) {
    failed_.push_back(entry);
    spdlog::warn("pid {}: MemProfileRate is not set back, which the next goheapd will try again: {}",
                 entry.pid, to_string(done.error()));
  }
}

Expected<void> RuntimeSampling::restore() {
  if (const UniqueFd fd(::open(journal_.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC)); fd) {
    if (auto safe = check_private(fd.get(), "the journal of runtime sampling", journal_); !safe) return safe;
  }
  std::ifstream file(journal_, std::ios::binary);
  if (!file && has_journal(journal_.parent_path())) return fail("cannot read the journal", journal_, EACCES);
  if (file) {
    std::string text(kLargestJournal, '\0');
    file.read(text.data(), static_cast<std::streamsize>(text.size()));
    text.resize(static_cast<size_t>(file.gcount()));
    const json root = json::parse(text, nullptr, false);
    const bool is_ours = root.is_object() && root.value("boot_id", json()) == boot_id_ &&
                         root.contains("enabled") && root["enabled"].is_array();
    if (!root.is_object()) spdlog::warn("{} is no journal of ours and is replaced", journal_.string());
    for (const json& row : is_ours ? root["enabled"] : json::array()) {
      const auto number = [&row](const char* name) {
        return row.is_object() && row.contains(name) && row[name].is_number_unsigned()
                   ? row[name].get<uint64_t>()
                   : 0;
      };
      const Entry entry{static_cast<pid_t>(number("pid")), number("start_time"), number("stack_start"),
                        number("address")};
      if (entry.pid > 0 && entry.address != 0) set_back(entry);
    }
  }
  note();
  return {};
}

Expected<void> RuntimeSampling::write_journal() const {
  json rows = json::array();
  const auto add = [&rows](const Entry& entry) {
    rows.push_back({{"pid", entry.pid},
                    {"start_time", entry.start_time},
                    {"stack_start", entry.stack_start},
                    {"address", entry.address}});
  };
  for (const auto& [key, entry] : enabled_) add(entry);
  for (const Entry& entry : failed_) add(entry);
  return write_synced(journal_, json{{"boot_id", boot_id_}, {"enabled", rows}}.dump(1) + "\n");
}

// After a sampler was switched off. A journal that says more than is true does harm only if somebody else sets the same
// value later; so it goes if nothing in it is true.
void RuntimeSampling::note() {
  const auto written = write_journal();
  if (written) return;
  spdlog::warn("{}", to_string(written.error()));
  if (enabled_.empty() && failed_.empty()) ::unlink(journal_.c_str());
}

Expected<void> RuntimeSampling::enable(const model::ProcessKey& key, const gobin::GoBinary& binary,
                                       uint64_t load_bias) {
  std::lock_guard lock(mutex_);
  if (closed_) return fail("goheapd is ending");
  if (auto refused = refused_.find(key); refused != refused_.end()) return fail(refused->second);
  if (enabled_.contains(key)) return {};
  const auto variables = binary.globals().variables();
  const auto variable = std::find_if(variables.begin(), variables.end(),
                                     [](const auto& candidate) { return candidate.name == kVariable; });
  if (variable == variables.end()) return refuse(Refusal::address, {"its address is not known", kVariable});
  if (auto proven = runtime::is_proven_twice(*variable); !proven)
    return refuse(Refusal::address, proven.error());
  auto entry = identify(key.pid);
  if (!entry) return refuse(Refusal::access, entry.error());
  if (entry->start_time != key.start_time) return fail("the process has exited");
  entry->address = *variable->vaddr + load_bias;
  const auto memory = process::ProcessMemory::open(key.pid);
  if (!memory) return refuse(Refusal::access, memory.error());
  const auto rate = memory->read<uint64_t>(entry->address);
  if (!rate) return refuse(Refusal::access, rate.error());
  if (*rate != 0) {
    return refuse(Refusal::value,
                  {"MemProfileRate is " + std::to_string(*rate) + ": somebody else has set it", {}, 0});
  }

  enabled_.emplace(key, *entry);
  if (auto noted = write_journal(); !noted) {
    enabled_.erase(key);
    return refuse(Refusal::journal, noted.error());
  }
  if (auto done = runtime::set_sample_rate(*memory, entry->address, 0, runtime::kSwitchedOnRate); !done) {
    enabled_.erase(key);
    note();
    return refuse(Refusal::access, done.error());
  }
  ++writes_;
  spdlog::warn("pid {}: wrote MemProfileRate, 0 -> {}: --allow-runtime-sampling wants its sampler on",
               key.pid, runtime::kSwitchedOnRate);
  return {};
}

void RuntimeSampling::switch_off(const model::ProcessKey& key) {
  const auto found = enabled_.find(key);
  if (found == enabled_.end()) return;
  set_back(found->second);
  enabled_.erase(found);
  note();
}

void RuntimeSampling::disable(const model::ProcessKey& key) {
  std::lock_guard lock(mutex_);
  switch_off(key);
}

void RuntimeSampling::disable_for_good(const model::ProcessKey& key, const std::string& why) {
  std::lock_guard lock(mutex_);
  refused_[key] = why;
  ++refusals_[static_cast<size_t>(Refusal::memory)];
  switch_off(key);
}

bool RuntimeSampling::is_enabled(const model::ProcessKey& key) const {
  std::lock_guard lock(mutex_);
  return enabled_.contains(key);
}

void RuntimeSampling::forget(const model::ProcessKey& key) {
  std::lock_guard lock(mutex_);
  refused_.erase(key);
  if (enabled_.erase(key) != 0) note();
}

uint64_t RuntimeSampling::writes() const {
  std::lock_guard lock(mutex_);
  return writes_;
}

std::vector<model::LabelledCount> RuntimeSampling::refusals() const {
  std::lock_guard lock(mutex_);
  return with_names(refusals_);
}

std::vector<model::LabelledCount> RuntimeSampling::with_names(const Refusals& refusals) {
  std::vector<model::LabelledCount> counts;
  for (size_t i = 0; i < refusals.size(); ++i) counts.push_back({kRefusalNames[i], refusals[i]});
  return counts;
}

}  // namespace goheapd
