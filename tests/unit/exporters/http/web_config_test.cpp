#include "exporters/http/web_config.h"

#include <gtest/gtest.h>

namespace goheapd::exporters::http {
namespace {

// bcrypt of "secret", cost 4.
constexpr auto kHash = "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW";

Expected<WebConfig> parse(const std::string& yaml) { return parse_web_config(yaml, "/etc/goheapd"); }

TEST(WebConfig, EmptyFileMeansOpenAndPlain) {
  for (const char* yaml : {"", "# nothing\n", "---\n", "tls_server_config:\n", "tls_server_config: {}\n"}) {
    const auto config = parse(yaml);
    ASSERT_TRUE(config) << yaml;
    EXPECT_FALSE(config->tls);
    EXPECT_TRUE(config->users.empty());
  }
}

TEST(WebConfig, ReadsEverySection) {
  const auto config = parse(R"(
tls_server_config:
  cert_file: server.crt
  key_file: /keys/server.key
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: ca.crt
  client_allowed_sans: [scraper.example.com]
  min_version: TLS12
  max_version: TLS13
  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]
  prefer_server_cipher_suites: false
  curve_preferences: [CurveP256, X25519]
http_server_config:
  http2: false
  headers:
    Strict-Transport-Security: max-age=1
    X-Frame-Options: deny
basic_auth_users:
  alice: )" + std::string(kHash) +
                            "\n");
  ASSERT_TRUE(config) << config.error().what;
  ASSERT_TRUE(config->tls);
  EXPECT_EQ(config->tls->certificate.path, "/etc/goheapd/server.crt");
  EXPECT_EQ(config->tls->key.path, "/keys/server.key");
  EXPECT_EQ(config->tls->client_auth, ClientAuth::require_and_verify);
  EXPECT_EQ(config->tls->client_ca.path, "/etc/goheapd/ca.crt");
  EXPECT_EQ(config->tls->min_version, TlsVersion::tls12);
  EXPECT_FALSE(config->tls->prefer_server_cipher_suites);
  EXPECT_EQ(config->tls->curves, (std::vector<std::string>{"CurveP256", "X25519"}));
  EXPECT_EQ(config->headers.at("X-Frame-Options"), "deny");
  EXPECT_EQ(config->users.at("alice"), kHash);
}

TEST(WebConfig, ReadsTheRateLimit) {
  const auto config = parse("rate_limit: {interval: 1m30s, burst: 20}");
  ASSERT_TRUE(config) << config.error().what;
  EXPECT_EQ(config->rate_limit, (RateLimit{std::chrono::seconds(90), 20}));
  // As in the toolkit, 0 is no limit.
  EXPECT_EQ(parse("rate_limit: {interval: 0}")->rate_limit, RateLimit{});
  EXPECT_EQ(parse("rate_limit: {}")->rate_limit, RateLimit{});
}

struct BadCase {
  const char* yaml;
  const char* message;
};

class BadWebConfig : public testing::TestWithParam<BadCase> {};

TEST_P(BadWebConfig, IsRefusedAndSaysWhy) {
  const auto config = parse(GetParam().yaml);
  ASSERT_FALSE(config) << GetParam().yaml;
  EXPECT_NE(config.error().what.find(GetParam().message), std::string::npos) << config.error().what;
}

INSTANTIATE_TEST_SUITE_P(
    All, BadWebConfig,
    testing::Values(
        BadCase{"tls_config: {}", "unknown key: tls_config"}, BadCase{"{{{", ""}, BadCase{"- a", "mapping"},
        BadCase{"basic_auth_users: {}\nbasic_auth_users: {}", "twice"},
        BadCase{"--- {}\n--- {}", "more than one"},
        BadCase{"tls_server_config: {cert_filse: a}", "cert_filse"},
        BadCase{"tls_server_config: {cert_file: a}", "key_file"},
        BadCase{"tls_server_config: {key_file: a}", "cert_file"},
        BadCase{"tls_server_config: {cert_file: '', key_file: a}", "cert_file"},
        BadCase{"tls_server_config: {cert_file: a, key_file: ''}", "key_file"},
        BadCase{"tls_server_config: {client_auth_type: RequireAnyClientCert}", "cert_file"},
        BadCase{"tls_server_config: {cert_file: a, key_file: b, client_auth_type: Maybe}", "Maybe"},
        BadCase{"tls_server_config: {cert_file: a, key_file: b, client_ca_file: c}", "client_auth_type"},
        BadCase{"tls_server_config: {cert_file: a, key_file: b, client_allowed_sans: [x]}",
                "client_allowed_sans"},
        BadCase{"tls_server_config: {cert_file: a, key_file: b, client_auth_type: VerifyClientCertIfGiven, "
                "client_allowed_sans: [x]}",
                "client_allowed_sans"},
        BadCase{"tls_server_config: {cert_file: a, key_file: b, min_version: TLS14}", "TLS14"},
        BadCase{"tls_server_config: {cert_file: a, key_file: b, min_version: TLS13, max_version: TLS12}",
                "above"},
        BadCase{"tls_server_config: {cert_file: [a]}", ""},
        BadCase{"http_server_config: {http3: true}", "http3"},
        BadCase{"http_server_config: {http2: maybe}", ""},
        BadCase{"http_server_config: {headers: {Server: x}}", "Server"},
        BadCase{"http_server_config: {headers: {X-Frame-Options: allow}}", "deny"},
        BadCase{"http_server_config: {headers: {X-Content-Type-Options: sniff}}", "nosniff"},
        BadCase{"basic_auth_users: {bob: secret}", "bcrypt"},
        BadCase{"basic_auth_users: {bob: $2x$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW}",
                "bcrypt"},
        BadCase{"basic_auth_users: {bob: $2b$99$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW}",
                "bcrypt"},
        BadCase{"basic_auth_users: [bob]", "mapping"}, BadCase{"rate_limit: {interval: 1s}", "burst"},
        BadCase{"rate_limit: {interval: 1s, burst: 0}", "burst"},
        BadCase{"rate_limit: {interval: 1, burst: 1}", "interval"},
        BadCase{"rate_limit: {interval: -1s, burst: 1}", "interval"},
        BadCase{"rate_limit: {interval: 1s, burst: many}", ""}, BadCase{"rate_limit: {burts: 1}", "burts"}));

}  // namespace
}  // namespace goheapd::exporters::http
