// HTTP requests as bytes: head, target, parameters, and every endpoint's reading of them.
#include <boost/beast/http/parser.hpp>

#include "exporters/http/beast_message.h"
#include "exporters/http/limits.h"
#include "exporters/registry.h"
#include "tests/fuzz/fuzzer.h"
#include "tests/unit/exporters/fixtures.h"

namespace goheapd::fuzz {

// Texts, but for the ends of their lines.
std::vector<std::string> seeds() {
  std::vector<std::string> all;
  const auto add = [&all](const std::string& first_line, const std::string& fields) {
    all.push_back(first_line + "\r\nHost: localhost:9786\r\n" + fields + "\r\n");
  };
  for (const char* target :
       {"/", "/metrics", "/-/ready", "/healthz", "/api/v1/targets", "/api/v1/targets/101/gc", "/api/v1/sd",
        "/targets/101/", "/targets/101/debug/pprof/heap?debug=1", "/targets/102/debug/pprof/allocs",
        "/targets/101/debug/pprof/", "/targets/101/metrics", "/targets/101/gctrace",
        "/targets/103/debug/pprof/heap?gc=1", "/targets/104/debug/pprof/heap?seconds=0",
        // Numbers at their limits, parameters that are there twice, empty, unknown or not decodable.
        "/debug/pprof/heap?pid=103&gc=1", "/debug/pprof/heap?pid=101&pid=102",
        "/debug/pprof/heap?pid=", "/debug/pprof/allocs?pid=4294967397", "/debug/pprof/allocs?pid=-1",
        "/targets/18446744073709551617/metrics", "/targets/101/debug/pprof/heap?seconds=18446744073709551616",
        "/targets/101/debug/pprof/heap?seconds=-1", "/targets/101/debug/pprof/heap?seconds=1e9",
        "/targets/101/debug/pprof/heap?seconds=0x1&debug=2&&=&x", "/targets/101/debug/pprof/heap?debug=%31",
        "/targets/101/debug/pprof/heap?debug=%", "/targets/101/debug/pprof/heap?debug=%zz%0",
        "/metrics?%3d=%26#x",
        // Paths that mean others.
        "http://host/%2e%2e/x?a=%00+b", "/targets/../metrics", "//metrics", "/targets//debug", "/%6detrics",
        "*", "/debug/pprof/symbol?0x401000",
        "/debug/pprof/symbol?0x401000+0xffffffffffffffff+0x10000000000000000"})
    add("GET " + std::string(target) + " HTTP/1.1",
        "Accept: application/openmetrics-text;version=1.0.0\r\nAccept-Encoding: gzip;q=0.5, *\r\n"
        "Authorization: Basic YTpi\r\n");
  for (const char* fields :
       {"Accept: text/plain;version=0.0.4;q=0.3,application/openmetrics-text;q=1.5, */*;q=\r\n",
        "Accept-Encoding: gzip;q=0, identity;q=0\r\n", "Accept-Encoding: , ;q, gzip ; q = 1\r\n",
        "Authorization: Basic \r\nAuthorization: Bearer x\r\n", "Content-Length: 18446744073709551616\r\n",
        "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding: gzip, ,chunked\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip;a=\",chunked\r\n", "Expect: 100-continue\r\n",
        "Connection: close, upgrade\r\nUpgrade: h2c\r\n", "X: a\r\n b\r\n", "Host: other\r\n"})
    add("GET /metrics HTTP/1.1", fields);
  for (const char* first_line :
       {"HEAD /metrics HTTP/1.1", "OPTIONS * HTTP/1.1", "DELETE /metrics HTTP/1.1", "PRI * HTTP/2.0",
        "GET /metrics HTTP/0.9", "get / HTTP/1.1", "GET / HTTP/1.1 x"})
    add(first_line, "");
  all.emplace_back("POST /debug/pprof/symbol HTTP/1.0\r\nContent-Length: 3\r\n\r\n0x4");
  all.emplace_back("GET /metrics HTTP/1.1\n\n");
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
