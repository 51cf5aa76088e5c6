// Tells whoever supervises this process how it is doing, by systemd's notify protocol: one datagram of NAME=VALUE lines
// per message to the socket named by $NOTIFY_SOCKET. Without that variable every call does nothing, so callers need
// not ask whether there is a supervisor. https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "daemon/base/expected.h"
#include "daemon/base/unique_fd.h"

namespace goheapd {

// Thread safe after creation, except for beat(). A message that cannot be delivered is dropped: a supervisor that
// does not listen must not stop us.
class ServiceManager {
 public:
  // From $NOTIFY_SOCKET, $WATCHDOG_USEC and $WATCHDOG_PID. Error: the variables are there and make no sense.
  static Expected<ServiceManager> from_environment();

  bool is_present() const { return static_cast<bool>(socket_); }
  // How long the supervisor lets us be silent before it kills us; none = it does not watch.
  std::optional<std::chrono::microseconds> watchdog() const { return watchdog_; }

  // `status` is one line for `systemctl status`.
  void ready(std::string_view status) const;
  // The end of a reload is told by ready().
  void reloading() const;
  void stopping() const;
  void set_status(std::string_view status) const;

  // "I am alive", for the one loop whose hanging should be noticed: call it as often as you like, `now_ns` being
  // kernel_time_ns(). A message goes out every third of the watchdog's time, so that two may be late.
  void beat(uint64_t now_ns);

 private:
  ServiceManager() = default;
  void send(std::string_view message) const;

  UniqueFd socket_;  // connected; none = no supervisor
  std::optional<std::chrono::microseconds> watchdog_;
  uint64_t next_beat_ns_ = 0;
};

}  // namespace goheapd
