// Answers in gzip for those who ask for them so, as Prometheus and browsers do: tables of a large host are a megabyte of
// text, and a twentieth of that packed.
#pragma once

#include "exporters/http/message.h"

namespace goheapd::exporters::http {

// Packs the body where the request's Accept-Encoding likes gzip no less than what is not packed (RFC 9110 12.5.3), and the
// body is worth it: profiles are in gzip already, and small answers do not get smaller. Names the header in Vary wherever
// it has a say. Does nothing to an answer that it has been given before. Throws std::bad_alloc.
void apply_content_coding(const Request& request, Response& response);

}  // namespace goheapd::exporters::http
