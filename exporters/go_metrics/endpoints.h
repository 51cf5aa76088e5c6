#pragma once

#include "exporters/http/router.h"
#include "exporters/source.h"

namespace goheapd::exporters::go_metrics {

// GET /targets/{pid}/metrics: what the Go and process collectors of client_golang would say inside of the target.
// `source` must outlive the router.
void add_routes(http::Router& router, ProfileSource& source);

}  // namespace goheapd::exporters::go_metrics
