// What Beast makes of the bytes of a head, and we of that.
#include "exporters/http/beast_message.h"

#include <gtest/gtest.h>

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/write.hpp>

#include "exporters/http/limits.h"

namespace goheapd::exporters::http {
namespace {

tl::expected<Request, Response> parse(const std::string& head) {
  boost::beast::http::request_parser<boost::beast::http::empty_body> parser;
  parser.header_limit(kMaxHeadBytes);
  boost::system::error_code error;
  for (size_t done = 0; !parser.is_header_done() && !error && done < head.size();) {
    done += parser.put(boost::asio::buffer(head.data() + done, head.size() - done), error);
  }
  if (error) return tl::unexpected<Response>(answer_to_bad_head(error).value_or(Response{0, "", "", {}}));
  return to_request(parser.get());
}

int status_of(const std::string& head) {
  const auto request = parse(head);
  return request ? 200 : request.error().status;
}

TEST(HttpHead, BecomesARequest) {
  const auto request =
      parse("GET /a%20b?seconds=5 HTTP/1.1\r\nHost: h:1\r\nX-Thing:  v \r\nX-THING: w\r\nAccept:\r\n\r\n");
  ASSERT_TRUE(request);
  EXPECT_EQ(request->method, "GET");
  EXPECT_EQ(request->path, "/a b");
  EXPECT_EQ(request->parameter("seconds"), "5");
  EXPECT_EQ(request->headers, (Fields{{"host", "h:1"}, {"x-thing", "v"}, {"x-thing", "w"}, {"accept", ""}}));
  EXPECT_EQ(parse("BREW / HTTP/1.0\r\n\r\n")->method, "BREW");
}

TEST(HttpHead, IsRefusedWhenItIsNotHttp) {
  EXPECT_EQ(status_of("\x16\x03\x01\r\n\r\n"), 400);
  EXPECT_EQ(status_of("GET\r\n\r\n"), 400);
  EXPECT_EQ(status_of("GET / HTTP/2.0\r\nHost: h\r\n\r\n"), 505);
  EXPECT_EQ(status_of("G@T / HTTP/1.1\r\nHost: h\r\n\r\n"), 400);
  EXPECT_EQ(status_of("GET nowhere HTTP/1.1\r\nHost: h\r\n\r\n"), 400);
  EXPECT_EQ(status_of("GET /%00 HTTP/1.1\r\nHost: h\r\n\r\n"), 400);
  EXPECT_EQ(status_of("GET / HTTP/1.1\r\n\r\n"), 400);  // no Host
  EXPECT_EQ(status_of("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"), 400);
  EXPECT_EQ(status_of("GET / HTTP/1.1\r\nHost : a\r\n\r\n"), 400);
  EXPECT_EQ(status_of(std::string("GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n", 29)), 400);
  EXPECT_EQ(status_of("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"), 400);
}

// RFC 9112 6.3: else nobody knows where the body ends, and it may be taken for the next request.
TEST(HttpHead, IsRefusedWhereABodysEndIsNotTold) {
  const auto status = [](const std::string& codings, const char* version = "1.1") {
    return status_of(std::string("POST / HTTP/") + version + "\r\nHost: h\r\n" + codings + "\r\n");
  };
  for (const char* codings :
       {"Transfer-Encoding: chunked\r\n", "Transfer-Encoding: gzip,\tChunked \r\n",
        "Transfer-Encoding: chunked,, \r\n", "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n"}) {
    EXPECT_EQ(status(codings), 200) << codings;
    EXPECT_EQ(status(codings, "1.0"), 400) << codings;
  }
  for (const char* codings :
       {"Transfer-Encoding: xchunked\r\n", "Transfer-Encoding: chunkedx\r\n",
        "Transfer-Encoding: chunked, gzip\r\n", "Transfer-Encoding: chunked;q=1\r\n",
        "Transfer-Encoding: gzip\r\n", "Transfer-Encoding: identity\r\n", "Transfer-Encoding:\r\n",
        "Transfer-Encoding: ,\r\n", "Transfer-Encoding: \"chunked\"\r\n", "Transfer-Encoding: \vchunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n",
        "Transfer-Encoding: chunked, chunked\r\n", "Transfer-Encoding: gzip;a=\",chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"}) {
    EXPECT_EQ(status(codings), 400) << codings;
  }
}

TEST(HttpHead, IsBounded) {
  EXPECT_EQ(status_of("GET /" + std::string(kMaxTargetBytes - 1, 'a') + " HTTP/1.1\r\nHost: h\r\n\r\n"), 200);
  EXPECT_EQ(status_of("GET /" + std::string(kMaxTargetBytes, 'a') + " HTTP/1.1\r\nHost: h\r\n\r\n"), 414);
  EXPECT_EQ(status_of("GET / HTTP/1.1\r\nHost: h\r\nX: " + std::string(kMaxHeadBytes, 'x') + "\r\n\r\n"),
            431);
}

TEST(HttpHead, OfAConnectionThatBreaksIsNotAnswered) {
  EXPECT_FALSE(answer_to_bad_head(boost::beast::http::error::end_of_stream));
  EXPECT_FALSE(answer_to_bad_head(boost::beast::http::error::partial_message));
  EXPECT_FALSE(
      answer_to_bad_head(boost::system::errc::make_error_code(boost::system::errc::connection_reset)));
}

TEST(HttpHead, OfAnAnswerCannotBeSplit) {
  Response response;
  response.body = "1234";
  response.headers = {{"X-Name", "a\r\nEvil: b"}, {"X-Twice", "1"}, {"X-Twice", "2"}};
  const std::string head = serialize_head(response, 11, false);
  EXPECT_NE(head.find("\r\nX-Name: aEvil: b\r\n"), std::string::npos);
  EXPECT_NE(head.find("\r\nX-Twice: 1\r\nX-Twice: 2\r\n"), std::string::npos);
  EXPECT_NE(head.find("\r\nContent-Length: 4\r\n"), std::string::npos);
  EXPECT_NE(head.find("\r\nConnection: close\r\n"), std::string::npos);
  EXPECT_TRUE(head.starts_with("HTTP/1.1 200 OK\r\n"));
  EXPECT_TRUE(head.ends_with("\r\n\r\n"));
  // "Sun, 06 Nov 1994 08:49:37 GMT"
  const size_t date = head.find("\r\nDate: ");
  ASSERT_NE(date, std::string::npos);
  EXPECT_EQ(head.substr(head.find("\r\n", date + 2) - 4, 4), " GMT");
  EXPECT_EQ(head.find("\r\n", date + 2) - date, size_t{8 + 29});
}

TEST(HttpHead, SaysHowTheConnectionGoesOn) {
  const Response response;
  EXPECT_EQ(serialize_head(response, 11, true).find("Connection"), std::string::npos);
  EXPECT_NE(serialize_head(response, 10, true).find("\r\nConnection: keep-alive\r\n"), std::string::npos);
  EXPECT_EQ(serialize_head(response, 10, false).find("keep-alive"), std::string::npos);
}

}  // namespace
}  // namespace goheapd::exporters::http
