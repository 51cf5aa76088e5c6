#pragma once

#include "exporters/http/router.h"
#include "exporters/source.h"

namespace goheapd::exporters::gctrace {

// GET /targets/{pid}/gctrace: the last garbage collections as GODEBUG=gctrace=1 would have printed them, oldest first.
// GET /api/v1/targets/{pid}/gc: the same as JSON, and the times for which the program was stopped
// for other reasons. `source` must outlive the router.
void add_routes(http::Router& router, ProfileSource& source);

}  // namespace goheapd::exporters::gctrace
