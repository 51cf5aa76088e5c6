#pragma once

#include <cstdint>
#include <map>

#include "daemon/model/process_key.h"

namespace goheapd {

// Which processes a worker is looking at, by which settings, and when those that could not be attached are looked at again.
//
//   begin ──▶ under way ──┬─ finish: by the present settings ──▶ what was found holds ──┬─ attached, not wanted ──▶ forget
//                         │                                                             └─ cannot be attached   ──▶ failed:
//                         └─ finish: by earlier ones ──▶ look again                         look_due in 10 s, 20 s, ...
//
// Owner thread only.
class OpeningSchedule {
 public:
  // Of what cannot be attached, most never can be; for what can later, that is soon enough.
  static constexpr uint64_t kFirstPauseNs = 10'000'000'000;
  static constexpr uint64_t kLongestPauseNs = 320'000'000'000;

  // By which settings a look is made that begins now.
  uint64_t generation() const { return generation_; }
  // What is under way will be of no use; what has failed may go well now.
  void settings_changed();

  // False: a look is under way already, which will do.
  bool begin(const model::ProcessKey& key);
  // It has come back. False: the settings have changed meanwhile, and nothing of what it says holds.
  bool finish(const model::ProcessKey& key, uint64_t generation);

  void failed(const model::ProcessKey& key, uint64_t now_ns);
  bool look_due(const model::ProcessKey& key, uint64_t now_ns) const;

  // The process is attached, not wanted, or gone.
  void forget(const model::ProcessKey& key) { entries_.erase(key); }

 private:
  struct Entry {
    bool under_way = false;
    uint64_t pause_ns = 0;  // after the last failure
    uint64_t next_look_ns = 0;
  };
  uint64_t generation_ = 0;
  std::map<model::ProcessKey, Entry> entries_;
};

}  // namespace goheapd
