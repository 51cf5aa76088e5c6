// The web configuration file of Prometheus exporters (the exporter-toolkit's format): TLS, basic
// authentication, extra response headers, a limit of requests.
// https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/expected.h"

namespace goheapd::exporters::http {

enum class ClientAuth { none, request, require_any, verify_if_given, require_and_verify };
enum class TlsVersion { tls10, tls11, tls12, tls13 };

// PEM text is either in the file itself or in a file that it names (absolute, or relative to it).
struct PemSource {
  std::string inline_text;
  std::string path;
  bool empty() const { return inline_text.empty() && path.empty(); }
};

struct TlsSettings {
  PemSource certificate;
  PemSource key;
  PemSource client_ca;
  ClientAuth client_auth = ClientAuth::none;
  std::vector<std::string> client_allowed_sans;
  TlsVersion min_version = TlsVersion::tls12;
  TlsVersion max_version = TlsVersion::tls13;
  std::vector<std::string> cipher_suites;  // IANA names
  bool prefer_server_cipher_suites = true;
  std::vector<std::string> curves;  // Go's names: CurveP256, CurveP384, CurveP521, X25519, X25519MLKEM768
};

// A bucket of `burst` requests that fills by one per interval.
struct RateLimit {
  std::chrono::nanoseconds interval{0};  // 0: no limit
  int64_t burst = 0;
  bool operator==(const RateLimit&) const = default;
};

struct WebConfig {
  std::optional<TlsSettings> tls;            // nullopt: plain HTTP
  std::map<std::string, std::string> users;  // name -> bcrypt hash; empty: no authentication
  std::map<std::string, std::string> headers;
  RateLimit rate_limit;
};

// Seconds since 1970.
struct CertificateTimes {
  int64_t begin_wall_s = 0;
  int64_t end_wall_s = 0;
};

// How the file in force does.
struct WebConfigStatus {
  bool taken_over = true;                       // what it said when it was last read
  std::optional<CertificateTimes> certificate;  // nullopt: plain HTTP
};

// nullopt: there is no file.
using AskWebConfig = std::function<std::optional<WebConfigStatus>()>;

// `directory` is where relative paths start. Unknown and repeated keys are errors, as in the toolkit: a
// typing error must not leave a server open. http2 is accepted and means nothing: every client can also speak
// HTTP/1.1. For the same reason cipher suites that HTTP/2 does not allow are no mistake here.
Expected<WebConfig> parse_web_config(const std::string& yaml, const std::string& directory);

}  // namespace goheapd::exporters::http
