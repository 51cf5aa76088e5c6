#include "exporters/http/web_config.h"

#include <algorithm>
#include <array>
#include <set>
#include <stdexcept>
#include <utility>

#include "daemon/base/duration.h"
#include "daemon/base/yaml.h"

namespace goheapd::exporters::http {
namespace {

// Thrown and caught in this file only: yaml-cpp throws as well, so one catch serves both.
class Invalid : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

[[noreturn]] void invalid(const std::string& message) { throw Invalid(message); }

// Calls visit(key, value) for every entry; a missing or null section has none.
template <typename Visit>
void for_each_entry(const YAML::Node& node, const std::string& section, Visit visit) {
  if (!node.IsDefined() || node.IsNull()) return;
  if (!node.IsMap()) invalid(section + " must be a mapping");
  std::set<std::string> seen;
  for (const auto& entry : node) {
    const auto key = entry.first.as<std::string>();
    if (!seen.insert(key).second) invalid("key " + key + " is there twice in " + section);
    visit(key, entry.second);
  }
}

std::string text_of(const YAML::Node& node) { return node.IsNull() ? std::string() : node.as<std::string>(); }

std::vector<std::string> list_of(const YAML::Node& node) {
  return node.IsNull() ? std::vector<std::string>() : node.as<std::vector<std::string>>();
}

std::string path_in(const std::string& directory, const std::string& path) {
  return path.empty() || path.starts_with('/') || directory.empty() ? path : directory + "/" + path;
}

template <typename T, size_t N>
T one_of(const std::string& key, const std::string& name,
         const std::array<std::pair<const char*, T>, N>& table) {
  const auto row =
      std::find_if(table.begin(), table.end(), [&](const auto& entry) { return entry.first == name; });
  if (row == table.end()) invalid("unknown " + key + ": " + name);
  return row->second;
}

ClientAuth client_auth_of(const std::string& name) {
  static constexpr std::array<std::pair<const char*, ClientAuth>, 7> kTable = {{
      {"", ClientAuth::none},
      {"NoClientCert", ClientAuth::none},
      {"RequestClientCert", ClientAuth::request},
      {"RequireClientCert", ClientAuth::require_any},  // the toolkit's older name
      {"RequireAnyClientCert", ClientAuth::require_any},
      {"VerifyClientCertIfGiven", ClientAuth::verify_if_given},
      {"RequireAndVerifyClientCert", ClientAuth::require_and_verify},
  }};
  return one_of("client_auth_type", name, kTable);
}

TlsVersion version_of(const std::string& name) {
  static constexpr std::array<std::pair<const char*, TlsVersion>, 4> kTable = {
      {{"TLS10", TlsVersion::tls10},
       {"TLS11", TlsVersion::tls11},
       {"TLS12", TlsVersion::tls12},
       {"TLS13", TlsVersion::tls13}}};
  return one_of("TLS version", name, kTable);
}

std::optional<TlsSettings> parse_tls(const YAML::Node& node, const std::string& directory) {
  TlsSettings tls;
  bool configured = false;
  for_each_entry(node, "tls_server_config", [&](const std::string& key, const YAML::Node& value) {
    if (key == "cert") {
      tls.certificate.inline_text = text_of(value);
    } else if (key == "key") {
      tls.key.inline_text = text_of(value);
    } else if (key == "client_ca") {
      tls.client_ca.inline_text = text_of(value);
    } else if (key == "cert_file") {
      tls.certificate.path = path_in(directory, text_of(value));
    } else if (key == "key_file") {
      tls.key.path = path_in(directory, text_of(value));
    } else if (key == "client_ca_file") {
      tls.client_ca.path = path_in(directory, text_of(value));
    } else if (key == "client_auth_type") {
      tls.client_auth = client_auth_of(text_of(value));
      configured = configured || !text_of(value).empty();
    } else if (key == "client_allowed_sans") {
      tls.client_allowed_sans = list_of(value);
    } else if (key == "min_version") {
      tls.min_version = version_of(text_of(value));
    } else if (key == "max_version") {
      tls.max_version = version_of(text_of(value));
    } else if (key == "cipher_suites") {
      tls.cipher_suites = list_of(value);
    } else if (key == "prefer_server_cipher_suites") {
      tls.prefer_server_cipher_suites = value.as<bool>();
    } else if (key == "curve_preferences") {
      tls.curves = list_of(value);
    } else {
      invalid("unknown key in tls_server_config: " + key);
    }
  });
  configured = configured || !tls.certificate.empty() || !tls.key.empty() || !tls.client_ca.empty();
  if (!configured) return std::nullopt;
  if (tls.certificate.empty()) invalid("tls_server_config needs cert_file (or cert)");
  if (tls.key.empty()) invalid("tls_server_config needs key_file (or key)");
  if (tls.min_version > tls.max_version) invalid("min_version is above max_version");
  const bool required =
      tls.client_auth == ClientAuth::require_any || tls.client_auth == ClientAuth::require_and_verify;
  if (!tls.client_ca.empty() && tls.client_auth == ClientAuth::none) {
    invalid("client_ca_file has no effect without client_auth_type: set RequireAndVerifyClientCert");
  }
  if (!tls.client_allowed_sans.empty() && !required) {
    invalid("client_allowed_sans needs client_auth_type RequireAndVerifyClientCert or RequireAnyClientCert");
  }
  return tls;
}

// The toolkit's own list: other headers could break the endpoints.
void check_header(const std::string& name, const std::string& value) {
  if (name == "Strict-Transport-Security" || name == "X-XSS-Protection" || name == "Content-Security-Policy")
    return;
  if (name == "X-Content-Type-Options") {
    if (value != "nosniff") invalid(name + " must be nosniff");
  } else if (name == "X-Frame-Options") {
    if (value != "deny" && value != "sameorigin") invalid(name + " must be deny or sameorigin");
  } else {
    invalid("this HTTP header cannot be configured: " + name);
  }
}

// $2a$, $2b$ or $2y$, two digits of cost between 4 and 31, 53 characters of salt and hash.
bool is_bcrypt(const std::string& hash) {
  static constexpr std::string_view kAlphabet =
      "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
  if (hash.size() != 60 || hash[0] != '$' || hash[1] != '2' || hash[3] != '$' || hash[6] != '$') return false;
  if (hash[2] != 'a' && hash[2] != 'b' && hash[2] != 'y') return false;
  const std::string cost = hash.substr(4, 2);
  return cost >= "04" && cost <= "31" && cost[1] >= '0' && cost[1] <= '9' &&
         hash.find_first_not_of(kAlphabet, 7) == std::string::npos;
}

RateLimit parse_rate_limit(const YAML::Node& node) {
  RateLimit limit;
  for_each_entry(node, "rate_limit", [&](const std::string& key, const YAML::Node& value) {
    if (key == "interval") {
      const auto interval = parse_duration(text_of(value));
      if (!interval || interval->count() < 0)
        invalid("rate_limit: interval must be a time such as 100ms, or 0");
      limit.interval = *interval;
    } else if (key == "burst") {
      limit.burst = value.as<int64_t>();
    } else {
      invalid("unknown key in rate_limit: " + key);
    }
  });
  if (limit.interval.count() > 0 && limit.burst < 1) {
    invalid("rate_limit: with a burst below 1 every request would be refused");
  }
  return limit;
}

WebConfig parse(const std::string& yaml, const std::string& directory) {
  WebConfig config;
  const auto document = load_yaml(yaml);
  if (!document) invalid(document.error().what);
  for_each_entry(*document, "the file", [&](const std::string& key, const YAML::Node& value) {
    if (key == "tls_server_config") {
      config.tls = parse_tls(value, directory);
    } else if (key == "http_server_config") {
      for_each_entry(value, key, [&](const std::string& http_key, const YAML::Node& http_value) {
        if (http_key == "http2") {
          static_cast<void>(http_value.as<bool>());  // throws when it is no boolean
        } else if (http_key == "headers") {
          for_each_entry(http_value, http_key, [&](const std::string& name, const YAML::Node& header) {
            const std::string text = text_of(header);
            check_header(name, text);
            if (!text.empty()) config.headers.emplace(name, text);
          });
        } else {
          invalid("unknown key in http_server_config: " + http_key);
        }
      });
    } else if (key == "basic_auth_users") {
      for_each_entry(value, key, [&](const std::string& user, const YAML::Node& hash) {
        if (!is_bcrypt(text_of(hash))) invalid("the password of user " + user + " is not a bcrypt hash");
        config.users.emplace(user, text_of(hash));
      });
    } else if (key == "rate_limit") {
      config.rate_limit = parse_rate_limit(value);
    } else {
      invalid("unknown key: " + key);
    }
  });
  return config;
}

}  // namespace

Expected<WebConfig> parse_web_config(const std::string& yaml, const std::string& directory) {
  try {
    return parse(yaml, directory);
  } catch (const std::exception& error) {
    return fail(error.what());
  }
}

}  // namespace goheapd::exporters::http
