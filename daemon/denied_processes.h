// Processes that we may not look at: a daemon without the privilege for it finds nothing, and is well otherwise.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

namespace goheapd {

// Why the kernel keeps us from looking at a process, and what to do; `sees_all`: we have CAP_SYS_PTRACE.
std::string why_denied(bool sees_all);

// Told of them after each scan, it says what is new.
class DeniedProcesses {
 public:
  explicit DeniedProcesses(bool sees_all) : sees_all_(sees_all), why_(why_denied(sees_all)) {}

  // A line for the log, when there are some after there were none for a while: of programs that come and go it is
  // not said each time. `programs` is how many others there are that can be looked at. Single ones that even
  // CAP_SYS_PTRACE does not open (of an outer user namespace, or confined) are how a host is set up, and no news.
  std::optional<std::string> update(size_t denied, size_t programs);

  size_t count() const { return count_; }
  const std::string& why() const { return why_; }

 private:
  bool sees_all_;
  std::string why_;
  size_t count_ = 0;
  unsigned scans_to_silence_ = 0;  // 0: the next ones are news
};

}  // namespace goheapd
