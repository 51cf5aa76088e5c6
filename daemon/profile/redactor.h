// Hides what an operator does not want to leave the host: parts of names of functions, files, types, programs and labels.
#pragma once

#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "daemon/base/pattern.h"
#include "daemon/model/snapshot.h"
#include "daemon/model/target.h"

namespace goheapd::profile {

// Each match of a pattern becomes "redacted_" and 8 hex digits, the same for the same text on the same host, so that stacks
// still tell apart what differs. The digits are a keyed digest: without the key (this machine's id) they cannot be tried
// out. Thread safe.
class Redactor {
 public:
  explicit Redactor(std::vector<Pattern> patterns = {});

  // Takes new patterns.
  void set_patterns(std::vector<Pattern> patterns);

  std::string redact(const std::string& name) const;
  // Sentences with names in them, such as log lines and reasons: patterns are tried on the whole and on each word, so that ^
  // and $ hold for a name within, too.
  std::string redact_text(const std::string& text) const;
  // The same snapshot where there is nothing to hide.
  model::HeapSnapshotPtr redact(model::HeapSnapshotPtr snapshot) const;
  void redact(model::TargetStatus& status) const;

 private:
  std::string redact_locked(const std::string& name) const;
  std::string redact_text_locked(const std::string& raw) const;
  void mark(const std::string& text, size_t begin, size_t end, std::vector<bool>& hidden) const;
  std::string replace_marked(const std::string& text, const std::vector<bool>& hidden) const;

  const std::string key_;
  mutable std::mutex mutex_;  // guards the rest
  std::vector<Pattern> patterns_;
  mutable std::unordered_map<std::string, std::string> known_;
};

}  // namespace goheapd::profile
