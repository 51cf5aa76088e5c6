#include "exporters/http/message.h"

#include <gtest/gtest.h>

namespace goheapd::exporters::http {
namespace {

int status_of(const std::string& head) {
  const auto request = parse_head(head);
  return request ? 200 : request.error().status;
}

TEST(HttpMessage, ParsesTargetAndHeaders) {
  const auto request = parse_head(
      "GET /targets/12/debug%2Fpprof?seconds=5&a=x+y%21&seconds=6&flag HTTP/1.1\r\nHost: h:1\r\nX-Thing:  v "
      "\r\n\r\n");
  ASSERT_TRUE(request);
  EXPECT_EQ(request->method, "GET");
  EXPECT_EQ(request->path, "/targets/12/debug/pprof");
  EXPECT_EQ(request->parameter("seconds"), "5");
  EXPECT_EQ(request->parameter("a"), "x y!");
  EXPECT_EQ(request->parameter("flag"), "");
  EXPECT_EQ(request->parameter("none"), std::nullopt);
  EXPECT_EQ(request->header("x-thing"), "v");
  EXPECT_TRUE(request->keep_alive);
  EXPECT_FALSE(request->has_body);
}

TEST(HttpMessage, TakesAbsoluteTargetsAndBareLineFeeds) {
  EXPECT_EQ(parse_head("GET http://h:9786/a?b=c HTTP/1.1\nHost: h\n\n")->path, "/a");
  EXPECT_EQ(parse_head("GET http://h HTTP/1.1\r\nHost: h\r\n\r\n")->path, "/");
}

TEST(HttpMessage, KeepsConnectionsAsTheVersionSays) {
  EXPECT_FALSE(parse_head("GET / HTTP/1.0\r\n\r\n")->keep_alive);
  EXPECT_TRUE(parse_head("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n")->keep_alive);
  EXPECT_FALSE(parse_head("GET / HTTP/1.1\r\nHost: h\r\nConnection: foo, Close\r\n\r\n")->keep_alive);
}

TEST(HttpMessage, NoticesBodies) {
  EXPECT_TRUE(parse_head("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n")->has_body);
  EXPECT_TRUE(parse_head("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")->has_body);
  EXPECT_FALSE(parse_head("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")->has_body);
}

TEST(HttpMessage, RefusesWhatIsNotHttp) {
  EXPECT_EQ(status_of("\x16\x03\x01\r\n\r\n"), 400);
  EXPECT_EQ(status_of("GET\r\n\r\n"), 400);
  EXPECT_EQ(status_of("GET / HTTP/2.0\r\nHost: h\r\n\r\n"), 505);
  EXPECT_EQ(status_of("G@T / HTTP/1.1\r\nHost: h\r\n\r\n"), 400);
  EXPECT_EQ(status_of("GET nowhere HTTP/1.1\r\nHost: h\r\n\r\n"), 400);
  EXPECT_EQ(status_of("GET /%zz HTTP/1.1\r\nHost: h\r\n\r\n"), 400);
  EXPECT_EQ(status_of("GET /%0 HTTP/1.1\r\nHost: h\r\n\r\n"), 400);
  EXPECT_EQ(status_of("GET /%00 HTTP/1.1\r\nHost: h\r\n\r\n"), 400);
  EXPECT_EQ(status_of("GET / HTTP/1.1\r\n\r\n"), 400);  // no Host
  EXPECT_EQ(status_of("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"), 400);
  EXPECT_EQ(status_of("GET / HTTP/1.1\r\nHost : a\r\n\r\n"), 400);
  EXPECT_EQ(status_of("GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n"), 400);
  EXPECT_EQ(status_of(std::string("GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n", 31)), 400);
}

TEST(HttpMessage, BoundsWhatItTakes) {
  EXPECT_EQ(status_of("GET /" + std::string(kMaxTargetBytes, 'a') + " HTTP/1.1\r\nHost: h\r\n\r\n"), 414);
  std::string many = "GET / HTTP/1.1\r\nHost: h\r\n";
  for (size_t i = 0; i < kMaxHeaders; ++i) many += "X: y\r\n";
  EXPECT_EQ(status_of(many + "\r\n"), 431);
}

TEST(HttpMessage, ErrorsAreJsonWhateverTheBytes) {
  const auto response = error_response(404, "no \"such\" \xff\n");
  EXPECT_EQ(response.status, 404);
  EXPECT_EQ(response.content_type, "application/json");
  EXPECT_EQ(response.body, "{\"error\":\"no \\\"such\\\" \xef\xbf\xbd\\n\"}\n");
}

TEST(HttpMessage, HeadersCannotBeSplit) {
  Response response;
  response.headers = {{"X-Name", "a\r\nEvil: b"}};
  const std::string head = serialize_head(response, false);
  EXPECT_NE(head.find("X-Name: aEvil: b\r\n"), std::string::npos);
  EXPECT_NE(head.find("Connection: close\r\n"), std::string::npos);
  EXPECT_TRUE(head.starts_with("HTTP/1.1 200 OK\r\n"));
  EXPECT_TRUE(head.ends_with("\r\n\r\n"));
}

}  // namespace
}  // namespace goheapd::exporters::http
