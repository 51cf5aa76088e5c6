// The bytes of one connection, in clear or through TLS. Every wait has a deadline, and ends at once when
// another thread calls shutdown(2) on the socket: that is how the server stops in time.
#pragma once

#include <openssl/ssl.h>

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace goheapd::exporters::http {

using Deadline = std::chrono::steady_clock::time_point;

class Channel {
 public:
  // A connected, non-blocking socket that outlives the channel.
  explicit Channel(int socket) : socket_(socket) {}

  // The TLS handshake as a server. False: the connection is of no use.
  bool start_tls(SSL_CTX& context, Deadline deadline);
  // The handshake's state, nullptr in clear.
  SSL* tls() const { return ssl_.get(); }

  // Appends what has come to `buffer`, at least one byte. False: end of stream, error or deadline.
  bool read_some(std::string& buffer, Deadline deadline);
  // False: not all was sent.
  bool write_all(std::string_view bytes, Deadline deadline);
  // Says goodbye and reads away what the client still sends, for a short while: closing a socket with unread
  // bytes makes the kernel reset the connection, and the client may lose an answer that it has not read yet.
  void finish();

 private:
  struct FreeSsl {
    void operator()(SSL* ssl) const { SSL_free(ssl); }
  };
  bool wait_for(short events, Deadline deadline) const;
  // After an SSL_* call that returned `result` <= 0: waits for what it needs. False: give up.
  bool wait_for_tls(int result, Deadline deadline) const;

  int socket_;
  std::unique_ptr<SSL, FreeSsl> ssl_;
};

}  // namespace goheapd::exporters::http
