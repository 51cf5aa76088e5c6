#include "exporters/http/access.h"

#include <crypt.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>

#include <array>
#include <filesystem>
#include <utility>

#include "daemon/base/text_file.h"

namespace goheapd::exporters::http {
namespace {

constexpr size_t kMaxKnownGood = 128;
constexpr size_t kMaxConfigBytes = size_t{1} << 20;

struct Credentials {
  std::string user;
  std::string password;
};

std::optional<std::string> base64_decode(std::string_view text) {
  if (text.empty() || text.size() % 4 != 0) return std::nullopt;
  std::string decoded(text.size() / 4 * 3, '\0');
  const int length =
      EVP_DecodeBlock(reinterpret_cast<unsigned char*>(decoded.data()),
                      reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size()));
  if (length < 0) return std::nullopt;
  size_t padding = 0;  // EVP_DecodeBlock counts the bytes that '=' stands for
  while (padding < 2 && text[text.size() - 1 - padding] == '=') ++padding;
  decoded.resize(static_cast<size_t>(length) - padding);
  return decoded;
}

std::optional<Credentials> basic_credentials(const Request& request) {
  const std::string_view header = request.header("authorization").value_or("");
  const auto space = header.find(' ');
  if (space != 5 || ::strncasecmp(header.data(), "basic", 5) != 0) return std::nullopt;
  const auto decoded = base64_decode(header.substr(header.find_first_not_of(' ', space)));
  if (!decoded) return std::nullopt;
  const auto colon = decoded->find(':');
  if (colon == std::string::npos) return std::nullopt;
  return Credentials{decoded->substr(0, colon), decoded->substr(colon + 1)};
}

std::string digest_of(const Credentials& credentials, const std::string& hash) {
  // Lengths in front, so that no two different triples are the same bytes.
  const std::string text = std::to_string(credentials.user.size()) + ":" + std::to_string(hash.size()) + ":" +
                           credentials.user + hash + credentials.password;
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int size = 0;
  EVP_Digest(text.data(), text.size(), digest.data(), &size, EVP_sha256(), nullptr);
  return {reinterpret_cast<const char*>(digest.data()), size};
}

Response unauthorized() {
  Response response = error_response(401, "a user name and a password of the web config file are needed");
  response.headers.emplace_back("WWW-Authenticate", "Basic realm=\"goheapd\", charset=\"UTF-8\"");
  return response;
}

}  // namespace

AccessControl::Stamp AccessControl::stamp_of(const std::string& path) {
  Stamp stamp{path};
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0) {
    stamp.exists = true;
    stamp.device = status.st_dev;
    stamp.inode = status.st_ino;
    stamp.size = status.st_size;
    stamp.modified_ns = static_cast<int64_t>(status.st_mtim.tv_sec) * 1'000'000'000 + status.st_mtim.tv_nsec;
  }
  return stamp;
}

Expected<AccessControl::Current> AccessControl::load(const std::string& path, std::vector<Stamp>& stamps) {
  Current loaded;
  if (path.empty()) return loaded;
  // Stamps first: a change while we read is then seen as a change later.
  stamps = {stamp_of(path)};
  const auto text = read_text_file(path, kMaxConfigBytes);
  if (!text) return fail("the web config file " + text.error().what, path, text.error().errno_value);
  auto config = parse_web_config(*text, std::filesystem::path(path).parent_path().string());
  if (!config) return fail("web config file: " + config.error().what, path);
  loaded.config = std::move(*config);
  if (loaded.config.tls) {
    for (const PemSource* source :
         {&loaded.config.tls->certificate, &loaded.config.tls->key, &loaded.config.tls->client_ca}) {
      if (!source->path.empty()) stamps.push_back(stamp_of(source->path));
    }
    auto tls = make_tls_context(*loaded.config.tls);
    if (!tls) return tl::unexpected(tls.error());
    loaded.tls = std::move(*tls);
  }
  return loaded;
}

Expected<std::unique_ptr<AccessControl>> AccessControl::open(std::string path) {
  std::unique_ptr<AccessControl> access(new AccessControl(std::move(path)));
  auto loaded = load(access->path_, access->stamps_);
  if (!loaded) return tl::unexpected(loaded.error());
  access->uses_tls_ = loaded->tls != nullptr;
  access->current_ = std::make_shared<const Current>(std::move(*loaded));
  return access;
}

std::shared_ptr<const AccessControl::Current> AccessControl::current() {
  const std::lock_guard lock(file_mutex_);
  bool changed = false;
  for (const Stamp& stamp : stamps_) changed = changed || stamp_of(stamp.path) != stamp;
  if (!changed) return current_;
  if (const auto taken = take_over(); !taken)
    spdlog::error("{}", to_string(taken.error()));
  else
    spdlog::info("the changed web config is taken over: {}", path_);
  return current_;
}

Expected<void> AccessControl::take_over() {
  auto loaded = load(path_, stamps_);
  taken_over_ = loaded && (loaded->tls != nullptr) == uses_tls_;
  if (!loaded) {
    return fail("web config file not taken over, the old one stays in force: " + loaded.error().what,
                loaded.error().subject, loaded.error().errno_value);
  }
  if (!taken_over_) return fail("web config file not taken over: switching TLS on or off needs a restart");
  current_ = std::make_shared<const Current>(std::move(*loaded));
  return {};
}

Expected<void> AccessControl::reload() {
  const std::lock_guard lock(file_mutex_);
  return path_.empty() ? Expected<void>() : take_over();
}

std::optional<WebConfigStatus> AccessControl::status() {
  if (path_.empty()) return std::nullopt;
  const auto now = current();  // as every connection does: what has changed counts
  const std::lock_guard lock(file_mutex_);
  return WebConfigStatus{taken_over_, now->tls ? certificate_times(*now->tls) : std::nullopt};
}

bool AccessControl::password_matches(const std::string& hash, const std::string& password,
                                     std::stop_token stop) {
  {
    std::unique_lock lock(password_mutex_);
    if (!hashing_done_.wait(lock, stop, [this] { return !hashing_; })) return false;
    hashing_ = true;
  }
  const auto data = std::make_unique<crypt_data>();  // 32 KiB: too much for a thread's stack
  const char* computed = ::crypt_r(password.c_str(), hash.c_str(), data.get());
  const bool matches = computed != nullptr && std::string_view(computed).size() == hash.size() &&
                       CRYPTO_memcmp(computed, hash.data(), hash.size()) == 0;
  {
    const std::lock_guard lock(password_mutex_);
    hashing_ = false;
  }
  hashing_done_.notify_one();
  return matches;
}

std::optional<Response> AccessControl::refusal(const WebConfig& config, const Request& request) {
  // First, so that guessing passwords is limited too.
  if (!rate_limiter_.allow(config.rate_limit, std::chrono::steady_clock::now())) {
    Response response =
        error_response(429, "more requests than rate_limit in the web config file allows; try later");
    response.headers.emplace_back("Retry-After", "1");
    return response;
  }
  if (config.users.empty()) return std::nullopt;
  const auto credentials = basic_credentials(request);
  if (!credentials) return unauthorized();
  const auto user = config.users.find(credentials->user);
  const bool known = user != config.users.end();
  // A user that does not exist costs as much time as one that does, so that time does not tell which exist.
  const std::string& hash = known ? user->second : config.users.begin()->second;
  const std::string digest = digest_of(*credentials, hash);
  if (known) {
    const std::lock_guard lock(password_mutex_);
    if (known_good_.count(digest) != 0) return std::nullopt;
  }
  const bool matches = password_matches(hash, credentials->password, request.stop);
  if (request.stop.stop_requested())
    return error_response(503, "the request was given up: its client left, or goheapd is stopping");
  if (!known || !matches) return unauthorized();
  const std::lock_guard lock(password_mutex_);
  if (known_good_.size() >= kMaxKnownGood) known_good_.clear();
  known_good_.insert(digest);
  return std::nullopt;
}

}  // namespace goheapd::exporters::http
