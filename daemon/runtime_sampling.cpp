#include "daemon/runtime_sampling.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <nlohmann/json.hpp>

#include "daemon/base/unique_fd.h"
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

Expected<void> write_synced(const std::filesystem::path& path, const std::string& text) {
  const std::filesystem::path fresh = path.string() + ".new";
  {
    const UniqueFd fd(::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (!fd) return fail("cannot write the journal of runtime sampling", fresh, errno);
    const ssize_t written = ::write(fd.get(), text.data(), text.size());
    if (written != static_cast<ssize_t>(text.size()) || ::fsync(fd.get()) != 0) {
      return fail("cannot write the journal of runtime sampling", fresh, errno);
    }
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

}  // namespace

RuntimeSampling::RuntimeSampling(const process::ProcFs& proc, std::filesystem::path journal)
    : proc_(proc), journal_(std::move(journal)), boot_id_(read_boot_id()) {}

bool RuntimeSampling::has_journal(const std::filesystem::path& data_dir) {
  std::error_code error;
  return std::filesystem::exists(data_dir / kJournalName, error);
}

Expected<std::unique_ptr<RuntimeSampling>> RuntimeSampling::create(const process::ProcFs& proc,
                                                                   const std::filesystem::path& data_dir) {
  std::error_code error;
  std::filesystem::create_directories(data_dir, error);
  if (error) return fail("cannot make the data directory", data_dir, error.value());
  std::unique_ptr<RuntimeSampling> sampling(new RuntimeSampling(proc, data_dir / kJournalName));
  if (auto restored = sampling->restore(); !restored) return Unexpected(restored.error());
  return sampling;
}

RuntimeSampling::~RuntimeSampling() {
  std::vector<model::ProcessKey> keys;
  for (const auto& [key, entry] : enabled_) keys.push_back(key);
  for (const model::ProcessKey& key : keys) disable(key);
}

Expected<RuntimeSampling::Entry> RuntimeSampling::identify(pid_t pid) const {
  const auto stat = proc_.stat(pid);
  if (!stat) return Unexpected(stat.error());
  return Entry{pid, stat->start_time, stat->stack_start, 0};
}

Expected<void> RuntimeSampling::set_back(const Entry& entry) {
  auto now = identify(entry.pid);
  if (!now) return {};  // it is gone
  now->address = entry.address;
  if (*now != entry) return {};  // another program
  const auto memory = process::ProcessMemory::open(entry.pid);
  if (!memory) return Unexpected(memory.error());
  auto done = runtime::set_sample_rate(*memory, entry.address, runtime::kSwitchedOnRate, 0);
  if (done) ++writes_;
  return done;
}

Expected<void> RuntimeSampling::restore() {
  std::ifstream file(journal_, std::ios::binary);
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
      if (entry.pid <= 0 || entry.address == 0) continue;
      if (auto done = set_back(entry); done) {
        spdlog::info("pid {}: MemProfileRate, which an earlier goheapd had set, is 0 again", entry.pid);
      } else {
        spdlog::warn("pid {}: MemProfileRate is not set back: {}", entry.pid, to_string(done.error()));
      }
    }
  }
  return write_journal();  // now rather than when a target has been written to: can it be written?
}

Expected<void> RuntimeSampling::write_journal() const {
  json rows = json::array();
  for (const auto& [key, entry] : enabled_) {
    rows.push_back({{"pid", entry.pid},
                    {"start_time", entry.start_time},
                    {"stack_start", entry.stack_start},
                    {"address", entry.address}});
  }
  return write_synced(journal_, json{{"boot_id", boot_id_}, {"enabled", rows}}.dump(1) + "\n");
}

Expected<void> RuntimeSampling::enable(const model::ProcessKey& key, const gobin::GoBinary& binary,
                                       uint64_t load_bias) {
  std::lock_guard lock(mutex_);
  if (auto refused = refused_.find(key); refused != refused_.end()) return fail(refused->second);
  if (enabled_.contains(key)) return {};
  const auto variables = binary.globals().variables();
  const auto variable = std::find_if(variables.begin(), variables.end(),
                                     [](const auto& candidate) { return candidate.name == kVariable; });
  if (variable == variables.end()) return fail("its address is not known", kVariable);
  if (auto proven = runtime::is_proven_twice(*variable); !proven) return proven;
  auto entry = identify(key.pid);
  if (!entry) return Unexpected(entry.error());
  if (entry->start_time != key.start_time) return fail("the process has exited");
  entry->address = *variable->vaddr + load_bias;
  const auto memory = process::ProcessMemory::open(key.pid);
  if (!memory) return Unexpected(memory.error());

  enabled_.emplace(key, *entry);
  auto done = write_journal();
  if (done) done = runtime::set_sample_rate(*memory, entry->address, 0, runtime::kSwitchedOnRate);
  if (!done) {
    enabled_.erase(key);
    if (auto again = write_journal(); !again) spdlog::warn("{}", to_string(again.error()));
    return done;
  }
  ++writes_;
  spdlog::warn("pid {}: wrote MemProfileRate, 0 -> {}: --allow-runtime-sampling wants its sampler on",
               key.pid, runtime::kSwitchedOnRate);
  return {};
}

void RuntimeSampling::disable(const model::ProcessKey& key, const std::string& for_good) {
  std::lock_guard lock(mutex_);
  if (!for_good.empty()) refused_[key] = for_good;
  const auto found = enabled_.find(key);
  if (found == enabled_.end()) return;
  if (auto done = set_back(found->second); done) {
    spdlog::info("pid {}: MemProfileRate is 0 again", key.pid);
  } else {
    spdlog::warn("pid {}: MemProfileRate is not set back: {}", key.pid, to_string(done.error()));
  }
  enabled_.erase(found);
  if (auto written = write_journal(); !written) spdlog::warn("{}", to_string(written.error()));
}

bool RuntimeSampling::is_enabled(const model::ProcessKey& key) const {
  std::lock_guard lock(mutex_);
  return enabled_.contains(key);
}

void RuntimeSampling::forget(const model::ProcessKey& key) {
  std::lock_guard lock(mutex_);
  refused_.erase(key);
  if (enabled_.erase(key) == 0) return;
  if (auto written = write_journal(); !written) spdlog::warn("{}", to_string(written.error()));
}

uint64_t RuntimeSampling::writes() const {
  std::lock_guard lock(mutex_);
  return writes_;
}

}  // namespace goheapd
