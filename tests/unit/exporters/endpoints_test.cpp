// Every route of the registry, over loopback, against fixed values: status codes, headers, shapes.
#include <gtest/gtest.h>
#include <httplib.h>

#include <atomic>
#include <chrono>
#include <nlohmann/json.hpp>
#include <regex>
#include <thread>

#include "exporters/http/server.h"
#include "exporters/pprof/encoder.h"
#include "exporters/pprof/text.h"
#include "exporters/registry.h"
#include "tests/unit/exporters/fixtures.h"
#include "tests/unit/exporters/http/test_client.h"
#include "tests/unit/exporters/pprof/decode.h"

namespace goheapd::exporters {
namespace {

using std::chrono::seconds;
using std::chrono::steady_clock;

class Endpoints : public testing::Test {
 protected:
  void SetUp() override {
    auto server = http::Server::start({{"127.0.0.1:0"}, "", 32}, all_routes(source_));
    ASSERT_TRUE(server) << to_string(server.error());
    server_ = std::move(*server);
    client_ = std::make_unique<httplib::Client>("127.0.0.1", http::port_of(server_->addresses().front()));
  }

  template <typename Client>
  void side_by_side(int count, const Client& client) {
    http::side_by_side(server_->addresses().front(), count, client);
  }

  httplib::Response get(const std::string& path, const httplib::Headers& headers = {}) {
    auto result = client_->Get(path.c_str(), headers);
    EXPECT_TRUE(result) << path << ": " << httplib::to_string(result.error());
    return result ? *result : httplib::Response();
  }

  // The error's message; fails the test when the answer is no JSON error.
  static std::string error_of(const httplib::Response& response) {
    EXPECT_EQ(response.get_header_value("Content-Type"), "application/json");
    const auto json = nlohmann::json::parse(response.body, nullptr, false);
    EXPECT_TRUE(json.is_object() && json.size() == 1 && json.contains("error")) << response.body;
    return json.value("error", "");
  }

  fixtures::FixedSource source_;
  std::unique_ptr<http::Server> server_;
  std::unique_ptr<httplib::Client> client_;
};

TEST_F(Endpoints, ProfilesAsNetHttpPprofServesThem) {
  for (const char* path :
       {"/targets/101/debug/pprof/heap", "/debug/pprof/heap?pid=101",
        "/targets/101/debug/pprof/heap?debug=0&gc=0", "/targets/101/debug/pprof/heap?debug=&seconds="}) {
    const auto response = get(path);
    EXPECT_EQ(response.status, 200) << path;
    EXPECT_EQ(response.get_header_value("Content-Type"), "application/octet-stream");
    EXPECT_EQ(response.get_header_value("Content-Disposition"), "attachment; filename=\"heap\"");
    EXPECT_EQ(response.get_header_value("X-Content-Type-Options"), "nosniff");
    EXPECT_EQ(response.body, pprof::encode_gzip(fixtures::snapshot(), pprof::Profile::heap)) << path;
  }
  const auto allocs = get("/targets/101/debug/pprof/allocs");
  EXPECT_EQ(allocs.get_header_value("Content-Disposition"), "attachment; filename=\"allocs\"");
  EXPECT_EQ(allocs.body, pprof::encode_gzip(fixtures::snapshot(), pprof::Profile::allocs));
  EXPECT_EQ(get("/debug/pprof/allocs?pid=101").body, allocs.body);
}

TEST_F(Endpoints, TextProfiles) {
  const auto response = get("/targets/101/debug/pprof/heap?debug=1");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.get_header_value("Content-Type"), "text/plain; charset=utf-8");
  const auto statistics = source_.statistics(101);
  ASSERT_TRUE(statistics);
  EXPECT_EQ(response.body, pprof::encode_text(fixtures::snapshot(), &statistics->memory));
  // Its memory is gone, and with it what the runtime counted.
  EXPECT_EQ(get("/targets/104/debug/pprof/heap?debug=1").body.find("runtime.MemStats"), std::string::npos);
}

TEST_F(Endpoints, DifferencesTakeTheirTime) {
  const auto begin = steady_clock::now();
  const auto response = get("/targets/101/debug/pprof/heap?seconds=1");
  EXPECT_GE(steady_clock::now() - begin, seconds(1));
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.get_header_value("Content-Disposition"), "attachment; filename=\"heap-delta\"");
  EXPECT_FALSE(pprof::gunzip(response.body).starts_with("error"));
}

TEST_F(Endpoints, RefusalsSayWhatToDo) {
  struct Case {
    const char* path;
    int status;
    const char* message;
  };
  for (const Case& c : {
           Case{"/targets/999/debug/pprof/heap", 404, "no Go process with pid 999; /api/v1/targets"},
           Case{"/targets/103/debug/pprof/heap", 409, "older than 1.19"},
           Case{"/targets/105/debug/pprof/heap", 410, "exited"},
           Case{"/targets/abc/debug/pprof/heap", 400, "positive integer"},
           Case{"/targets/-1/debug/pprof/heap", 400, "positive integer"},
           Case{"/targets/0/debug/pprof/heap", 400, "positive integer"},
           Case{"/targets/99999999999/debug/pprof/heap", 400, "positive integer"},
           Case{"/debug/pprof/heap", 400, "?pid=N"},
           Case{"/debug/pprof/allocs?pid=", 400, "positive integer"},
           Case{"/targets/101/debug/pprof/heap?seconds=0", 400, "seconds"},
           Case{"/targets/101/debug/pprof/heap?seconds=-5", 400, "seconds"},
           Case{"/targets/101/debug/pprof/heap?seconds=1.5", 400, "seconds"},
           Case{"/targets/101/debug/pprof/heap?seconds=x", 400, "seconds"},
           Case{"/targets/101/debug/pprof/heap?seconds=3601", 400, "3600"},
           Case{"/targets/101/debug/pprof/heap?seconds=1&debug=1", 400, "do not go together"},
           Case{"/targets/101/debug/pprof/heap?unknown=1", 400, "there are: seconds, debug, gc"},
           Case{"/targets/101/debug/pprof/heap?seconds=5s", 400, "without a unit"},
           Case{"/targets/101/gctrace?n=5", 400, "no parameter n; this path takes none"},
           Case{"/api/v1/targets/101/gc?n=5", 400, "no parameter n"},
           Case{"/targets/101?n=5", 400, "no parameter n"},
           Case{"/targets/101/debug/pprof/?n=5", 400, "no parameter n"},
           Case{"/?n=5", 400, "no parameter n"},
           Case{"/targets/999", 404, "no Go process with pid 999; /api/v1/targets"},
           Case{"/targets/x", 400, "positive integer"},
           Case{"/api/v1/targets?pid=101", 400, "no parameter pid"},
           Case{"/api/v1/sd?x", 400, "no parameter x"},
           Case{"/targets/101/debug/pprof/heap?debug=2", 400, "debug"},
           Case{"/targets/101/debug/pprof/heap?debug=x", 400, "debug"},
           Case{"/targets/101/debug/pprof/heap?gc=x", 400, "gc"},
           Case{"/targets/101/debug/pprof/heap?gc=1", 501, "leave gc out"},
           Case{"/targets/101/debug/pprof/allocs?gc=1", 501, "leave gc out"},
           Case{"/targets/101/debug/pprof/goroutine", 404, "GET /"},
           Case{"/targets/999/debug/pprof/", 404, "/api/v1/targets"},
           Case{"/targets/x/debug/pprof/", 400, "positive integer"},
           Case{"/nowhere", 404, "GET /"},
       }) {
    const auto response = get(c.path);
    EXPECT_EQ(response.status, c.status) << c.path;
    EXPECT_NE(error_of(response).find(c.message), std::string::npos) << c.path << ": " << response.body;
  }
  // A bad parameter is told before the waiting starts, and before the target is looked for.
  EXPECT_EQ(get("/targets/999/debug/pprof/heap?seconds=no").status, 400);
}

TEST_F(Endpoints, ExitedTargetsAreStillServed) {
  EXPECT_EQ(get("/targets/104/debug/pprof/heap").status, 200);
}

TEST_F(Endpoints, LeavingOrStoppingEndsADifference) {
  const std::string request = "GET /targets/101/debug/pprof/heap?seconds=600 HTTP/1.1\r\nHost: h\r\n\r\n";
  auto wait_for = [&](auto condition) {
    const auto deadline = steady_clock::now() + seconds(10);
    while (!condition() && steady_clock::now() < deadline)
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    return condition();
  };
  {
    const UniqueFd leaves = http::connect_to(server_->addresses().front());
    http::send_bytes(leaves.get(), request);
    ASSERT_TRUE(wait_for([&] { return source_.waiting == 1; }));
  }
  EXPECT_TRUE(wait_for([&] { return source_.cancelled == 1; }));
  const UniqueFd stays = http::connect_to(server_->addresses().front());
  http::send_bytes(stays.get(), request);
  ASSERT_TRUE(wait_for([&] { return source_.waiting == 1; }));
  const auto begin = steady_clock::now();
  server_->stop();
  EXPECT_LT(steady_clock::now() - begin, seconds(1));
  EXPECT_EQ(source_.cancelled, 2);
}

// Each is symbolised and compressed when its time is over, and here all are over at once.
TEST_F(Endpoints, DifferencesTakeTurnsWhenTheirTimeIsOver) {
  std::atomic<int> good{0};
  side_by_side(20, [&](int) {
    httplib::Client client("127.0.0.1", http::port_of(server_->addresses().front()));
    client.set_read_timeout(60);
    const auto result = client.Get("/targets/101/debug/pprof/heap?seconds=1");
    if (result && result->status == 200) ++good;
  });
  EXPECT_EQ(good, 20);
  EXPECT_GE(source_.most_making, 1);
  EXPECT_LE(source_.most_making, 4);
}

TEST_F(Endpoints, ManyScrapersAtOnceGetTheirAnswers) {
  std::atomic<int> good{0};
  side_by_side(16, [&](int number) {
    const bool open = number % 2 == 0;
    httplib::Client client("127.0.0.1", http::port_of(server_->addresses().front()));
    for (int n = 0; n < 10; ++n) {
      const auto result =
          client.Get("/metrics", {{"Accept", open ? "application/openmetrics-text" : "text/plain"}});
      if (result && result->status == 200 && result->body.ends_with("# EOF\n") == open &&
          result->body.find("\ngoheapd_live_bytes{") != std::string::npos)
        ++good;
    }
  });
  EXPECT_EQ(good, 160);
}

// The list has an older life of the pid, too, with the same pid and ended.
TEST_F(Endpoints, APageShowsThePresentLifeOfAPid) {
  source_.earlier_life_of_shop = true;
  for (const char* path : {"/targets/101", "/targets/101/debug/pprof/"})
    EXPECT_EQ(get(path).body.find("earlier"), std::string::npos) << path;
}

TEST_F(Endpoints, HealthAndReadiness) {
  for (const char* path : {"/-/healthy", "/healthz", "/-/ready", "/readyz"})
    EXPECT_EQ(get(path).status, 200) << path;
  source_.not_ready = "the kernel has no BTF";
  EXPECT_EQ(get("/-/healthy").status, 200);
  for (const char* path : {"/-/ready", "/readyz"}) {
    const auto response = get(path);
    EXPECT_EQ(response.status, 503);
    EXPECT_NE(error_of(response).find("the kernel has no BTF"), std::string::npos);
  }
}

TEST_F(Endpoints, WhatHangsTellsNothingOfTargets) {
  source_.unhealthy = "the main loop hangs";
  for (const char* path :
       {"/-/healthy", "/healthz", "/-/ready", "/readyz", "/api/v1/targets", "/api/v1/sd"}) {
    const auto response = get(path);
    EXPECT_EQ(response.status, 503) << path;
    EXPECT_NE(error_of(response).find("the main loop hangs"), std::string::npos) << path;
  }
  EXPECT_NE(get("/").body.find("the main loop hangs"), std::string::npos);
  const auto metrics = get("/metrics");
  EXPECT_EQ(metrics.status, 200);
  for (const char* name : {"\ngoheapd_main_loop_age_seconds ", "\nprocess_resident_memory_bytes "})
    EXPECT_NE(metrics.body.find(name), std::string::npos) << name;
  for (const char* name : {"goheapd_targets", "goheapd_live_bytes", "goheapd_events_total"})
    EXPECT_EQ(metrics.body.find(name), std::string::npos) << name;
}

TEST_F(Endpoints, TargetsAsJson) {
  const auto response = get("/api/v1/targets");
  EXPECT_EQ(response.get_header_value("Content-Type"), "application/json");
  const auto json = nlohmann::json::parse(response.body);
  ASSERT_EQ(json["targets"].size(), 5u);
  const auto& shop = json["targets"][0];
  for (const char* key : {"pid",           "comm",
                          "exe",           "go_version",
                          "module",        "stripped",
                          "pie",           "state",
                          "mode",          "source",
                          "reason",        "started_at",
                          "attached_at",   "pod",
                          "namespace",     "container",
                          "samples",       "alloc_bytes_per_second",
                          "live_bytes",    "overhead_ratio",
                          "overhead_limit"}) {
    EXPECT_TRUE(shop.contains(key)) << key;
  }
  EXPECT_EQ(shop["pid"], 101);
  EXPECT_EQ(shop["attached_at"], "2023-11-14T22:13:22.000Z");
  EXPECT_EQ(json["targets"][1]["live_bytes"], nullptr);
  EXPECT_EQ(json["targets"][3]["state"], "unsupported");
}

TEST_F(Endpoints, DiscoveryHasAttachedTargetsUnderTheAskersName) {
  const auto json = nlohmann::json::parse(get("/api/v1/sd", {{"Host", "node7:9786"}}).body);
  ASSERT_EQ(json.size(), 3u);
  EXPECT_EQ(json[0]["targets"], nlohmann::json::array({"node7:9786"}));
  for (const auto& [key, value] : json[0]["labels"].items()) {
    EXPECT_TRUE(value.is_string()) << key;  // Prometheus refuses anything else
  }
  const std::string path = json[0]["labels"]["__metrics_path__"];
  EXPECT_EQ(get(path).status, 200);
  EXPECT_EQ(get(json[0]["labels"]["__meta_goheapd_heap_path"].get<std::string>()).status, 200);
  // Otherwise the series of all targets would be one.
  EXPECT_NE(json[0]["labels"]["instance"], json[1]["labels"]["instance"]);
  const std::string prefix = json[0]["labels"]["__profile_path_prefix__"];
  EXPECT_EQ(get(prefix + "/debug/pprof/allocs").status, 200);
}

TEST_F(Endpoints, MetricsInBothFormats) {
  const auto text = get("/metrics");
  EXPECT_EQ(text.get_header_value("Content-Type"), "text/plain; version=0.0.4; charset=utf-8");
  EXPECT_NE(text.body.find("goheapd_scrape_duration_seconds "), std::string::npos);
  EXPECT_NE(text.body.find("process_resident_memory_bytes "), std::string::npos);
  const auto open =
      get("/metrics", {{"Accept", "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"}});
  EXPECT_EQ(open.get_header_value("Content-Type"),
            "application/openmetrics-text; version=1.0.0; charset=utf-8");
  EXPECT_TRUE(open.body.ends_with("# EOF\n"));
}

// One scrape job sends its parameters to all of its targets, and a probe of a load balancer may add its own.
TEST_F(Endpoints, ScrapersAndProbesMaySendParametersOfOthers) {
  for (const char* path : {"/metrics?collect[]=cpu&name[]=go_info", "/targets/101/metrics?collect[]=cpu",
                           "/-/healthy?from=lb", "/-/ready?from=lb"}) {
    EXPECT_EQ(get(path).status, 200) << path;
  }
}

TEST_F(Endpoints, PagesLinkOnlyToWhatIsAnswered) {
  const std::string index = get("/").body;
  for (const int pid : {101, 102, 103, 104, 106}) {
    const std::string path = "/targets/" + std::to_string(pid);
    EXPECT_NE(index.find("<a href=\"" + path + "\">"), std::string::npos) << pid;
    const auto response = get(path);
    EXPECT_EQ(response.status, 200) << pid;
    EXPECT_EQ(get(path + "/").body, response.body);
    const std::regex href("<a href=\"([^\"]*)\"");
    size_t links = 0;
    for (std::sregex_iterator link(response.body.begin(), response.body.end(), href), end; link != end;
         ++link) {
      EXPECT_EQ(get((*link)[1]).status, 200) << pid << ": " << (*link)[1];
      EXPECT_NE(index.find((*link)[1]), std::string::npos) << pid << ": " << (*link)[1];
      ++links;
    }
    EXPECT_GE(links, 1u);
  }
  const std::string shop = get("/targets/101").body;
  for (const char* path : {"/targets/101/debug/pprof/heap", "/targets/101/debug/pprof/allocs",
                           "/targets/101/gctrace", "/targets/101/metrics", "/api/v1/targets/101/gc"}) {
    EXPECT_NE(shop.find(std::string("<a href=\"") + path + "\""), std::string::npos) << path;
  }
}

// Mode auto goes down to it and still sees cycles; asked for it, there is nothing to see.
TEST_F(Endpoints, ATargetInModeBucketsHasItsCyclesLinkedIfThereAreAny) {
  source_.counter_without_probes = true;
  EXPECT_EQ(get("/targets/102").body.find("gctrace"), std::string::npos);
  source_.counter_has_collected = true;
  for (const char* path : {"/targets/102/gctrace", "/api/v1/targets/102/gc"}) {
    EXPECT_NE(get("/targets/102").body.find(std::string("<a href=\"") + path + "\""), std::string::npos)
        << path;
    EXPECT_EQ(get(path).status, 200) << path;
  }
}

TEST_F(Endpoints, StatisticsOfOneTarget) {
  const auto text = get("/targets/101/metrics");
  EXPECT_EQ(text.status, 200);
  EXPECT_EQ(text.get_header_value("Content-Type"), "text/plain; version=0.0.4; charset=utf-8");
  EXPECT_NE(text.body.find("\ngo_memstats_alloc_bytes 12345678\n"), std::string::npos);
  const auto open = get("/targets/101/metrics", {{"Accept", "application/openmetrics-text"}});
  EXPECT_TRUE(open.body.ends_with("# EOF\n"));
  // GOGC=off comes out of client_golang as an unsigned number, too.
  EXPECT_NE(get("/targets/102/metrics").body.find("go_gc_gogc_percent 1.844674407370955e+19"),
            std::string::npos);
  EXPECT_EQ(get("/targets/102/metrics").body.find("process_"), std::string::npos);
  EXPECT_EQ(get("/targets/103/metrics").status, 409);
  EXPECT_EQ(get("/targets/105/metrics").status, 410);
  EXPECT_EQ(get("/targets/999/metrics").status, 404);
  EXPECT_EQ(get("/targets/x/metrics").status, 400);
}

TEST_F(Endpoints, PagesEscapeWhatTargetsCallThemselves) {
  for (const char* path : {"/", "/targets/101", "/targets/101/debug/pprof/", "/targets/101/debug/pprof"}) {
    const auto response = get(path);
    EXPECT_EQ(response.status, 200) << path;
    EXPECT_EQ(response.get_header_value("Content-Type"), "text/html; charset=utf-8");
    EXPECT_EQ(response.body.find("<script"), std::string::npos) << path;
    EXPECT_NE(response.body.find("&lt;script&gt;"), std::string::npos) << path;
    EXPECT_NE(response.body.find("/targets/101/debug/pprof/heap"), std::string::npos) << path;
  }
}

TEST_F(Endpoints, HeadAndOtherMethods) {
  for (const char* path : {"/", "/metrics", "/api/v1/targets", "/targets/101/debug/pprof/heap"}) {
    const auto head = client_->Head(path);
    ASSERT_TRUE(head);
    EXPECT_EQ(head->status, 200) << path;
    EXPECT_EQ(head->body, "");
    const auto post = client_->Post(path, "", "text/plain");
    ASSERT_TRUE(post);
    EXPECT_EQ(post->status, 405) << path;
    EXPECT_FALSE(error_of(*post).empty());
  }
}

}  // namespace
}  // namespace goheapd::exporters
