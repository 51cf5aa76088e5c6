// Between Boost.Beast's messages and ours. Only the session includes this: Beast takes seconds to compile.
#pragma once

#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/system/error_code.hpp>
#include <optional>
#include <string>
#include <tl/expected.hpp>

#include "exporters/http/message.h"

namespace goheapd::exporters::http {

using BeastRequest = boost::beast::http::request<boost::beast::http::empty_body>;

// The answer when Beast could not make sense of a head; nullopt: the connection failed, and nobody would read
// an answer.
std::optional<Response> answer_to_bad_head(const boost::system::error_code& error);

// Our request, as far as it is in the head; or the answer that it gets, because HTTP asks for more than Beast
// checks: one Host header, a target that is a valid path, a Transfer-Encoding that tells where the body ends.
tl::expected<Request, Response> to_request(const BeastRequest& message);

// Status line and headers of the answer to a request of that HTTP version (10 or 11); the body follows unless
// the request was HEAD. (Beast can also send the whole, but compiling that takes longer than all the rest.)
std::string serialize_head(const Response& response, unsigned request_version, bool keep_alive);

}  // namespace goheapd::exporters::http
