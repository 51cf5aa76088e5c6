// Everything that leaves the daemon over HTTP. A new exporter is a folder under exporters/ and one row in registry.cpp.
#pragma once

#include "exporters/http/router.h"
#include "exporters/source.h"

namespace goheapd::exporters {

// The routes of every exporter. `source` must outlive the router.
http::Router all_routes(ProfileSource& source);

}  // namespace goheapd::exporters
