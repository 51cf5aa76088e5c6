// Everything that leaves the daemon over HTTP. A new exporter is a folder under exporters/ and one row in registry.cpp.
#pragma once

#include "exporters/http/router.h"
#include "exporters/http/web_config.h"
#include "exporters/source.h"

namespace goheapd::exporters {

// The routes of every exporter. `source` must outlive the router; `web_config` is asked for each answer to /metrics.
http::Router all_routes(ProfileSource& source, http::AskWebConfig web_config = {});

}  // namespace goheapd::exporters
