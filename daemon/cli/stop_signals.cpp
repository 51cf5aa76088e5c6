#include "daemon/cli/stop_signals.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <utility>

namespace goheapd::cli {
namespace {

constexpr std::initializer_list<int> kSignals = {SIGINT, SIGTERM};

std::atomic<int> event_of_handler{-1};
static_assert(std::atomic<int>::is_always_lock_free);

void on_signal(int) {
  const int error = errno;
  for (const int signal : kSignals) ::signal(signal, SIG_DFL);
  const uint64_t one = 1;
  // It cannot fail: the handler runs once.
  [[maybe_unused]] const ssize_t written = ::write(event_of_handler, &one, sizeof one);
  errno = error;
}

sigset_t set_of(std::initializer_list<int> signals) {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : signals) sigaddset(&set, signal);
  return set;
}

}  // namespace

Expected<sigset_t> block_signals(std::initializer_list<int> signals) {
  const sigset_t set = set_of(signals);
  if (const int error = pthread_sigmask(SIG_BLOCK, &set, nullptr); error != 0)
    return fail("cannot block signals", {}, error);
  return set;
}

Expected<StopSignals> StopSignals::take() {
  UniqueFd event(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!event) return fail("cannot wait for signals", {}, errno);
  event_of_handler = event.get();
  const auto signals = block_signals(kSignals);
  if (!signals) return Unexpected(signals.error());
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_mask = *signals;
  action.sa_flags = SA_RESTART;
  for (const int signal : kSignals) {
    // Also where they were ignored: a shell without job control does that to what it starts in the background, and whoever
    // sends one means it.
    if (::sigaction(signal, &action, nullptr) != 0) return fail("cannot take signals", {}, errno);
  }
  return StopSignals(std::move(event));
}

void StopSignals::listen() const {
  const sigset_t signals = set_of(kSignals);
  pthread_sigmask(SIG_UNBLOCK, &signals, nullptr);
}

bool StopSignals::wait(std::chrono::nanoseconds timeout) const {
  using std::chrono::nanoseconds;
  using std::chrono::steady_clock;
  const auto until = steady_clock::now() + timeout;
  for (;;) {
    const auto left = std::max(nanoseconds(0), nanoseconds(until - steady_clock::now()));
    const timespec most{left.count() / 1'000'000'000, left.count() % 1'000'000'000};
    pollfd event{event_.get(), POLLIN, 0};
    const int ready = ::ppoll(&event, 1, &most, nullptr);
    if (ready > 0) return true;
    if (ready == 0 || errno != EINTR) return false;
  }
}

}  // namespace goheapd::cli
