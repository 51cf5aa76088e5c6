#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "daemon/model/target.h"

namespace goheapd::exporters::api {

// One row of /api/v1/targets. What is not known is null.
nlohmann::ordered_json target_json(const model::TargetStatus& target);

// One target group of Prometheus's HTTP service discovery
// (https://prometheus.io/docs/prometheus/latest/http_sd/). `address` is the host and port to scrape: ours.
//   __scheme__                https where we speak TLS
//   __profile_path_prefix__   pyroscope.scrape of Alloy puts it before /debug/pprof/...
//   __metrics_path__          what the program's own Go collector would say
//   __meta_goheapd_heap_path  the heap profile, for profile scrapers that take one path per target; absent
//                             where there is no profile
//   __meta_goheapd_*          to make labels of by relabelling
//   instance, pid, comm, ...  labels of the series, which without them would be those of all our targets
nlohmann::ordered_json discovery_json(const model::TargetStatus& target, std::string_view address,
                                      bool secure);

}  // namespace goheapd::exporters::api
