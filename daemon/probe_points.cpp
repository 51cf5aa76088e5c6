#include "daemon/probe_points.h"

#include <algorithm>
#include <iterator>

namespace goheapd {

namespace {

probe::AttachRequest empty_request(const gobin::GoBinary& binary, const model::ProcessKey& process,
                                   const std::string& exe, uint64_t load_bias) {
  probe::AttachRequest request;
  request.process = process;
  request.path = exe;
  request.load_bias = load_bias;
  request.layout = probe::target_layout(binary.layout());
  return request;
}

}  // namespace

Expected<probe::AttachRequest> make_attach_request(const gobin::GoBinary& binary,
                                                   const model::ProcessKey& process, const std::string& exe,
                                                   uint64_t load_bias, model::Mode mode) {
  const gobin::ProbeSites& sites = binary.probe_sites();
  const auto& points = mode == model::Mode::exact ? sites.exact() : sites.sampled();
  if (!points) return Unexpected(points.error());
  probe::AttachRequest request = empty_request(binary, process, exe, load_bias);
  // setprofilebucket is hit for the same samples, and it knows the bucket, whose stack is the runtime's own.
  std::copy_if(points->begin(), points->end(), std::back_inserter(request.points),
               [](const gobin::ProbePoint& point) { return point.role != gobin::ProbeRole::profile_alloc; });
  return request;
}

Expected<probe::AttachRequest> make_span_request(const gobin::GoBinary& binary,
                                                 const model::ProcessKey& process, const std::string& exe,
                                                 uint64_t load_bias) {
  const auto& points = binary.probe_sites().spans();
  if (!points) return Unexpected(points.error());
  const auto heap = binary.global("runtime.mheap_");
  if (!heap) return Unexpected(heap.error());
  probe::AttachRequest request = empty_request(binary, process, exe, load_bias);
  request.sweepgen_address = *heap + load_bias + binary.layout().mheap.sweepgen.offset;
  request.mean_distance = kSpanMeanDistance;
  request.points = *points;
  return request;
}

}  // namespace goheapd
