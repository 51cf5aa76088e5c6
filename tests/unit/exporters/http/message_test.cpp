#include "exporters/http/message.h"

#include <gtest/gtest.h>

namespace goheapd::exporters::http {
namespace {

TEST(HttpMessage, FindsTheFirstOfAName) {
  Request request;
  request.query = {{"seconds", "5"}, {"flag", ""}, {"seconds", "6"}};
  request.headers = {{"x-thing", "v"}};
  request.captures = {{"pid", "12"}};
  EXPECT_EQ(request.parameter("seconds"), "5");
  EXPECT_EQ(request.parameter("flag"), "");
  EXPECT_EQ(request.parameter("none"), std::nullopt);
  EXPECT_EQ(request.header("x-thing"), "v");
  EXPECT_EQ(request.header("none"), std::nullopt);
  EXPECT_EQ(request.capture("pid"), "12");
  EXPECT_EQ(request.capture("none"), "");
}

TEST(HttpMessage, ErrorsAreJsonWhateverTheBytes) {
  const auto response = error_response(404, "no \"such\" \xff\n");
  EXPECT_EQ(response.status, 404);
  EXPECT_EQ(response.content_type, "application/json");
  EXPECT_EQ(response.body, "{\"error\":\"no \\\"such\\\" \xef\xbf\xbd\\n\"}\n");
}

}  // namespace
}  // namespace goheapd::exporters::http
