#include "daemon/k8s/pod_watch.h"

#include <gtest/gtest.h>

#include <functional>
#include <thread>

#include "tests/unit/k8s/api_stand_in.h"

namespace goheapd::k8s {
namespace {

using namespace std::chrono_literals;
using Connection = ApiStandIn::Connection;
using Request = ApiStandIn::Request;

// Short pauses: nothing here depends on how long they are.
constexpr WatchTimes kTimes{5ms, 20ms, 290s, 10s};

std::string pod(const std::string& name, const std::string& version, char id = '\0') {
  const std::string container =
      id == '\0' ? "" : R"({"name": "app", "containerID": "containerd://)" + std::string(64, id) + R"("})";
  return R"({"metadata": {"name": ")" + name + R"(", "namespace": "shop", "uid": "uid-)" + name +
         R"(", "resourceVersion": ")" + version + R"(", "managedFields": [{"large": true}]}, )" +
         R"("spec": {"nodeName": "node-1", "containers": []}, "status": {"containerStatuses": [)" +
         container + "]}}";
}

std::string list(const std::string& version, const std::string& items, const std::string& more = "") {
  return R"({"kind": "PodList", "metadata": {"resourceVersion": ")" + version + R"(", "continue": ")" + more +
         R"("}, "items": [)" + items + "]}";
}

std::string event(const char* type, const std::string& object) {
  return std::string(R"({"type": ")") + type + R"(", "object": )" + object + "}";
}

bool eventually(const std::function<bool()>& condition) {
  const auto deadline = std::chrono::steady_clock::now() + 20s;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(2ms);
  }
  return true;
}

bool knows(const PodDirectory& directory, const std::string& name) {
  return directory.find({"uid-" + name, ""}).has_value();
}

TEST(PodWatch, ListsThenFollowsTheChanges) {
  ApiStandIn api([](size_t, const Request& request, Connection& connection) {
    if (!request.is_watch())
      return connection.answer(200, list("100", pod("a", "90", 'a') + "," + pod("b", "91")));
    connection.begin_events();
    connection.event(event("ADDED", pod("c", "101", 'c')));
    // An event may come in two pieces.
    connection.event(event("MODIFIED", pod("b", "102", 'b')), 40);
    connection.event(event("DELETED", pod("a", "103")));
    connection.event(event("BOOKMARK", R"({"kind": "Pod", "metadata": {"resourceVersion": "110"}})"));
    connection.hold();
  });
  PodDirectory directory;
  PodWatch watch(api.server(), "node-1", directory, kTimes);
  ASSERT_TRUE(eventually([&] { return knows(directory, "c") && !knows(directory, "a"); }));
  EXPECT_EQ(directory.find({"", std::string(64, 'b')})->container, "app");
  EXPECT_EQ(directory.find({"", std::string(64, 'b')})->pod->node, "node-1");
  EXPECT_TRUE(watch.synced());
  EXPECT_TRUE(watch.current());

  const auto requests = api.requests();
  ASSERT_EQ(requests.size(), 2u);
  EXPECT_EQ(requests[0].parameter("fieldSelector"), "spec.nodeName%3Dnode-1");
  EXPECT_EQ(requests[0].parameter("resourceVersion"), "0");
  EXPECT_NE(requests[0].head.find("Authorization: Bearer first-token\r\n"), std::string::npos);
  EXPECT_EQ(requests[1].parameter("resourceVersion"), "100");
  EXPECT_EQ(requests[1].parameter("allowWatchBookmarks"), "true");
  EXPECT_EQ(requests[1].parameter("fieldSelector"), "spec.nodeName%3Dnode-1");
}

TEST(PodWatch, GoesOnFromTheLastVersionWhenAWatchEnds) {
  ApiStandIn api([](size_t n, const Request& request, Connection& connection) {
    if (!request.is_watch()) return connection.answer(200, list("100", ""));
    connection.begin_events();
    if (n == 1) {
      connection.event(event("ADDED", pod("a", "101")));
      connection.event(event("BOOKMARK", R"({"metadata": {"resourceVersion": "205"}})"));
      return connection.end_events();
    }
    // Broken off in the middle of an event: that event does not count.
    if (n == 2)
      return static_cast<void>(connection.send("ff\r\n" + event("ADDED", pod("b", "300")).substr(0, 60)));
    connection.hold();
  });
  PodDirectory directory;
  PodWatch watch(api.server(), "node-1", directory, kTimes);
  ASSERT_TRUE(api.wait_for_requests(4));
  const auto requests = api.requests();
  EXPECT_EQ(requests[2].parameter("resourceVersion"), "205");
  EXPECT_EQ(requests[3].parameter("resourceVersion"), "205");
  EXPECT_TRUE(knows(directory, "a"));
  EXPECT_FALSE(knows(directory, "b"));
  EXPECT_EQ(watch.lists(), 1u);
}

TEST(PodWatch, ListsAgainWhenTheVersionIsTooOld) {
  ApiStandIn api([](size_t n, const Request& request, Connection& connection) {
    switch (n) {
      case 0:
        return connection.answer(200, list("100", pod("old", "90")));
      case 1:  // as an event ...
        connection.begin_events();
        connection.event(
            event("ERROR", R"({"kind": "Status", "code": 410, "message": "too old resource version"})"));
        return connection.end_events();
      case 2:
        return connection.answer(200, list("500", pod("new", "400")));
      case 3:  // ... and as a status
        return connection.answer(410, R"({"kind": "Status", "message": "The resourceVersion is too old"})");
      case 4:
        return connection.answer(200, list("600", pod("newest", "600")));
      default:
        EXPECT_TRUE(request.is_watch());
        connection.begin_events();
        connection.hold();
    }
  });
  PodDirectory directory;
  PodWatch watch(api.server(), "node-1", directory, kTimes);
  ASSERT_TRUE(api.wait_for_requests(6));
  EXPECT_TRUE(knows(directory, "newest"));
  EXPECT_EQ(directory.size(), 1u);
  EXPECT_EQ(watch.failures(WatchFailure::expired), 2u);
  const auto requests = api.requests();
  // The latest, not what the server has in memory.

  EXPECT_EQ(requests[2].parameter("resourceVersion"), "");
  EXPECT_EQ(requests[5].parameter("resourceVersion"), "600");
}

TEST(PodWatch, FollowsTheListOverItsPages) {
  ApiStandIn api([](size_t n, const Request&, Connection& connection) {
    if (n == 0) return connection.answer(200, list("100", pod("a", "90"), "next=="));
    if (n == 1) return connection.answer(200, list("100", pod("b", "91")));
    connection.begin_events();
    connection.hold();
  });
  PodDirectory directory;
  PodWatch watch(api.server(), "node-1", directory, kTimes);
  ASSERT_TRUE(api.wait_for_requests(3));
  EXPECT_TRUE(knows(directory, "a") && knows(directory, "b"));
  EXPECT_EQ(api.requests()[1].parameter("continue"), "next%3D%3D");
  EXPECT_EQ(api.requests()[1].parameter("resourceVersion"), "");
}

TEST(PodWatch, ReadsTheTokenAnewForEachRequest) {
  ApiStandIn* self = nullptr;
  std::mutex ready;
  ready.lock();
  ApiStandIn api([&](size_t n, const Request& request, Connection& connection) {
    const std::lock_guard wait(ready);
    if (request.head.find("Bearer second-token\r\n") == std::string::npos) {
      if (n >= 2) self->write_token("second-token");
      return connection.answer(401, R"({"kind": "Status", "message": "Unauthorized"})");
    }
    connection.answer(200, list("1", pod("a", "1")));
  });
  self = &api;
  ready.unlock();
  PodDirectory directory;
  PodWatch watch(api.server(), "node-1", directory, kTimes);
  ASSERT_TRUE(eventually([&] { return knows(directory, "a"); }));
  EXPECT_GE(watch.failures(WatchFailure::denied), 3u);
}

TEST(PodWatch, SurvivesAnswersThatMakeNoSense) {
  ApiStandIn api([](size_t n, const Request&, Connection& connection) {
    switch (n) {
      case 0:
        return connection.answer(200, "<html>proxy</html>");
      case 1:
        return connection.answer(200, R"({"metadata": {"resourceVersion": 7}, "items": "none"})");
      case 2:
        return connection.answer(200, std::string(100'000, '['));
      case 3:
        return connection.answer(500, "");
      case 4:
        return static_cast<void>(connection.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"));
      case 5:
        return static_cast<void>(connection.send("nonsense\r\n\r\n"));
      case 6:  // items of wrong types are left out, null is no items
        return connection.answer(
            200, R"({"metadata": {"resourceVersion": "7"}, "items": [1, {"metadata": []}, null]})");
      case 7:
        connection.begin_events();
        connection.event("not json");
        return connection.end_events();
      case 8:
        return connection.answer(200, R"({"metadata": {"resourceVersion": "8"}, "items": null})");
      default:
        connection.begin_events();
        connection.event(event("ADDED", pod("a", "9")));
        connection.hold();
    }
  });
  PodDirectory directory;
  PodWatch watch(api.server(), "node-1", directory, kTimes);
  ASSERT_TRUE(eventually([&] { return knows(directory, "a"); }));
  EXPECT_EQ(watch.failures(WatchFailure::bad_answer), 4u);
  EXPECT_EQ(watch.failures(WatchFailure::refused), 1u);
  EXPECT_EQ(watch.failures(WatchFailure::connection), 2u);
}

TEST(PodWatch, KeepsTheOldNamesWhileTheServerIsAway) {
  std::atomic<bool> away{false};
  ApiStandIn api([&](size_t, const Request& request, Connection& connection) {
    if (away) return;
    if (!request.is_watch()) return connection.answer(200, list("1", pod("a", "1")));
    connection.begin_events();
    away = true;
  });
  PodDirectory directory;
  PodWatch watch(api.server(), "node-1", directory, kTimes);
  ASSERT_TRUE(eventually([&] { return watch.failures(WatchFailure::connection) >= 3 && !watch.current(); }));
  EXPECT_TRUE(knows(directory, "a"));
  EXPECT_TRUE(watch.synced());
}

TEST(PodWatch, TrustsOnlyTheClustersAuthorityAndTheRightName) {
  ApiStandIn::Script script = [](size_t, const Request&, Connection& connection) {
    connection.answer(200, list("1", ""));
  };
  ApiStandIn api(script);
  ApiStandIn other(script);
  ApiStandIn misnamed(script, "DNS:elsewhere.example");
  ApiServer wrong_authority = api.server();
  wrong_authority.ca_file = other.server().ca_file;
  for (const ApiServer& server : {wrong_authority, misnamed.server()}) {
    PodDirectory directory;
    PodWatch watch(server, "node-1", directory, kTimes);
    ASSERT_TRUE(eventually([&] { return watch.failures(WatchFailure::connection) >= 2; }));
    EXPECT_FALSE(watch.synced());
  }
  EXPECT_TRUE(api.requests().empty());
  EXPECT_TRUE(misnamed.requests().empty());
}

TEST(PodWatch, StopsAtOnceWhateverTheServerDoes) {
  std::vector<ApiStandIn::Script> scripts = {
      [](size_t, const Request&, Connection& connection) { connection.hold(); },  // never answers
      [](size_t, const Request&, Connection& connection) {  // begins a list and says no more
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{");
        connection.hold();
      },
      [](size_t n, const Request&, Connection& connection) {
        if (n == 0) return connection.answer(200, list("1", ""));
        connection.begin_events();
        connection.hold();
      }};
  for (const auto& script : scripts) {
    ApiStandIn api(script);
    PodDirectory directory;
    auto watch = std::make_unique<PodWatch>(api.server(), "node-1", directory, kTimes);
    ASSERT_TRUE(api.wait_for_requests(1));
    watch.reset();  // the silence limit is 10 s, a watch lasts 290: a hang here is the test's time-out
  }
}

TEST(ParseApiServer, TakesHttpsOnly) {
  EXPECT_EQ(parse_api_server("https://10.96.0.1")->port, "443");
  EXPECT_EQ(parse_api_server("https://[fd00::1]:6443/")->host, "fd00::1");
  EXPECT_EQ(parse_api_server("https://kubernetes.default.svc:6443")->port, "6443");
  for (const char* bad :
       {"http://10.96.0.1", "10.96.0.1", "https://", "https://a:b", "https://a:", "https://[::1",
        "https://a:123456", "https://a/path", "https://user@a", "https://[::1]x"}) {
    EXPECT_FALSE(parse_api_server(bad)) << bad;
  }
}

}  // namespace
}  // namespace goheapd::k8s
