#include "exporters/http/server.h"

#include <gtest/gtest.h>
#include <httplib.h>
#include <poll.h>
#include <sys/socket.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <mutex>
#include <thread>

#include "tests/unit/exporters/http/test_client.h"

namespace goheapd::exporters::http {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

constexpr auto kClose = "Host: h\r\nConnection: close\r\n\r\n";

// "/slow" waits until it is told to stop.
class HttpServer : public testing::Test {
 protected:
  std::unique_ptr<Server> start(ServerOptions options) {
    Router router;
    router.get("/hello", [](const Request&) {
      return Response{200, "text/plain", "hello", {{"X-More", "1"}}};
    });
    router.get("/large", [](const Request&) {
      return Response{200, "text/plain", std::string(20 << 20, 'x'), {}};
    });
    router.get("/throw", [](const Request&) -> Response { throw std::runtime_error("broken"); });
    router.get("/slow", [this](const Request& request) {
      std::mutex mutex;
      std::unique_lock lock(mutex);
      std::condition_variable_any never;
      ++waiting_;
      never.wait(lock, request.stop, [] { return false; });
      --waiting_;
      return error_response(503, "stopped");
    });
    if (options.listen_addresses.empty()) options.listen_addresses = {"127.0.0.1:0"};
    auto server = Server::start(options, std::move(router));
    EXPECT_TRUE(server) << to_string(server.error());
    return std::move(*server);
  }

  void wait_until_waiting(int count) const {
    const auto deadline = steady_clock::now() + seconds(10);
    while (waiting_ != count && steady_clock::now() < deadline) std::this_thread::sleep_for(milliseconds(5));
    ASSERT_EQ(waiting_, count);
  }

  std::atomic<int> waiting_{0};
};

TEST_F(HttpServer, AnswersAnHttpLibrary) {
  const auto server = start({});
  httplib::Client client("127.0.0.1", port_of(server->addresses().front()));
  client.set_keep_alive(true);
  for (int i = 0; i < 3; ++i) {
    const auto result = client.Get("/hello");
    ASSERT_TRUE(result);
    EXPECT_EQ(result->status, 200);
    EXPECT_EQ(result->body, "hello");
    EXPECT_EQ(result->get_header_value("X-More"), "1");
  }
  const auto head = client.Head("/hello");
  ASSERT_TRUE(head);
  EXPECT_EQ(head->get_header_value("Content-Length"), "5");
  EXPECT_EQ(head->body, "");
  EXPECT_EQ(client.Get("/nowhere")->status, 404);
  EXPECT_EQ(client.Post("/hello", "body", "text/plain")->status, 405);
  EXPECT_EQ(client.Get("/large")->body.size(), size_t{20} << 20);
  EXPECT_EQ(client.Get("/throw")->status, 500);
  EXPECT_EQ(client.Get("/throw")->body, "{\"error\":\"the request failed: broken\"}\n");
}

TEST_F(HttpServer, KeepsAndClosesConnections) {
  const auto server = start({});
  const std::string address = server->addresses().front();
  const std::string two = raw_exchange(
      address, "GET /hello HTTP/1.1\r\nHost: h\r\n\r\n\r\nGET /hello HTTP/1.1\r\n" + std::string(kClose));
  EXPECT_EQ(two.find("HTTP/1.1 200 OK"), 0u);
  EXPECT_NE(two.find("HTTP/1.1 200 OK", 1), std::string::npos);
  const std::string old = raw_exchange(address, "GET /hello HTTP/1.0\r\n\r\n");
  EXPECT_NE(old.find("Connection: close"), std::string::npos);
  // The body of a request is not read: what would be taken for a second request is not answered.
  const std::string body = raw_exchange(
      address,
      "GET /hello HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nGET /hello HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_EQ(body.find("HTTP/1.1 200 OK"), 0u);
  EXPECT_EQ(body.find("HTTP/1.1 200 OK", 1), std::string::npos);
}

TEST_F(HttpServer, TakesNoBodyForARequest) {
  const auto server = start({});
  const std::string next = std::string("GET /hello HTTP/1.1\r\n") + kClose;
  for (const char* coding : {"xchunked", "chunked, gzip", "gzip", "chunked;q=1", "gzip;a=\",chunked"}) {
    const std::string answers = raw_exchange(
        server->addresses().front(),
        std::string("GET /hello HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: ") + coding + "\r\n\r\n" + next);
    EXPECT_TRUE(answers.starts_with("HTTP/1.1 400 ")) << coding << ": " << answers;
    EXPECT_EQ(answers.find("HTTP/1.1", 1), std::string::npos) << coding << ": " << answers;
  }
  for (const char* version : {"1.0", "1.1"}) {
    const std::string answers = raw_exchange(
        server->addresses().front(),
        std::string("GET /hello HTTP/") + version +
            "\r\nHost: h\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n" + next);
    EXPECT_EQ(answers.find("HTTP/1.1", 1), std::string::npos) << version << ": " << answers;
  }
}

TEST_F(HttpServer, RefusesWhatItCannotTake) {
  const auto server = start({});
  const std::string address = server->addresses().front();
  EXPECT_TRUE(raw_exchange(address, "nonsense\r\n\r\n").starts_with("HTTP/1.1 400 "));
  EXPECT_TRUE(raw_exchange(address, "GET / HTTP/1.1\r\nX: " + std::string(kMaxHeadBytes, 'x'))
                  .starts_with("HTTP/1.1 431 "));
  EXPECT_TRUE(raw_exchange(address, "GET /hello HTTP/3.0\r\n\r\n").starts_with("HTTP/1.1 505 "));
  EXPECT_TRUE(
      raw_exchange(address, std::string("PUT /hello HTTP/1.1\r\n") + kClose).starts_with("HTTP/1.1 405 "));
}

TEST_F(HttpServer, ListensOnSeveralAddresses) {
  const auto server = start({{"127.0.0.1:0", "localhost:0", ":0"}, "", 16});
  ASSERT_EQ(server->addresses().size(), 3u);
  for (const std::string& address : server->addresses()) {
    if (address.starts_with("[::1]")) continue;  // where localhost is IPv6: the raw client speaks IPv4
    EXPECT_TRUE(
        raw_exchange(address, std::string("GET /hello HTTP/1.1\r\n") + kClose).starts_with("HTTP/1.1 200"));
  }
}

TEST_F(HttpServer, AnAddressThatCannotBeHadIsAnError) {
  const auto first = start({});
  const auto second = Server::start({first->addresses(), "", 16}, Router());
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().subject, first->addresses().front());
  EXPECT_FALSE(Server::start({{"nonsense"}, "", 16}, Router()));
  EXPECT_FALSE(Server::start({{}, "", 16}, Router()));
}

// While others get ready, its addresses are nobody else's, and who asks waits for the answer.
TEST_F(HttpServer, ListensBeforeItServes) {
  const auto server = std::move(*Server::listen({{"127.0.0.1:0"}, "", 16}));
  const std::string address = server->addresses().front();
  EXPECT_FALSE(Server::listen({{address}, "", 16}));
  const UniqueFd client = connect_to(address);
  send_bytes(client.get(), std::string("GET /hello HTTP/1.1\r\n") + kClose);
  Router router;
  router.get("/hello", [](const Request&) { return Response{200, "text/plain", "hello", {}}; });
  ASSERT_TRUE(server->serve(std::move(router)));
  EXPECT_TRUE(read_to_end(client.get()).ends_with("hello"));
}

// As where what is to be served cannot be had.
TEST_F(HttpServer, ThatNeverServesIsClosed) {
  auto server = std::move(*Server::listen({{"127.0.0.1:0"}, "", 16}));
  const std::string address = server->addresses().front();
  server.reset();
  EXPECT_TRUE(Server::listen({{address}, "", 16}));
}

TEST_F(HttpServer, MoreConnectionsThanAllowedAreToldSo) {
  const auto server = start({{}, "", 2});
  const std::string address = server->addresses().front();
  const UniqueFd first = connect_to(address);
  const UniqueFd second = connect_to(address);
  send_bytes(first.get(), "GET /slow HTTP/1.1\r\nHost: h\r\n\r\n");
  send_bytes(second.get(), "GET /slow HTTP/1.1\r\nHost: h\r\n\r\n");
  wait_until_waiting(2);
  EXPECT_TRUE(
      raw_exchange(address, std::string("GET /hello HTTP/1.1\r\n") + kClose).starts_with("HTTP/1.1 503"));
}

TEST_F(HttpServer, WhoAsksForNothingMakesRoom) {
  const auto server = start({{}, "", 3});
  const std::string address = server->addresses().front();
  const std::string hello = "GET /hello HTTP/1.1\r\nHost: h\r\n\r\n";
  const UniqueFd busy = connect_to(address);
  send_bytes(busy.get(), "GET /slow HTTP/1.1\r\nHost: h\r\n\r\n");
  wait_until_waiting(1);
  const UniqueFd silent = connect_to(address);
  const UniqueFd dribbles = connect_to(address);
  send_bytes(dribbles.get(), "GET /hel");
  EXPECT_TRUE(raw_exchange(address, std::string("GET /hello HTTP/1.1\r\n") + kClose).ends_with("hello"));
  EXPECT_EQ(read_to_end(silent.get()), "") << "the one that was silent for longest";
  send_bytes(dribbles.get(), std::string("lo HTTP/1.1\r\n") + kClose);
  EXPECT_TRUE(read_to_end(dribbles.get()).ends_with("hello")) << "one at a time";
  EXPECT_EQ(waiting_, 1);
}

// Without, each of these would have its connection for half a minute.
TEST_F(HttpServer, WhoDoesNotReadMakesRoomAfterAWhile) {
  const auto server = start({{}, "", 2});
  const std::string address = server->addresses().front();
  std::vector<UniqueFd> deaf;
  for (int i = 0; i < 2; ++i) {
    deaf.push_back(connect_to(address));
    send_bytes(deaf.back().get(), "GET /large HTTP/1.1\r\nHost: h\r\n\r\n");
  }
  const auto begin = steady_clock::now();
  std::string answer;
  while (!answer.starts_with("HTTP/1.1 200") && steady_clock::now() - begin < seconds(25)) {
    answer = raw_exchange(address, std::string("GET /hello HTTP/1.1\r\n") + kClose);
    std::this_thread::sleep_for(milliseconds(100));
  }
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 200")) << answer;
}

// As much as may be held is held by clients that do not read: others are told to come later, and are answered when
// these have run out of their time.
TEST_F(HttpServer, LargeAnswersAreHeldUpToALimit) {
  Router router(size_t{50} << 20);
  router.get("/large", router.limited(AnswerBudget::Kind::table, [](const Request&) {
    return Response{200, "text/plain", std::string(20 << 20, 'x'), {}};
  }));
  router.get("/hello", [](const Request&) { return Response{200, "text/plain", "hello", {}}; });
  AnswerBudget& budget = router.budget();
  ServerOptions options{{"127.0.0.1:0"}, "", 16};
  options.deadlines.write = seconds(20);
  options.deadlines.scarce_write = seconds(20);
  const auto server = std::move(*Server::start(options, std::move(router)));
  const std::string address = server->addresses().front();
  std::vector<UniqueFd> deaf;
  for (int i = 0; i < 2; ++i) {
    deaf.push_back(connect_to(address));
    send_bytes(deaf.back().get(), "GET /large HTTP/1.1\r\nHost: h\r\n\r\n");
  }
  const auto deadline = steady_clock::now() + seconds(15);
  while (!budget.is_scarce() && steady_clock::now() < deadline) std::this_thread::sleep_for(milliseconds(5));
  EXPECT_TRUE(budget.is_scarce());
  EXPECT_TRUE(raw_exchange(address, std::string("GET /hello HTTP/1.1\r\n") + kClose).ends_with("hello"));
  const std::string refused = raw_exchange(address, std::string("GET /large HTTP/1.1\r\n") + kClose);
  EXPECT_TRUE(refused.starts_with("HTTP/1.1 503 "));
  EXPECT_NE(refused.find("Retry-After: "), std::string::npos);
  // Those who leave let go of theirs.
  deaf.clear();
  EXPECT_GT(raw_exchange(address, std::string("GET /large HTTP/1.1\r\n") + kClose).size(), size_t{20} << 20);
  while (budget.is_scarce() && steady_clock::now() < deadline) std::this_thread::sleep_for(milliseconds(5));
  EXPECT_FALSE(budget.is_scarce());
}

TEST_F(HttpServer, AFloodIsClosedWithoutAWord) {
  const auto server = start({{}, "", 1});
  const std::string address = server->addresses().front();
  std::vector<UniqueFd> flood;
  flood.push_back(connect_to(address));
  send_bytes(flood.back().get(), "GET /slow HTTP/1.1\r\nHost: h\r\n\r\n");
  wait_until_waiting(1);
  for (int i = 0; i < 40; ++i) flood.push_back(connect_to(address));
  EXPECT_EQ(raw_exchange(address, std::string("GET /hello HTTP/1.1\r\n") + kClose), "");
  flood.clear();
  const auto deadline = steady_clock::now() + seconds(10);
  std::string answer;
  while (!answer.starts_with("HTTP/1.1 200") && steady_clock::now() < deadline) {
    answer = raw_exchange(address, std::string("GET /hello HTTP/1.1\r\n") + kClose);
  }
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 200")) << answer;
}

TEST_F(HttpServer, HandlersThatWaitKeepNobodyElseWaiting) {
  const auto server = start({{}, "", 32});
  const std::string address = server->addresses().front();
  std::vector<UniqueFd> slow;
  for (int i = 0; i < 31; ++i) {
    slow.push_back(connect_to(address));
    send_bytes(slow.back().get(), "GET /slow HTTP/1.1\r\nHost: h\r\n\r\n");
  }
  wait_until_waiting(31);
  EXPECT_TRUE(
      raw_exchange(address, std::string("GET /hello HTTP/1.1\r\n") + kClose).starts_with("HTTP/1.1 200"));
}

TEST_F(HttpServer, CutsOffWhoDribbles) {
  Deadlines deadlines;
  deadlines.head = milliseconds(300);
  const auto server = start({{}, "", 16, deadlines});
  const UniqueFd client = connect_to(server->addresses().front());
  const auto begin = steady_clock::now();
  send_bytes(client.get(), "GET /hello HTTP/1.1\r\nX: ");
  std::thread dribble([&] {
    // Each byte comes well before the deadline; only all of them together come too late.
    while (steady_clock::now() - begin < seconds(5) && ::send(client.get(), "x", 1, MSG_NOSIGNAL) == 1)
      std::this_thread::sleep_for(milliseconds(20));
  });
  EXPECT_EQ(read_to_end(client.get()), "");
  EXPECT_LT(steady_clock::now() - begin, seconds(4));
  dribble.join();
}

// With the usual deadlines each of these takes at least ten seconds.
TEST_F(HttpServer, CutsOffWhoIsSilent) {
  Deadlines deadlines;
  deadlines.first_byte = milliseconds(200);
  const auto server = start({{}, "", 16, deadlines});
  const auto begin = steady_clock::now();
  EXPECT_EQ(raw_exchange(server->addresses().front(), ""), "");
  EXPECT_EQ(raw_exchange(server->addresses().front(), "\r\n\r\n"), "");
  EXPECT_LT(steady_clock::now() - begin, seconds(9));
}

TEST_F(HttpServer, CutsOffWhoIsIdle) {
  Deadlines deadlines;
  deadlines.idle = milliseconds(200);
  const auto server = start({{}, "", 16, deadlines});
  const auto begin = steady_clock::now();
  EXPECT_TRUE(raw_exchange(server->addresses().front(), "GET /hello HTTP/1.1\r\nHost: h\r\n\r\n")
                  .ends_with("\r\n\r\nhello"));
  EXPECT_LT(steady_clock::now() - begin, seconds(9));
}

TEST_F(HttpServer, CutsOffWhoDoesNotRead) {
  Deadlines deadlines;
  deadlines.write = milliseconds(200);
  const auto server = start({{}, "", 16, deadlines});
  const UniqueFd deaf = connect_to(server->addresses().front());
  send_bytes(deaf.get(), "GET /large HTTP/1.1\r\nHost: h\r\n\r\n");
  std::this_thread::sleep_for(seconds(2));  // the end comes behind all the bytes: only time can tell
  EXPECT_LT(read_to_end(deaf.get()).size(), size_t{20} << 20);
}

TEST_F(HttpServer, EndlessHeadsAreRefusedHoweverTheyCome) {
  const auto server = start({});
  const UniqueFd client = connect_to(server->addresses().front());
  send_bytes(client.get(), "GET /hello HTTP/1.1\r\nHost: h\r\n");
  size_t sent = 0;
  pollfd entry{client.get(), POLLIN, 0};
  while (sent < 3 * kMaxHeadBytes && ::poll(&entry, 1, 1) == 0) {
    send_bytes(client.get(), "X-Field: " + std::string(500, 'x') + "\r\n");
    sent += 511;
  }
  EXPECT_TRUE(read_to_end(client.get()).starts_with("HTTP/1.1 431 "));
}

TEST_F(HttpServer, HeadHasNoBodyAndTheConnectionGoesOn) {
  const auto server = start({});
  const std::string all = raw_exchange(server->addresses().front(),
                                       "HEAD /large HTTP/1.1\r\nHost: h\r\n\r\n"
                                       "HEAD /hello HTTP/1.1\r\nHost: h\r\n\r\n"
                                       "nonsense\r\n\r\n");
  EXPECT_NE(all.find("Content-Length: 20971520\r\n"), std::string::npos);
  EXPECT_NE(all.find("Content-Length: 5\r\n"), std::string::npos);
  EXPECT_NE(all.find("HTTP/1.1 400 "), std::string::npos);
  EXPECT_TRUE(all.ends_with("}\n")) << "the error has its body again";
  EXPECT_LT(all.size(), size_t{2000});
}

TEST_F(HttpServer, AClientThatLeavesEndsItsRequest) {
  const auto server = start({});
  {
    const UniqueFd client = connect_to(server->addresses().front());
    send_bytes(client.get(), "GET /slow HTTP/1.1\r\nHost: h\r\n\r\n");
    wait_until_waiting(1);
  }
  wait_until_waiting(0);
}

TEST_F(HttpServer, StopsAtOnceWhateverRuns) {
  auto server = start({});
  const std::string address = server->addresses().front();
  const UniqueFd silent = connect_to(address);
  const UniqueFd half = connect_to(address);
  send_bytes(half.get(), "GET /hel");
  const UniqueFd idle = connect_to(address);
  send_bytes(idle.get(), "GET /hello HTTP/1.1\r\nHost: h\r\n\r\n");
  const UniqueFd deaf = connect_to(address);  // never reads its 20 MiB
  send_bytes(deaf.get(), "GET /large HTTP/1.1\r\nHost: h\r\n\r\n");
  const UniqueFd slow = connect_to(address);
  send_bytes(slow.get(), "GET /slow HTTP/1.1\r\nHost: h\r\n\r\n");
  wait_until_waiting(1);
  const auto begin = steady_clock::now();
  server->stop();
  EXPECT_LT(steady_clock::now() - begin, seconds(1));
  EXPECT_EQ(waiting_, 0);
  server->stop();
  server.reset();
  EXPECT_TRUE(start({{address}, "", 16})) << "the address is free again";
}

TEST_F(HttpServer, LeavesSignalsToOthers) {
  // A signal to the process must not be taken by a thread of the server: here it stays pending, since we block it.
  sigset_t usr1;
  sigemptyset(&usr1);
  sigaddset(&usr1, SIGUSR1);
  sigset_t before;
  ASSERT_EQ(pthread_sigmask(SIG_BLOCK, &usr1, &before), 0);
  const auto server = start({});
  raw_exchange(server->addresses().front(), std::string("GET /hello HTTP/1.1\r\n") + kClose);
  ASSERT_EQ(kill(getpid(), SIGUSR1), 0);
  const timespec limit{10, 0};
  EXPECT_EQ(sigtimedwait(&usr1, nullptr, &limit), SIGUSR1);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

TEST_F(HttpServer, ManyClientsAtOnce) {
  const auto server = start({});
  std::atomic<int> good{0};
  side_by_side(server->addresses().front(), 8, [&](int) {
    httplib::Client client("127.0.0.1", port_of(server->addresses().front()));
    for (int n = 0; n < 50; ++n) {
      const auto result = client.Get("/hello");
      if (result && result->body == "hello") ++good;
    }
  });
  EXPECT_EQ(good, 400);
}

}  // namespace
}  // namespace goheapd::exporters::http
