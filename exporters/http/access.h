// Who may use the server: the web configuration file in force, and passwords.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "exporters/http/message.h"
#include "exporters/http/rate_limiter.h"
#include "exporters/http/tls_context.h"
#include "exporters/http/web_config.h"

namespace goheapd::exporters::http {

// Thread safe. A file that changes (or whose certificates do) is taken over with the next connection or
// request; one that has become wrong is logged and the last good one stays in force, so that a mistake never
// opens the server.
class AccessControl {
 public:
  struct Current {
    WebConfig config;
    SslContext tls;  // null: plain HTTP
  };

  // An empty path: everybody may do everything, in clear.
  static Expected<std::unique_ptr<AccessControl>> open(std::string path);

  // Whether connections speak TLS. Decided by the file at start; a change needs a restart.
  bool uses_tls() const { return uses_tls_; }
  std::shared_ptr<const Current> current();
  // Reads the file again, changed or not. Error: why the last good one stays in force.
  Expected<void> reload();
  // nullopt: there is no file.
  std::optional<WebConfigStatus> status();

  // The answer that a request gets instead of what it asked for: 429, 401, or 503 when the client leaves or the server
  // stops while the request waits for its turn. nullopt: it may pass.
  std::optional<Response> refusal(const WebConfig& config, const Request& request);

 private:
  // What tells that a file is another one than before.
  struct Stamp {
    std::string path;
    bool exists = false;
    uint64_t device = 0;
    uint64_t inode = 0;
    int64_t size = 0;
    int64_t modified_ns = 0;
    bool operator==(const Stamp&) const = default;
  };

  explicit AccessControl(std::string path) : path_(std::move(path)) {}
  static Stamp stamp_of(const std::string& path);
  // Also on failure, `stamps` has every file that was looked at: the next change of one is the time to try
  // again.
  static Expected<Current> load(const std::string& path, std::vector<Stamp>& stamps);
  Expected<void> take_over();  // file_mutex_ is held
  bool password_matches(const std::string& hash, const std::string& password, std::stop_token stop);

  const std::string path_;
  bool uses_tls_ = false;

  std::mutex file_mutex_;  // guards the three below
  std::shared_ptr<const Current> current_;
  bool taken_over_ = true;  // what the file said when it was last read
  std::vector<Stamp> stamps_;

  // bcrypt is slow on purpose: one at a time, so that guessing cannot take every core, and good ones
  // remembered (as digests of user, hash and password).
  std::mutex password_mutex_;  // guards the two below
  bool hashing_ = false;
  std::set<std::string> known_good_;
  std::condition_variable_any hashing_done_;

  RateLimiter rate_limiter_;
};

}  // namespace goheapd::exporters::http
