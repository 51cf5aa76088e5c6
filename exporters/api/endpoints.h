// The JSON that scripts and service discoveries read, and the answers to "are you well?".
#pragma once

#include "exporters/http/router.h"
#include "exporters/source.h"

namespace goheapd::exporters::api {

// GET /api/v1/targets, /api/v1/sd, /-/healthy, /-/ready, /healthz, /readyz. `source` must outlive the router.
void add_routes(http::Router& router, ProfileSource& source);

}  // namespace goheapd::exporters::api
