// --allow-runtime-sampling: the runtime's own sampler, switched on from outside in programs that have it off.
//
//   enable ─▶ journal (on disk, synced) ─▶ MemProfileRate 0 -> 512 KiB ─▶ the target is sampled as any other
//   disable, at detach and exit           ─▶ 512 KiB -> 0 ─▶ journal
//   next start, after a crash             ─▶ journal ─▶ 512 KiB -> 0, where the same program still runs
//
// Off unless asked for, since it writes into the target: the only write that goheapd ever makes. A value that is not 0 is
// somebody else's, perhaps another goheapd's: such a runtime samples as any other, and is not ours to set back.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "daemon/base/expected.h"
#include "daemon/base/unique_fd.h"
#include "daemon/gobin/go_binary.h"
#include "daemon/model/process_key.h"
#include "daemon/model/target.h"
#include "daemon/process/proc_fs.h"

namespace goheapd {

// Thread safe.
class RuntimeSampling {
 public:
  static bool has_journal(const std::filesystem::path& data_dir);
  // Reads the journal in `data_dir` and sets back what an earlier daemon could not. That the journal cannot be written
  // is found out by enable(), and no reason not to profile. Errors: no such directory, one that others may write, another daemon uses it, a journal
  // that cannot be read.
  static Expected<std::unique_ptr<RuntimeSampling>> create(const process::ProcFs& proc,
                                                           const std::filesystem::path& data_dir);
  // Sets back everything.
  ~RuntimeSampling() { close(); }
  RuntimeSampling(const RuntimeSampling&) = delete;
  RuntimeSampling& operator=(const RuntimeSampling&) = delete;

  // Nothing is written into the target before the journal is on disk. Errors: MemProfileRate is not 0 or not proven, the
  // journal cannot be written, it was switched off for taking too much memory, no permission, closed.
  Expected<void> enable(const model::ProcessKey& key, const gobin::GoBinary& binary, uint64_t load_bias);
  // Nothing if it is not enabled.
  void disable(const model::ProcessKey& key);
  // The same because its records took too much memory: enable() will refuse this process from now on, with this reason.
  void disable_for_good(const model::ProcessKey& key, const std::string& why);
  bool is_enabled(const model::ProcessKey& key) const;
  // The process is gone; there is nothing to set back.
  void forget(const model::ProcessKey& key);
  // Sets back everything, and enables nothing any more.
  void close();
  // How often MemProfileRate of a target was written.
  uint64_t writes() const;
  // How often a sampler was not switched on although it might be, or was switched off for good; every reason is there.
  std::vector<model::LabelledCount> refusals() const;
  // The same where nothing may be switched on.
  static std::vector<model::LabelledCount> no_refusals() { return with_names({}); }

 private:
  enum class Refusal : size_t { address, value, journal, access, memory };
  static constexpr std::array kRefusalNames = {"address", "value", "journal", "access", "memory"};
  using Refusals = std::array<uint64_t, kRefusalNames.size()>;
  static std::vector<model::LabelledCount> with_names(const Refusals& refusals);
  struct Entry {
    pid_t pid = 0;
    uint64_t start_time = 0;
    uint64_t stack_start = 0;  // another program of the same process has another
    uint64_t address = 0;
    bool operator==(const Entry&) const = default;
  };

  RuntimeSampling(const process::ProcFs& proc, std::filesystem::path journal, UniqueFd lock);
  Unexpected refuse(Refusal why, Error error);
  Expected<Entry> identify(pid_t pid) const;
  void set_back(const Entry& entry);
  void switch_off(const model::ProcessKey& key);
  Expected<void> restore();
  Expected<void> write_journal() const;
  void note();

  const process::ProcFs& proc_;
  const std::filesystem::path journal_;
  const UniqueFd lock_;  // of the directory; held as long as the journal is ours
  std::string boot_id_;
  mutable std::mutex mutex_;
  std::map<model::ProcessKey, Entry> enabled_;
  std::vector<Entry> failed_;  // could not be set back: left in the journal for the next daemon
  std::map<model::ProcessKey, std::string> refused_;
  Refusals refusals_{};
  uint64_t writes_ = 0;
  bool closed_ = false;
};

}  // namespace goheapd
