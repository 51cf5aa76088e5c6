#include "exporters/http/router.h"

#include <gtest/gtest.h>

namespace goheapd::exporters::http {
namespace {

Router router() {
  Router r;
  r.get("/", [](const Request&) { return Response{200, "text/plain", "root", {}}; });
  r.get("/targets/{pid}/heap", [](const Request& request) {
    return Response{200, "text/plain", "heap of " + std::string(request.capture("pid")), {}};
  });
  r.get("/targets/{pid}/", [](const Request&) { return Response{200, "text/plain", "index", {}}; });
  return r;
}

Response ask(const std::string& method, const std::string& path) {
  Request request;
  request.method = method;
  request.path = path;
  return router().route(request);
}

TEST(HttpRouter, MatchesLiteralAndNamedSegments) {
  EXPECT_EQ(ask("GET", "/").body, "root");
  EXPECT_EQ(ask("GET", "/targets/12/heap").body, "heap of 12");
  EXPECT_EQ(ask("GET", "/targets/12/").body, "index");
}

TEST(HttpRouter, UnknownPathsAreNotFound) {
  for (const char* path : {"/targets", "/targets/", "/targets/12", "/targets//heap", "/targets/12/heap/",
                           "/targets/1/2/heap", "//", "/Targets/12/heap"}) {
    EXPECT_EQ(ask("GET", path).status, 404) << path;
    EXPECT_TRUE(ask("GET", path).body.starts_with("{\"error\":")) << path;
  }
}

TEST(HttpRouter, PostIsForThoseThatTakeIt) {
  Router r;
  r.get_or_post("/symbol", [](const Request&) { return Response{200, "text/plain", "none", {}}; });
  Request request;
  request.path = "/symbol";
  for (const char* method : {"GET", "HEAD", "POST"}) {
    request.method = method;
    EXPECT_EQ(r.route(request).status, 200) << method;
  }
  request.method = "PUT";
  EXPECT_EQ(r.route(request).headers.back(), std::pair(std::string("Allow"), std::string("GET, HEAD, POST")));
}

TEST(HttpRouter, RefusesUnknownParametersWhereAllAreKnown) {
  Router r;
  const auto ok = [](const Request&) { return Response{200, "text/plain", "ok", {}}; };
  r.get("/profile", ok, {"seconds", "debug"});
  r.get("/plain", ok, {});
  r.get("/free", ok);
  const auto status = [&r](const char* path, Fields query) {
    Request request;
    request.method = "GET";
    request.path = path;
    request.query = std::move(query);
    return r.route(request);
  };
  EXPECT_EQ(status("/profile", {{"seconds", "1"}, {"", ""}}).status, 200);
  EXPECT_EQ(status("/profile", {{"second", "1"}}).status, 400);
  EXPECT_NE(status("/profile", {{"second", "1"}}).body.find("there are: seconds, debug"), std::string::npos);
  EXPECT_EQ(status("/plain", {{"x", ""}}).status, 400);
  EXPECT_EQ(status("/free", {{"x", ""}}).status, 200);
}

TEST(HttpRouter, OtherMethodsAreNotAllowedOnKnownPaths) {
  EXPECT_EQ(ask("HEAD", "/").status, 200);
  EXPECT_EQ(ask("POST", "/").status, 405);
  EXPECT_EQ(ask("POST", "/").headers.back(), std::pair(std::string("Allow"), std::string("GET, HEAD")));
  EXPECT_EQ(ask("DELETE", "/nowhere").status, 404);
}

}  // namespace
}  // namespace goheapd::exporters::http
