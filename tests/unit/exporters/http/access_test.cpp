// TLS and basic authentication, over real connections, with cpp-httplib as an independent client.
#include "exporters/http/access.h"

#include <gtest/gtest.h>
#include <httplib.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <ctime>
#include <mutex>
#include <thread>

#include "exporters/http/server.h"
#include "tests/unit/exporters/fixtures.h"
#include "tests/unit/exporters/http/certificates.h"
#include "tests/unit/exporters/http/test_client.h"

namespace goheapd::exporters::http {
namespace {

// bcrypt with cost 4 of "secret" and of "other".
constexpr auto kSecret = "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW";
constexpr auto kOther = "$2b$04$abcdefghijklmnopqrstuu0HtfOlPbTiymk5tcV.3TsFPDd3SYZqu";

class HttpAccess : public testing::Test {
 protected:
  std::unique_ptr<Server> start(const std::string& config) {
    config_ = directory_.write("web.yml", config);
    Router router;
    router.get("/hello", [](const Request& request) {
      return Response{200, "text/plain", request.secure ? "hello through TLS" : "hello", {}};
    });
    router.get("/large", [](const Request&) {
      return Response{200, "text/plain", std::string(20 << 20, 'x'), {}};
    });
    router.get("/slow", [this](const Request& request) {
      std::mutex mutex;
      std::unique_lock lock(mutex);
      ++waiting_;
      ++started_;
      std::condition_variable_any().wait(lock, request.stop, [] { return false; });
      --waiting_;
      return error_response(503, "stopped");
    });
    auto server = Server::start({{"127.0.0.1:0"}, config_, 16}, std::move(router));
    EXPECT_TRUE(server) << to_string(server.error());
    if (!server) return nullptr;
    port_ = port_of((*server)->addresses().front());
    return std::move(*server);
  }

  void write_server_certificate(const Certificate& certificate) {
    directory_.write("server.crt", certificate.certificate_pem());
    directory_.write("server.key", certificate.key_pem());
  }

  std::unique_ptr<httplib::SSLClient> tls_client(const Certificate* client = nullptr) {
    std::unique_ptr<httplib::SSLClient> made;
    if (client != nullptr) {
      const std::string certificate = directory_.write("client.crt", client->certificate_pem());
      const std::string key = directory_.write("client.key", client->key_pem());
      made = std::make_unique<httplib::SSLClient>("127.0.0.1", port_, certificate, key);
    } else {
      made = std::make_unique<httplib::SSLClient>("127.0.0.1", port_);
    }
    made->set_ca_cert_path(directory_.path("ca.crt").c_str());
    made->enable_server_certificate_verification(true);
    return made;
  }

  int basic_status(const char* user, const char* password) const {
    httplib::Client client("127.0.0.1", port_);
    client.set_basic_auth(user, password);
    return client.Get("/hello")->status;
  }

  fixtures::TemporaryDirectory directory_;
  std::string config_;
  int port_ = 0;
  std::atomic<int> waiting_{0};
  std::atomic<int> started_{0};
  const Certificate authority_ = Certificate::authority("test authority");
  const Certificate server_ = Certificate::signed_by(authority_, "server", "DNS:localhost,IP:127.0.0.1");
  const Certificate client_ =
      Certificate::signed_by(authority_, "scraper", "DNS:scraper.example.com,IP:10.0.0.1");

  void SetUp() override {
    directory_.write("ca.crt", authority_.certificate_pem());
    std::signal(SIGPIPE, SIG_IGN);  // the client library writes to connections that the server has closed
  }
};

TEST_F(HttpAccess, PasswordsOpenAndCloseTheDoor) {
  const auto server = start(std::string("basic_auth_users:\n  alice: ") + kSecret + "\n");
  for (int i = 0; i < 2; ++i) {  // the second time from memory
    EXPECT_EQ(basic_status("alice", "secret"), 200);
    EXPECT_EQ(basic_status("alice", "Secret"), 401);
    EXPECT_EQ(basic_status("alice", ""), 401);
    EXPECT_EQ(basic_status("bob", "secret"), 401);
  }
  httplib::Client nobody("127.0.0.1", port_);
  const auto result = nobody.Get("/hello");
  EXPECT_EQ(result->status, 401);
  EXPECT_TRUE(result->get_header_value("WWW-Authenticate").starts_with("Basic "));
  EXPECT_EQ(nobody.Get("/nowhere")->status, 401);
  for (const char* header : {"Basic", "Basic ", "Basic !!!!", "Basic YQ==", "Bearer abc",
                             "Basic YWxpY2U6c2VjcmV0=", "basicYWxpY2U6c2VjcmV0"}) {
    EXPECT_EQ(nobody.Get("/hello", {{"Authorization", header}})->status, 401) << header;
  }
  EXPECT_EQ(nobody.Get("/hello", {{"Authorization", "basic  YWxpY2U6c2VjcmV0"}})->status, 200);
}

TEST_F(HttpAccess, AChangedFileIsInForceWithTheNextRequest) {
  const auto server = start(std::string("basic_auth_users: {alice: ") + kSecret + "}\n");
  EXPECT_EQ(basic_status("alice", "secret"), 200);
  directory_.write("web.yml", std::string("basic_auth_users: {alice: ") + kOther + "}\n# longer\n");
  EXPECT_EQ(basic_status("alice", "secret"), 401);
  EXPECT_EQ(basic_status("alice", "other"), 200);
}

TEST_F(HttpAccess, ABrokenOrMissingFileDoesNotOpenTheDoor) {
  const auto server = start(std::string("basic_auth_users: {alice: ") + kSecret + "}\n");
  directory_.write("web.yml", "basic_auth_userz: {}\n");
  EXPECT_EQ(basic_status("nobody", ""), 401);
  EXPECT_EQ(basic_status("alice", "secret"), 200);
  std::remove(config_.c_str());
  EXPECT_EQ(basic_status("nobody", ""), 401);
  EXPECT_EQ(basic_status("alice", "secret"), 200);
  directory_.write("web.yml", "{}\n");
  EXPECT_EQ(basic_status("nobody", ""), 200);
}

TEST_F(HttpAccess, ItIsToldWhetherTheFileWasTakenOver) {
  write_server_certificate(server_);
  const std::string good = "tls_server_config: {cert_file: server.crt, key_file: server.key}\n";
  const auto server = start(good);
  ASSERT_TRUE(server);
  const auto taken_over = [&server] { return server->web_config_status()->taken_over; };
  EXPECT_TRUE(taken_over());
  // Test certificates are good for an hour.
  const std::time_t now = std::time(nullptr);
  const auto certificate = server->web_config_status()->certificate;
  ASSERT_TRUE(certificate);
  EXPECT_GT(certificate->end_wall_s, now + 3000);
  EXPECT_LT(certificate->end_wall_s, now + 3700);
  EXPECT_GT(certificate->begin_wall_s, now - 100);
  EXPECT_LE(certificate->begin_wall_s, now);
  // Without anybody who connects, told to read it or not; and until it is mended.
  directory_.write("web.yml", "tls_server_configs: {}\n");
  EXPECT_FALSE(taken_over());
  for (int i = 0; i < 2; ++i) {
    const auto reloaded = server->reload_web_config();
    ASSERT_FALSE(reloaded);
    EXPECT_NE(to_string(reloaded.error()).find("tls_server_configs"), std::string::npos);
    EXPECT_FALSE(taken_over());
  }
  directory_.write("web.yml", good);
  EXPECT_TRUE(taken_over());
  directory_.write("server.key", client_.key_pem());  // of another certificate
  EXPECT_FALSE(taken_over());
  EXPECT_TRUE(tls_client()->Get("/hello"));
  write_server_certificate(server_);
  EXPECT_TRUE(server->reload_web_config());
  EXPECT_TRUE(taken_over());
  directory_.write("web.yml", "{}\n");  // TLS off wants a restart
  EXPECT_FALSE(server->reload_web_config());
  EXPECT_FALSE(taken_over());
}

TEST_F(HttpAccess, WithoutAFileNothingIsToldOfIt) {
  const auto server = Server::start({{"127.0.0.1:0"}, "", 16}, Router());
  ASSERT_TRUE(server);
  EXPECT_FALSE((*server)->web_config_status());
  EXPECT_TRUE((*server)->reload_web_config());
  const auto clear = start("{}\n");
  EXPECT_TRUE(clear->web_config_status()->taken_over);
  EXPECT_FALSE(clear->web_config_status()->certificate);
}

TEST_F(HttpAccess, ConfiguredHeadersAreOnEveryAnswer) {
  const auto server = start(
      "http_server_config:\n  headers:\n    X-Frame-Options: deny\n"
      "    X-Content-Type-Options: nosniff\n");
  httplib::Client client("127.0.0.1", port_);
  EXPECT_EQ(client.Get("/hello")->get_header_value("X-Frame-Options"), "deny");
  const auto error = client.Get("/nowhere");  // has nosniff by itself: not twice
  EXPECT_EQ(error->get_header_value_count("X-Content-Type-Options"), 1u);
}

TEST_F(HttpAccess, SpeaksTls) {
  write_server_certificate(server_);
  const auto server = start("tls_server_config: {cert_file: server.crt, key_file: server.key}\n");
  ASSERT_TRUE(server);
  EXPECT_TRUE(server->uses_tls());
  const auto client = tls_client();
  const auto result = client->Get("/hello");
  ASSERT_TRUE(result) << httplib::to_string(result.error());
  EXPECT_EQ(result->body, "hello through TLS");
}

TEST_F(HttpAccess, WhoForgetsTlsIsTold) {
  write_server_certificate(server_);
  const auto server = start("tls_server_config: {cert_file: server.crt, key_file: server.key}\n");
  ASSERT_TRUE(server);
  const std::string address = "127.0.0.1:" + std::to_string(port_);
  for (const char* method : {"GET", "POST"}) {
    const std::string answer = raw_exchange(address, method + std::string(" /hello HTTP/1.0\r\n\r\n"));
    EXPECT_TRUE(answer.starts_with("HTTP/1.0 400 ")) << answer;
    EXPECT_TRUE(answer.ends_with("Client sent an HTTP request to an HTTPS server.\n")) << answer;
  }
  EXPECT_EQ(raw_exchange(address, "neither of both\r\n\r\n").find("HTTP"), std::string::npos);
  EXPECT_TRUE(tls_client()->Get("/hello"));
}

TEST_F(HttpAccess, LargeAnswersComeWholeThroughTls) {
  write_server_certificate(server_);
  const auto server = start("tls_server_config: {cert_file: server.crt, key_file: server.key}\n");
  const auto client = tls_client();
  client->set_keep_alive(true);
  for (int i = 0; i < 2; ++i) {
    const auto result = client->Get("/large");
    ASSERT_TRUE(result) << httplib::to_string(result.error());
    EXPECT_EQ(result->body, std::string(20 << 20, 'x'));
  }
}

TEST_F(HttpAccess, ATlsClientThatLeavesEndsItsRequest) {
  write_server_certificate(server_);
  const auto server = start("tls_server_config: {cert_file: server.crt, key_file: server.key}\n");
  const auto client = tls_client();
  client->set_read_timeout(std::chrono::milliseconds(300));
  EXPECT_FALSE(client->Get("/slow"));
  client->stop();
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while ((started_ == 0 || waiting_ != 0) && std::chrono::steady_clock::now() < deadline)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_EQ(started_, 1);
  EXPECT_EQ(waiting_, 0);
}

TEST_F(HttpAccess, ANewCertificateIsTakenUpWithoutRestart) {
  write_server_certificate(server_);
  const auto server = start("tls_server_config: {cert_file: server.crt, key_file: server.key}\n");
  EXPECT_TRUE(tls_client()->Get("/hello"));
  const Certificate stranger = Certificate::authority("another authority");
  write_server_certificate(Certificate::signed_by(stranger, "server", "IP:127.0.0.1"));
  EXPECT_FALSE(tls_client()->Get("/hello"));
  write_server_certificate(Certificate::signed_by(authority_, "server", "IP:127.0.0.1"));
  EXPECT_TRUE(tls_client()->Get("/hello"));
}

TEST_F(HttpAccess, ClientCertificatesAreChecked) {
  write_server_certificate(server_);
  const std::string base = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n";
  const Certificate stranger = Certificate::authority("another authority");
  const Certificate foreign = Certificate::signed_by(stranger, "intruder", "DNS:scraper.example.com");
  struct Case {
    const char* settings;
    bool without;
    bool foreign;
    bool ours;
  };
  for (const Case& c : {
           Case{"  client_auth_type: NoClientCert\n", true, true, true},
           Case{"  client_auth_type: RequestClientCert\n", true, true, true},
           Case{"  client_auth_type: RequireAnyClientCert\n", false, true, true},
           Case{"  client_auth_type: VerifyClientCertIfGiven\n  client_ca_file: ca.crt\n", true, false, true},
           Case{"  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n", false, false,
                true},
           Case{"  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n"
                "  client_allowed_sans: [scraper.example.com]\n",
                false, false, true},
           Case{"  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n"
                "  client_allowed_sans: [10.0.0.1]\n",
                false, false, true},
           Case{"  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n"
                "  client_allowed_sans: [somebody.else]\n",
                false, false, false},
       }) {
    const auto server = start(base + c.settings);
    ASSERT_TRUE(server);
    EXPECT_EQ(static_cast<bool>(tls_client()->Get("/hello")), c.without) << c.settings;
    EXPECT_EQ(static_cast<bool>(tls_client(&foreign)->Get("/hello")), c.foreign) << c.settings;
    EXPECT_EQ(static_cast<bool>(tls_client(&client_)->Get("/hello")), c.ours) << c.settings;
  }
}

TEST_F(HttpAccess, RefusesWhatCannotServe) {
  write_server_certificate(server_);
  const std::string base = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n";
  directory_.write("garbage", "no PEM here");
  directory_.write("other.key", client_.key_pem());
  for (const std::string& config :
       {std::string("tls_server_config: {cert_file: missing, key_file: server.key}\n"),
        std::string("tls_server_config: {cert_file: garbage, key_file: server.key}\n"),
        std::string("tls_server_config: {cert_file: server.crt, key_file: garbage}\n"),
        std::string("tls_server_config: {cert_file: server.crt, key_file: other.key}\n"),
        base + "  cipher_suites: [TLS_MADE_UP]\n", base + "  curve_preferences: [CurveMadeUp]\n",
        base + "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: garbage\n"}) {
    const auto server = Server::start({{"127.0.0.1:0"}, directory_.write("bad.yml", config), 16}, Router());
    EXPECT_FALSE(server) << config;
  }
  EXPECT_FALSE(Server::start({{"127.0.0.1:0"}, directory_.path("no-such-file"), 16}, Router()));
}

TEST_F(HttpAccess, EverythingMayBeInOneFile) {
  auto indent = [](std::string pem) {
    for (size_t at = 0; (at = pem.find('\n', at)) != std::string::npos; ++at) pem.replace(at, 1, "\n    ");
    return "|\n    " + pem + "\n";
  };
  const auto server =
      start("tls_server_config:\n  cert: " + indent(server_.certificate_pem()) +
            "  key: " + indent(server_.key_pem()) +
            "  min_version: TLS13\n"
            "  curve_preferences: [X25519MLKEM768, X25519, CurveP256]\n"
            "  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_AES_128_GCM_SHA256]\n");
  ASSERT_TRUE(server);
  EXPECT_TRUE(tls_client()->Get("/hello"));
}

TEST_F(HttpAccess, StopsWhileHandshakesHang) {
  write_server_certificate(server_);
  const auto server = start("tls_server_config: {cert_file: server.crt, key_file: server.key}\n");
  const UniqueFd silent = connect_to(server->addresses().front());
  const UniqueFd garbage = connect_to(server->addresses().front());
  send_bytes(garbage.get(), "\x16\x03\x01\x02");
  const auto client = tls_client();
  client->set_keep_alive(true);
  EXPECT_TRUE(client->Get("/hello"));
  const auto begin = std::chrono::steady_clock::now();
  server->stop();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(1));
}

}  // namespace
}  // namespace goheapd::exporters::http
