// --allow-runtime-sampling: the runtime's own sampler, switched on from outside in programs that have it off.
//
//   enable ─▶ journal (on disk, synced) ─▶ MemProfileRate 0 -> 512 KiB ─▶ the target is sampled as any other
//   disable, at detach and exit           ─▶ 512 KiB -> 0 ─▶ journal
//   next start, after a crash             ─▶ journal ─▶ 512 KiB -> 0, where the same program still runs
//
// Off unless asked for, since it writes into the target: the only write that goheapd ever makes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "daemon/base/expected.h"
#include "daemon/gobin/go_binary.h"
#include "daemon/model/process_key.h"
#include "daemon/process/proc_fs.h"

namespace goheapd {

// Thread safe.
class RuntimeSampling {
 public:
  // Memory that the runtime's records may take in a target before they are not made any more: records are never freed.
  static constexpr uint64_t kMaxRecordBytes = 16 << 20;
  // What so many records take: 48 bytes and their counts each, and their stacks, of which we assume the usual 32 frames.
  // https://github.com/golang/go/blob/go1.24.4/src/runtime/mprof.go#L245
  static constexpr uint64_t record_bytes(uint64_t records) { return records * (48 + 128 + 32 * 8); }

  static bool has_journal(const std::filesystem::path& data_dir);
  // Reads the journal in `data_dir` and sets back what an earlier daemon could not. Errors: the directory cannot be
  // written, so that nothing could be set back after a crash.
  static Expected<std::unique_ptr<RuntimeSampling>> create(const process::ProcFs& proc,
                                                           const std::filesystem::path& data_dir);
  // Sets back everything.
  ~RuntimeSampling();
  RuntimeSampling(const RuntimeSampling&) = delete;
  RuntimeSampling& operator=(const RuntimeSampling&) = delete;

  // Errors: MemProfileRate is not 0 or not proven, it was switched off for taking too much memory, no permission.
  Expected<void> enable(const model::ProcessKey& key, const gobin::GoBinary& binary, uint64_t load_bias);
  // Nothing if it is not enabled. `for_good`: enable() will refuse this process from now on, with this reason.
  void disable(const model::ProcessKey& key, const std::string& for_good = {});
  bool is_enabled(const model::ProcessKey& key) const;
  // The process is gone; there is nothing to set back.
  void forget(const model::ProcessKey& key);
  // How often MemProfileRate of a target was written.
  uint64_t writes() const;

 private:
  struct Entry {
    pid_t pid = 0;
    uint64_t start_time = 0;
    uint64_t stack_start = 0;  // another program of the same process has another
    uint64_t address = 0;
    bool operator==(const Entry&) const = default;
  };

  RuntimeSampling(const process::ProcFs& proc, std::filesystem::path journal);
  Expected<Entry> identify(pid_t pid) const;
  Expected<void> set_back(const Entry& entry);
  Expected<void> restore();
  Expected<void> write_journal() const;

  const process::ProcFs& proc_;
  const std::filesystem::path journal_;
  std::string boot_id_;
  mutable std::mutex mutex_;
  std::map<model::ProcessKey, Entry> enabled_;
  std::map<model::ProcessKey, std::string> refused_;
  uint64_t writes_ = 0;
};

}  // namespace goheapd
