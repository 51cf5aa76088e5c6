#include "daemon/base/service_manager.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "daemon/base/clock.h"

namespace goheapd {
namespace {

std::string_view variable(const char* name) {
  const char* value = std::getenv(name);  // at start, before there are threads
  return value == nullptr ? std::string_view() : std::string_view(value);
}

std::optional<uint64_t> parse_number(std::string_view text) {
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

// A path, or a name in the abstract namespace, which "@" stands for and which has no terminating zero.
Expected<UniqueFd> connect_to(std::string_view name) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (name[0] != '/' && name[0] != '@') {
    return fail("NOTIFY_SOCKET must be a path or begin with @", std::string(name));
  }
  if (name.size() >= sizeof address.sun_path) return fail("NOTIFY_SOCKET is too long", std::string(name));
  std::memcpy(address.sun_path, name.data(), name.size());
  if (name[0] == '@') address.sun_path[0] = '\0';
  UniqueFd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd) return fail("cannot create a socket for NOTIFY_SOCKET", {}, errno);
  const size_t size = offsetof(sockaddr_un, sun_path) + name.size() + (name[0] == '/' ? 1 : 0);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), static_cast<socklen_t>(size)) != 0) {
    return fail("cannot connect to NOTIFY_SOCKET", std::string(name), errno);
  }
  return fd;
}

// None if the watchdog is for another process: a shell that started us inherited its variables.
Expected<std::optional<std::chrono::microseconds>> watchdog_of_environment() {
  const std::string_view interval = variable("WATCHDOG_USEC");
  if (interval.empty()) return std::optional<std::chrono::microseconds>();
  if (const std::string_view pid = variable("WATCHDOG_PID"); !pid.empty()) {
    const auto number = parse_number(pid);
    if (!number) return fail("WATCHDOG_PID is not a number", std::string(pid));
    if (*number != static_cast<uint64_t>(::getpid())) return std::optional<std::chrono::microseconds>();
  }
  const auto number = parse_number(interval);
  // A year: far above what anybody sets, far below where nanoseconds overflow.
  constexpr uint64_t kMost = 365ULL * 86400 * 1'000'000;
  if (!number || *number == 0 || *number > kMost) {
    return fail("WATCHDOG_USEC is not a time in microseconds", std::string(interval));
  }
  return std::optional(std::chrono::microseconds(*number));
}

// A line break would begin another variable.
std::string one_line(std::string_view text) {
  std::string line(text);
  std::replace(line.begin(), line.end(), '\n', ' ');
  return line;
}

}  // namespace

Expected<ServiceManager> ServiceManager::from_environment() {
  ServiceManager manager;
  const std::string_view name = variable("NOTIFY_SOCKET");
  if (name.empty()) return manager;
  auto socket = connect_to(name);
  if (!socket) return Unexpected(socket.error());
  manager.socket_ = std::move(*socket);
  auto watchdog = watchdog_of_environment();
  if (!watchdog) return Unexpected(watchdog.error());
  manager.watchdog_ = *watchdog;
  return manager;
}

void ServiceManager::send(std::string_view message) const {
  if (!socket_) return;
  // Not waiting: a supervisor that does not read its socket must not hang the loop that it watches.
  const ssize_t sent = ::send(socket_.get(), message.data(), message.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  static_cast<void>(sent);
}

void ServiceManager::ready(std::string_view status) const { send("READY=1\nSTATUS=" + one_line(status)); }

void ServiceManager::reloading() const {
  // Newer systemd wants to know which reload request this answers: the last one before this time.
  send("RELOADING=1\nMONOTONIC_USEC=" + std::to_string(kernel_time_ns() / 1000) + "\nSTATUS=Reloading");
}

void ServiceManager::stopping() const { send("STOPPING=1\nSTATUS=Removing probes"); }

void ServiceManager::set_status(std::string_view status) const { send("STATUS=" + one_line(status)); }

void ServiceManager::beat(uint64_t now_ns) {
  if (!watchdog_ || now_ns < next_beat_ns_) return;
  next_beat_ns_ = now_ns + static_cast<uint64_t>(watchdog_->count()) * 1000 / 3;
  send("WATCHDOG=1");
}

}  // namespace goheapd
