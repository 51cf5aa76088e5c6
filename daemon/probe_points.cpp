#include "daemon/probe_points.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "daemon/gobin/probe_sites.h"
#include "daemon/probe/target_layout.h"

namespace goheapd {
namespace {

// gobin knows where functions are, probe knows what the kernel can do; neither knows the other's words.
probe::ProbeRole role_of(gobin::ProbeRole role) {
  switch (role) {
    case gobin::ProbeRole::set_profile_bucket:
      return probe::ProbeRole::set_profile_bucket;
    case gobin::ProbeRole::free_special:
      return probe::ProbeRole::free_special;
    case gobin::ProbeRole::profile_alloc:
      return probe::ProbeRole::profile_alloc;
    case gobin::ProbeRole::profile_flush:
      return probe::ProbeRole::profile_flush;
    case gobin::ProbeRole::profile_post_sweep:
      return probe::ProbeRole::profile_post_sweep;
    case gobin::ProbeRole::malloc:
      break;
  }
  return probe::ProbeRole::malloc;
}

probe::SitePointers pointers_of(gobin::PointerKnowledge knowledge) {
  switch (knowledge) {
    case gobin::PointerKnowledge::always:
      return probe::SitePointers::always;
    case gobin::PointerKnowledge::never:
      return probe::SitePointers::never;
    case gobin::PointerKnowledge::by_type:
      break;
  }
  return probe::SitePointers::by_type;
}

}  // namespace

Expected<probe::AttachRequest> make_attach_request(const gobin::GoBinary& binary,
                                                   const model::ProcessKey& process, const std::string& exe,
                                                   uint64_t load_bias, model::Mode mode) {
  const gobin::ProbeSites& sites = binary.probe_sites();
  const auto& points = mode == model::Mode::exact ? sites.exact() : sites.sampled();
  if (!points) return Unexpected(points.error());
  probe::AttachRequest request;
  request.process = process;
  request.path = exe;
  request.layout = probe::target_layout(binary.layout());
  for (const gobin::ProbePoint& point : *points) {
    // setprofilebucket is hit for the same samples, and it knows the bucket, whose stack is the runtime's own.
    if (point.role == gobin::ProbeRole::profile_alloc) continue;
    probe::ProbePoint wanted;
    wanted.role = role_of(point.role);
    wanted.function = point.function;
    // The kernel's side counts sizes above a limit; 0 is the limit that leaves out allocations of nothing.
    wanted.min_size = point.min_size == 0 ? 0 : static_cast<uint32_t>(point.min_size - 1);
    wanted.pointers = pointers_of(point.pointers);
    for (const gobin::SiteCandidate& candidate : point.candidates) {
      wanted.candidates.push_back({.file_offset = candidate.file_offset,
                                   .address = candidate.vaddr + load_bias,
                                   .filter_taken = candidate.cost == gobin::HitCost::filtered_emulated,
                                   .own_frame = candidate.caller == gobin::CallerPlace::own_frame});
    }
    request.points.push_back(std::move(wanted));
  }
  return request;
}

}  // namespace goheapd
