#include "exporters/http/content_coding.h"

#include <gtest/gtest.h>

#include "exporters/http/router.h"
#include "tests/unit/exporters/pprof/decode.h"

namespace goheapd::exporters::http {
namespace {

Request asking(const std::string& accept_encoding) {
  Request request;
  request.method = "GET";
  request.path = "/table";
  if (!accept_encoding.empty()) request.headers.emplace_back("accept-encoding", accept_encoding);
  return request;
}

Response table() { return Response{200, "text/plain; charset=utf-8", std::string(100'000, 'x'), {}}; }

std::string header(const Response& response, const std::string& name) {
  std::string values;
  for (const auto& [key, value] : response.headers) {
    if (key == name) values += value + ";";
  }
  return values;
}

bool is_packed(const std::string& accept_encoding) {
  Response response = table();
  apply_content_coding(asking(accept_encoding), response);
  EXPECT_EQ(header(response, "Vary"), "Accept-Encoding;") << accept_encoding;
  if (header(response, "Content-Encoding").empty()) {
    EXPECT_EQ(response.body, table().body) << accept_encoding;
    return false;
  }
  EXPECT_EQ(header(response, "Content-Encoding"), "gzip;") << accept_encoding;
  EXPECT_EQ(pprof::gunzip(response.body), table().body) << accept_encoding;
  return true;
}

TEST(ContentCoding, AsTheClientLikes) {
  for (const char* likes : {"gzip", "GZip", "x-gzip", "gzip, deflate, br", "br;q=1, gzip ; Q = 0.1", "*",
                            "gzip;q=0.5, identity;q=0.5", "gzip, *;q=0", "identity;q=0, *"})
    EXPECT_TRUE(is_packed(likes)) << likes;
  for (const char* does_not :
       {"", "identity", "deflate, br", "gzip;q=0", "gzip;q=0.000", "*;q=0", "gzip;q=0, *",
        "gzip;q=0.4, identity;q=0.8", "gzip;q=", "gzip;q=x", "gzipped", ";q=1", ",,;,"})
    EXPECT_FALSE(is_packed(does_not)) << does_not;
}

TEST(ContentCoding, NotWhatIsSmallOrPackedAlready) {
  Response small{200, "text/plain", "ok", {}};
  apply_content_coding(asking("gzip"), small);
  EXPECT_EQ(small.body, "ok");
  EXPECT_TRUE(small.headers.empty());

  Response profile = table();
  profile.content_type = "application/octet-stream";
  apply_content_coding(asking("gzip"), profile);
  EXPECT_EQ(profile.body, table().body);
  EXPECT_TRUE(profile.headers.empty());
}

// Large answers are packed before they are counted as held, others when the router has them.
TEST(ContentCoding, OnceForEachAnswer) {
  Router router;
  router.get("/table", [](const Request&) { return table(); });
  router.get("/limited", router.limited(AnswerBudget::Kind::table, [](const Request&) { return table(); }));
  for (const char* path : {"/table", "/limited"}) {
    Request request = asking("gzip");
    request.path = path;
    const Response response = router.route(request);
    EXPECT_EQ(header(response, "Content-Encoding"), "gzip;") << path;
    EXPECT_EQ(header(response, "Vary"), "Accept-Encoding;") << path;
    EXPECT_EQ(pprof::gunzip(response.body), table().body) << path;
    EXPECT_EQ(response.held, nullptr) << path;  // packed, it is small
  }
  Request request = asking("");
  request.path = "/limited";
  EXPECT_NE(router.route(request).held, nullptr);
}

}  // namespace
}  // namespace goheapd::exporters::http
