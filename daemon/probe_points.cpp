#include "daemon/probe_points.h"

#include <algorithm>
#include <iterator>

namespace goheapd {

Expected<probe::AttachRequest> make_attach_request(const gobin::GoBinary& binary,
                                                   const model::ProcessKey& process, const std::string& exe,
                                                   uint64_t load_bias, model::Mode mode) {
  const gobin::ProbeSites& sites = binary.probe_sites();
  const auto& points = mode == model::Mode::exact ? sites.exact() : sites.sampled();
  if (!points) return Unexpected(points.error());
  probe::AttachRequest request;
  request.process = process;
  request.path = exe;
  request.load_bias = load_bias;
  request.layout = probe::target_layout(binary.layout());
  // setprofilebucket is hit for the same samples, and it knows the bucket, whose stack is the runtime's own.
  std::copy_if(points->begin(), points->end(), std::back_inserter(request.points),
               [](const gobin::ProbePoint& point) { return point.role != gobin::ProbeRole::profile_alloc; });
  return request;
}

}  // namespace goheapd
