// HTTP requests as bytes: head, target, parameters, and every endpoint's reading of them.
#include <boost/beast/http/parser.hpp>

#include "exporters/http/beast_message.h"
#include "exporters/http/limits.h"
#include "exporters/registry.h"
#include "tests/fuzz/fuzzer.h"
#include "tests/unit/exporters/fixtures.h"

namespace goheapd::fuzz {

std::vector<std::string> seeds() {
  std::vector<std::string> all;
  for (const char* target :
       {"/", "/metrics", "/-/ready", "/api/v1/targets", "/api/v1/sd", "/targets/101/debug/pprof/heap?debug=1",
        "/targets/102/debug/pprof/allocs", "/debug/pprof/heap?pid=103&gc=1",
        "/targets/104/debug/pprof/heap?seconds=0", "/targets/101/metrics", "/targets/101/gctrace",
        "http://host/%2e%2e/x?a=%00+b", "/debug/pprof/symbol?0x401000"}) {
    all.push_back(
        "GET " + std::string(target) +
        " HTTP/1.1\r\nHost: localhost:9786\r\nAccept: application/openmetrics-text;version=1.0.0\r\n"
        "Accept-Encoding: gzip;q=0.5, *\r\nAuthorization: Basic YTpi\r\n\r\n");
  }
  all.emplace_back("POST /debug/pprof/symbol HTTP/1.0\r\nContent-Length: 3\r\n\r\n0x4");
  return all;
}

void run(std::string_view input) {
  namespace http = exporters::http;
  static exporters::fixtures::FixedSource source;
  static const http::Router router = exporters::all_routes(source);
  boost::beast::http::request_parser<boost::beast::http::empty_body> parser;
  parser.header_limit(http::kMaxHeadBytes);
  boost::system::error_code error;
  parser.put(boost::asio::buffer(input.data(), input.size()), error);
  if (!parser.is_header_done()) {
    if (error) use(http::answer_to_bad_head(error));
    return;
  }
  auto request = http::to_request(parser.get());
  if (!request) {
    use_text(http::serialize_head(request.error(), 11, true));
    return;
  }
  // The fixed source waits in earnest; so does a client that goes away at once not.
  std::stop_source gone;
  gone.request_stop();
  request->stop = gone.get_token();
  const http::Response response = router.route(std::move(*request));
  use_text(response.body);
  use_text(http::serialize_head(response, 11, false));
}

}  // namespace goheapd::fuzz
