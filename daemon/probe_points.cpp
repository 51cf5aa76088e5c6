#include "daemon/probe_points.h"

#include <algorithm>
#include <iterator>

#include "daemon/runtime/gc_cycle.h"
#include "daemon/sample_distance.h"

namespace goheapd {
namespace {

// Cycles are wanted in every mode. Where their variables or functions are not found, all else works.
void watch_collector(const gobin::GoBinary& binary, uint64_t load_bias, probe::AttachRequest& request) {
  const auto& points = binary.probe_sites().gc();
  const auto work = binary.global("runtime.work");
  const auto controller = binary.global("runtime.gcController");
  const auto memstats = binary.global("runtime.memstats");
  const auto init_time = binary.global("runtime.runtimeInitTime");
  if (!points || !work || !controller || !memstats || !init_time) return;
  const auto parts = runtime::gc_cycle_parts(
      binary.layout(),
      {*work + load_bias, *controller + load_bias, *memstats + load_bias, *init_time + load_bias});
  for (size_t i = 0; i < parts.size(); ++i) request.gc_parts[i] = {parts[i].address, parts[i].bytes};
  request.gc_triggered = *controller + load_bias + binary.layout().gc_controller.triggered.offset;
  const gobin::Field leak_check = binary.layout().work.goroutine_leak_done;
  if (leak_check.present()) request.gc_leak_check = *work + load_bias + leak_check.offset;
  for (const gobin::ProbePoint& point : *points) {
    const bool is_there =
        std::any_of(request.points.begin(), request.points.end(),
                    [&](const gobin::ProbePoint& other) { return other.role == point.role; });
    if (!is_there) request.points.push_back(point);
  }
}

}  // namespace

namespace {

probe::AttachRequest empty_request(const gobin::GoBinary& binary, const model::ProcessKey& process,
                                   const probe::RunningFile& program, uint64_t load_bias) {
  probe::AttachRequest request;
  request.process = process;
  request.program = program;
  request.load_bias = load_bias;
  request.layout = probe::target_layout(binary.layout());
  request.stack_roots = probe::stack_roots(binary, load_bias);
  return request;
}

}  // namespace

Expected<probe::AttachRequest> make_attach_request(const gobin::GoBinary& binary,
                                                   const model::ProcessKey& process,
                                                   const probe::RunningFile& program, uint64_t load_bias,
                                                   model::Mode mode) {
  const gobin::ProbeSites& sites = binary.probe_sites();
  const auto& points = mode == model::Mode::exact ? sites.exact() : sites.sampled();
  if (!points) return Unexpected(points.error());
  probe::AttachRequest request = empty_request(binary, process, program, load_bias);
  // setprofilebucket is hit for the same samples, and it knows the bucket, whose stack is the runtime's own.
  std::copy_if(points->begin(), points->end(), std::back_inserter(request.points),
               [](const gobin::ProbePoint& point) { return point.role != gobin::ProbeRole::profile_alloc; });
  watch_collector(binary, load_bias, request);
  return request;
}

Expected<probe::AttachRequest> make_span_request(const gobin::GoBinary& binary,
                                                 const model::ProcessKey& process,
                                                 const probe::RunningFile& program, uint64_t load_bias,
                                                 uint64_t mean_distance) {
  const auto& points = binary.probe_sites().spans();
  if (!points) return Unexpected(points.error());
  const auto heap = binary.global("runtime.mheap_");
  if (!heap) return Unexpected(heap.error());
  probe::AttachRequest request = empty_request(binary, process, program, load_bias);
  request.sweepgen_address = *heap + load_bias + binary.layout().mheap.sweepgen.offset;
  request.mean_distance = mean_distance;
  request.burst_distance = SampleDistance::kSparsest;
  request.points = *points;
  watch_collector(binary, load_bias, request);
  return request;
}

}  // namespace goheapd
