#pragma once

#include "exporters/http/router.h"
#include "exporters/source.h"

namespace goheapd::exporters::web {

// GET /: the landing page. `source` must outlive the router.
void add_routes(http::Router& router, ProfileSource& source);

}  // namespace goheapd::exporters::web
