// The profiles over HTTP, as Go's net/http/pprof serves them.
#pragma once

#include "exporters/http/router.h"
#include "exporters/source.h"

namespace goheapd::exporters::pprof {

// GET /targets/{pid}/debug/pprof/{heap,allocs}, /debug/pprof/{heap,allocs}?pid=N, an index per target,
// and beside each profile the symbol look-up that `go tool pprof` expects there.
// Parameters: seconds=N (a difference), debug=0|1; gc=1 is refused, since nothing is done to the target.
// `source` must outlive the router.
void add_routes(http::Router& router, ProfileSource& source);

}  // namespace goheapd::exporters::pprof
