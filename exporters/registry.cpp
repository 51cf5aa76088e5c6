#include "exporters/registry.h"

#include <utility>

#include "exporters/api/endpoints.h"
#include "exporters/gctrace/endpoints.h"
#include "exporters/go_metrics/endpoints.h"
#include "exporters/pprof/endpoints.h"
#include "exporters/prometheus/endpoints.h"
#include "exporters/web/endpoints.h"

namespace goheapd::exporters {
namespace {

using AddRoutes = void (*)(http::Router&, ProfileSource&);

constexpr AddRoutes kExporters[] = {
    api::add_routes,         // targets, service discovery
    gctrace::add_routes,     // garbage collections
    go_metrics::add_routes,  // memory statistics of one program
    pprof::add_routes,       // profiles
    web::add_routes,
};

}  // namespace

http::Router all_routes(ProfileSource& source, http::AskWebConfig web_config) {
  http::Router router;
  for (const AddRoutes add_routes : kExporters) add_routes(router, source);
  prometheus_text::add_routes(router, source, std::move(web_config));
  return router;
}

}  // namespace goheapd::exporters
