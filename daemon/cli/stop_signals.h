// SIGINT and SIGTERM for a command that has something to finish before it ends.
#pragma once

#include <chrono>
#include <csignal>
#include <initializer_list>

#include "daemon/base/expected.h"
#include "daemon/base/unique_fd.h"

namespace goheapd::cli {

// Blocks these in this thread and those that it starts from now on; returns them.
Expected<sigset_t> block_signals(std::initializer_list<int> signals);

// From take() on the first of these signals is remembered, the next one ends the process at once. At most one in a process,
// which takes it before it starts threads: these inherit that the signals are blocked, so no call of theirs is interrupted.
class StopSignals {
 public:
  static Expected<StopSignals> take();

  // This thread gets them from now on.
  void listen() const;
  // Waits until one has come (true) or the time is over.
  bool wait(std::chrono::nanoseconds timeout) const;

 private:
  explicit StopSignals(UniqueFd event) : event_(std::move(event)) {}

  UniqueFd event_;  // readable once one has come
};

}  // namespace goheapd::cli
