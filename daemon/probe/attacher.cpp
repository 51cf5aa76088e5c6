#include "daemon/probe/attacher.h"

#include <bpf/bpf.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "bpf/wire.h"
#include "daemon/probe/breakpoint.h"

namespace goheapd::probe {
namespace {

static_assert(kStormHits == wire::kStormHits);

constexpr int kErrnoNotSupported = 524;  // ENOTSUPP, which is not among user space's errno values
#ifdef __aarch64__
constexpr gobin::Arch kHostArch = gobin::Arch::arm64;
#else
constexpr gobin::Arch kHostArch = gobin::Arch::amd64;
#endif

wire::WireRole wire_role(gobin::ProbeRole role) {
  switch (role) {
    case gobin::ProbeRole::set_profile_bucket:
      return wire::kRoleSetProfileBucket;
    case gobin::ProbeRole::free_special:
      return wire::kRoleFreeSpecial;
    case gobin::ProbeRole::profile_alloc:
      return wire::kRoleProfileAlloc;
    case gobin::ProbeRole::profile_flush:
      return wire::kRoleProfileFlush;
    case gobin::ProbeRole::profile_post_sweep:
      return wire::kRoleProfilePostSweep;
    case gobin::ProbeRole::span_refill:
      return wire::kRoleSpanRefill;
    case gobin::ProbeRole::span_release:
      return wire::kRoleSpanRelease;
    case gobin::ProbeRole::span_uncache:
      return wire::kRoleSpanUncache;
    case gobin::ProbeRole::span_large:
      return wire::kRoleSpanLarge;
    case gobin::ProbeRole::gc_mark_termination:
      return wire::kRoleGcMarkTermination;
    case gobin::ProbeRole::world_stop:
      return wire::kRoleWorldStop;
    case gobin::ProbeRole::world_start:
      return wire::kRoleWorldStart;
    case gobin::ProbeRole::malloc:
      break;
  }
  return wire::kRoleMalloc;
}

}  // namespace

ProbeGroup group_of(gobin::ProbeRole role) {
  switch (role) {
    case gobin::ProbeRole::profile_flush:
    case gobin::ProbeRole::profile_post_sweep:
    case gobin::ProbeRole::gc_mark_termination:
    case gobin::ProbeRole::world_stop:
    case gobin::ProbeRole::world_start:
    case gobin::ProbeRole::span_release:
      return ProbeGroup::gc;
    case gobin::ProbeRole::malloc:
      return ProbeGroup::exact;
    case gobin::ProbeRole::span_refill:
    case gobin::ProbeRole::span_uncache:
    case gobin::ProbeRole::span_large:
      return ProbeGroup::spans;
    case gobin::ProbeRole::set_profile_bucket:
    case gobin::ProbeRole::free_special:
    case gobin::ProbeRole::profile_alloc:
      break;
  }
  return ProbeGroup::sampled;
}

namespace {

// An instruction that the kernel cannot probe; other errors are not cured by another candidate.
bool is_refused_instruction(const Error& error) {
  return error.errno_value == kErrnoNotSupported || error.errno_value == EINVAL ||
         error.errno_value == EOPNOTSUPP || error.errno_value == EIO;
}

// Does the file have the instruction that was found there? What was parsed may have been a copy with other bytes in a
// place that nobody compared, or the file was written to since. It also brings the probed page into the page cache: else
// the kernel reads it while it installs the breakpoint in a starting program, which on some file systems runs into their
// own checks.
bool has_instruction(const OpenFile& file, const gobin::SiteCandidate& site) {
  std::array<uint8_t, std::tuple_size_v<decltype(site.bytes)>> bytes{};
  const ssize_t got = ::pread(file.fd(), bytes.data(), site.size, static_cast<off_t>(site.file_offset));
  return site.size != 0 && got == site.size &&
         std::equal(bytes.begin(), bytes.begin() + site.size, site.bytes.begin());
}

Error explain(Error error, const AttachRequest& request) {
  if (error.errno_value == ESRCH) error.what = "the process has exited";
  if (error.errno_value == EPERM || error.errno_value == EACCES)
    error.what =
        "no permission to probe: CAP_BPF and CAP_PERFMON (CAP_SYS_ADMIN before Linux 6.6), and "
        "CAP_SYS_PTRACE "
        "for processes of other users";
  if (error.subject.empty()) error.subject = request.program.path;
  return error;
}

}  // namespace

uint64_t site_cookie(const gobin::ProbePoint& point, const gobin::SiteCandidate& site,
                     uint16_t target_index) {
  uint64_t flags = 0;
  if (site.cost == gobin::HitCost::filtered_emulated) flags |= wire::kSiteFilterTaken;
  if (site.caller == gobin::CallerPlace::own_frame) flags |= wire::kSiteOwnFrame;
  if (point.pointers == gobin::PointerKnowledge::always) flags |= wire::kSiteScan;
  if (point.pointers == gobin::PointerKnowledge::never) flags |= wire::kSiteNoscan;
  if (point.ignored_caller) flags |= wire::kSiteIgnoreCaller;
  if (site.cost == gobin::HitCost::single_step) flags |= wire::kSiteSingleStep;
  const uint64_t above = point.min_size == 0 ? 0 : point.min_size - 1;
  return static_cast<uint64_t>(wire_role(point.role)) | flags << wire::kSiteFlagsShift |
         static_cast<uint64_t>(target_index) << wire::kSiteTargetShift | above << wire::kSiteMinSizeShift;
}

Expected<bool> verify_breakpoints(pid_t pid, const std::vector<AttachedPoint>& points) {
  std::vector<std::array<uint8_t, kBreakpointBytes>> found(points.size());
  std::vector<iovec> local(points.size());
  std::vector<iovec> remote(points.size());
  for (size_t i = 0; i < points.size(); ++i) {
    local[i] = {found[i].data(), kBreakpointBytes};
    remote[i] = {reinterpret_cast<void*>(points[i].address), kBreakpointBytes};
  }
  constexpr size_t kMostPieces = 1024;  // IOV_MAX
  for (size_t begin = 0; begin < points.size(); begin += kMostPieces) {
    const size_t count = std::min(kMostPieces, points.size() - begin);
    const ssize_t got = ::process_vm_readv(pid, &local[begin], count, &remote[begin], count, 0);
    if (got < 0)
      return fail("cannot read the process's memory to verify the probes", std::to_string(pid), errno);
    if (static_cast<size_t>(got) != count * kBreakpointBytes)
      return fail("the process has no code where the probe should be",
                  points[begin + static_cast<size_t>(got) / kBreakpointBytes].function);
  }
  for (size_t i = 0; i < points.size(); ++i) {
    const gobin::SiteCandidate& site = points[i].site;
    if (is_breakpoint(kHostArch, found[i], std::span(site.bytes).first(site.size))) continue;
    return fail(
        "the probe did not reach the process: it runs another copy of its executable than the path names "
        "(changed or copied up in its container since it started); restart it",
        points[i].function);
  }
  return true;
}

Expected<ProbeLink> Attacher::link(int program, const AttachRequest& request,
                                   const std::vector<const gobin::ProbePoint*>& points,
                                   const std::vector<size_t>& chosen, uint16_t target_index) const {
  std::vector<uint64_t> offsets;
  std::vector<uint64_t> cookies;
  for (size_t i = 0; i < points.size(); ++i) {
    const gobin::SiteCandidate& site = points[i]->candidates[chosen[i]];
    if (!has_instruction(*request.program.file, site))
      return fail("the executable is not as it was when it was examined", points[i]->function);
    offsets.push_back(site.file_offset);
    cookies.push_back(site_cookie(*points[i], site, target_index));
    if (environment_.method == AttachMethod::uprobe_multi) continue;
    const wire::WireSiteKey key{static_cast<uint32_t>(request.process.pid), 0,
                                site.vaddr + request.load_bias};
    if (bpf_map_update_elem(environment_.sites_map, &key, &cookies.back(), BPF_ANY) != 0)
      return fail("no room for another probe site", points[i]->function, errno);
  }
  // By the descriptor: the file that was parsed, whatever the process runs by now.
  ProbePlaces places{request.program.file->path(), request.process.pid, offsets};
  switch (environment_.method) {
    case AttachMethod::uprobe_multi:
      if (!environment_.kernel_filters_pid) places.pid = -1;
      return link_uprobe_multi(program, places, cookies);
    case AttachMethod::tracefs_event:
      return link_tracefs_event(program, places, environment_.tracefs);
    case AttachMethod::perf_uprobe:
      break;
  }
  return link_perf_uprobes(program, places);
}

// `chosen` has the candidate to begin with for each point and gets the ones that were taken.
Expected<ProbeLink> Attacher::link_with_candidates(int program, const AttachRequest& request,
                                                   const std::vector<const gobin::ProbePoint*>& points,
                                                   uint16_t target_index, std::vector<size_t>& chosen) const {
  auto all = link(program, request, points, chosen, target_index);
  if (all || !is_refused_instruction(all.error())) return all;
  // The kernel does not say which site it refuses. This is rare, so try them one by one.
  bool changed = false;
  for (size_t i = 0; i < points.size(); ++i) {
    for (;; ++chosen[i]) {
      if (chosen[i] == points[i]->candidates.size())
        return fail("the kernel can probe no instruction of the function", points[i]->function,
                    all.error().errno_value);
      const auto single = link(program, request, {points[i]}, {chosen[i]}, target_index);
      if (single) break;
      if (!is_refused_instruction(single.error())) return tl::unexpected(single.error());
      changed = true;
    }
  }
  if (!changed) return all;
  return link(program, request, points, chosen, target_index);
}

int Attacher::program_of(ProbeGroup group) const {
  switch (group) {
    case ProbeGroup::exact:
      return environment_.exact_program;
    case ProbeGroup::spans:
      return environment_.spans_program;
    case ProbeGroup::gc:
    case ProbeGroup::sampled:
      break;
  }
  return environment_.sampled_program;
}

Expected<AttachedProbes> Attacher::attach(const AttachRequest& request, uint16_t target_index) const {
  std::array<std::vector<const gobin::ProbePoint*>, kProbeGroups> groups;
  for (const gobin::ProbePoint& point : request.points) {
    if (point.candidates.empty()) return fail("no probe site in the function", point.function);
    groups[static_cast<size_t>(group_of(point.role))].push_back(&point);
  }
  if (const auto same = check_still_runs(request.program); !same)
    return tl::unexpected(explain(same.error(), request));
  AttachedProbes probes;
  for (size_t group = 0; group < kProbeGroups; ++group) {
    const auto& points = groups[group];
    if (points.empty()) continue;
    const int program = program_of(static_cast<ProbeGroup>(group));
    std::vector<size_t> chosen(points.size(), 0);
    auto made = link_with_candidates(program, request, points, target_index, chosen);
    if (!made) {
      forget_sites(request.process.pid, probes.points);
      return tl::unexpected(explain(made.error(), request));
    }
    probes.links[group] = std::move(*made);
    for (size_t i = 0; i < points.size(); ++i) {
      const gobin::ProbePoint& point = *points[i];
      const gobin::SiteCandidate& site = point.candidates[chosen[i]];
      probes.points.push_back({point.role, point.function, site.vaddr + request.load_bias, site, chosen[i]});
    }
  }
  const auto verified = verify_breakpoints(request.process.pid, probes.points);
  // First, since it also explains why there is none.
  const auto same = check_still_runs(request.program);
  if (!same || !verified) {
    forget_sites(request.process.pid, probes.points);
    return tl::unexpected(explain(same ? verified.error() : same.error(), request));
  }
  return probes;
}

void Attacher::forget_sites(pid_t pid, const std::vector<AttachedPoint>& points) const {
  if (environment_.method == AttachMethod::uprobe_multi) return;
  for (const AttachedPoint& point : points) {
    const wire::WireSiteKey key{static_cast<uint32_t>(pid), 0, point.address};
    bpf_map_delete_elem(environment_.sites_map, &key);
  }
}

}  // namespace goheapd::probe
