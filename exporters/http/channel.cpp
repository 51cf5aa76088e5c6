#include "exporters/http/channel.h"

#include <openssl/err.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace goheapd::exporters::http {
namespace {

constexpr auto kLinger = std::chrono::milliseconds(200);
constexpr size_t kLingerBytes = 256 * 1024;

}  // namespace

bool Channel::wait_for(short events, Deadline deadline) const {
  for (;;) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now()).count();
    if (left <= 0) return false;
    pollfd entry{socket_, events, 0};
    const int ready = ::poll(&entry, 1, static_cast<int>(std::min<long long>(left, 60'000)));
    if (ready > 0) return true;  // also on errors and hang-ups: the next read or write tells which
    if (ready < 0 && errno != EINTR) return false;
  }
}

bool Channel::wait_for_tls(int result, Deadline deadline) const {
  switch (SSL_get_error(ssl_.get(), result)) {
    case SSL_ERROR_WANT_READ:
      return wait_for(POLLIN, deadline);
    case SSL_ERROR_WANT_WRITE:
      return wait_for(POLLOUT, deadline);
    default:
      return false;
  }
}

bool Channel::start_tls(SSL_CTX& context, Deadline deadline) {
  ERR_clear_error();
  ssl_.reset(SSL_new(&context));
  if (!ssl_ || SSL_set_fd(ssl_.get(), socket_) != 1) return false;
  SSL_set_mode(ssl_.get(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  for (;;) {
    ERR_clear_error();
    const int result = SSL_accept(ssl_.get());
    if (result == 1) return true;
    if (!wait_for_tls(result, deadline)) return false;
  }
}

bool Channel::read_some(std::string& buffer, Deadline deadline) {
  std::array<char, 4096> chunk;  // NOLINT(cppcoreguidelines-pro-type-member-init): overwritten below
  for (;;) {
    if (ssl_) {
      ERR_clear_error();
      const int result = SSL_read(ssl_.get(), chunk.data(), static_cast<int>(chunk.size()));
      if (result > 0) {
        buffer.append(chunk.data(), static_cast<size_t>(result));
        return true;
      }
      if (!wait_for_tls(result, deadline)) return false;
      continue;
    }
    const ssize_t count = ::recv(socket_, chunk.data(), chunk.size(), 0);
    if (count > 0) {
      buffer.append(chunk.data(), static_cast<size_t>(count));
      return true;
    }
    if (count == 0 || (errno != EAGAIN && errno != EINTR)) return false;
    if (!wait_for(POLLIN, deadline)) return false;
  }
}

bool Channel::write_all(std::string_view bytes, Deadline deadline) {
  while (!bytes.empty()) {
    if (ssl_) {
      ERR_clear_error();
      const auto chunk = static_cast<int>(std::min<size_t>(bytes.size(), 1 << 20));
      const int result = SSL_write(ssl_.get(), bytes.data(), chunk);
      if (result > 0) {
        bytes.remove_prefix(static_cast<size_t>(result));
      } else if (!wait_for_tls(result, deadline)) {
        return false;
      }
      continue;
    }
    const ssize_t count = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count > 0) {
      bytes.remove_prefix(static_cast<size_t>(count));
    } else if ((errno != EAGAIN && errno != EINTR) || !wait_for(POLLOUT, deadline)) {
      return false;
    }
  }
  return true;
}

void Channel::finish() {
  if (ssl_ && SSL_is_init_finished(ssl_.get()) == 1) {
    ERR_clear_error();
    SSL_shutdown(ssl_.get());  // sends close_notify; the peer's own is not waited for
  }
  ::shutdown(socket_, SHUT_WR);
  const Deadline deadline = std::chrono::steady_clock::now() + kLinger;
  std::array<char, 4096> chunk;  // NOLINT(cppcoreguidelines-pro-type-member-init): never read
  for (size_t total = 0; total < kLingerBytes;) {
    const ssize_t count = ::recv(socket_, chunk.data(), chunk.size(), 0);
    if (count > 0) {
      total += static_cast<size_t>(count);
    } else if (count == 0 || (errno != EAGAIN && errno != EINTR) || !wait_for(POLLIN, deadline)) {
      break;
    }
  }
  ::shutdown(socket_, SHUT_RDWR);
}

}  // namespace goheapd::exporters::http
