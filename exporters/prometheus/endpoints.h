#pragma once

#include "exporters/http/router.h"
#include "exporters/http/web_config.h"
#include "exporters/source.h"

namespace goheapd::exporters::prometheus_text {

// GET /metrics. `source` must outlive the router.
void add_routes(http::Router& router, ProfileSource& source, http::AskWebConfig web_config);

}  // namespace goheapd::exporters::prometheus_text
