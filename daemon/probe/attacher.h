// Puts the probes of one target in, and proves that they are really there.
//
//   points ─▶ sort into groups ─▶ one link per group ─refused?─▶ find the site, take its next candidate, again
//                                        └─ok─▶ read the bytes at the sites in the process: a breakpoint at each?
//
// A process may execute another program at any moment, also while this goes on. So nothing here asks what it runs and then
// takes that: probes go into the one file that was parsed, if the bytes at the sites are those that were seen then, and
// stay only if the process runs that file before and after.
//
// One link per target with the kernel's pid filter, also where many processes run one file. A link for the
// whole file would also trap in processes that nobody profiles, and those cannot be told apart before they
// hit; the price, that every hit looks at the links of all targets of that file, is measured in attacher.cpp.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "daemon/base/expected.h"
#include "daemon/probe/attach_request.h"
#include "daemon/probe/uprobe_methods.h"

namespace goheapd::probe {

struct AttachedPoint {
  gobin::ProbeRole role = gobin::ProbeRole::malloc;
  std::string function;
  uint64_t address = 0;       // of the instruction that was taken, in the process
  gobin::SiteCandidate site;  // the same in the file
  size_t candidate = 0;       // its place among the candidates
};

// The probes of one target; destruction takes them out.
struct AttachedProbes {
  std::array<std::optional<ProbeLink>, kProbeGroups> links;  // by ProbeGroup
  std::vector<AttachedPoint> points;

  bool has(ProbeGroup group) const { return links[static_cast<size_t>(group)].has_value(); }
};

class Attacher {
 public:
  struct Environment {
    AttachMethod method = AttachMethod::uprobe_multi;
    // False on kernels whose uprobe_multi compares threads instead of processes: then the link covers every
    // process of the file and the programs sort out the others.
    bool kernel_filters_pid = true;
    std::string tracefs;  // where mounted, for AttachMethod::tracefs_event
    int sampled_program = -1;
    int exact_program = -1;
    int spans_program = -1;
    int sites_map = -1;  // address -> cookie, where the method has no cookies
  };
  explicit Attacher(Environment environment) : environment_(std::move(environment)) {}

  // `target_index` goes into the sites' cookies. Errors name the function or what is wrong with the process.
  Expected<AttachedProbes> attach(const AttachRequest& request, uint16_t target_index) const;

  // Forgets what attach() has put into the sites map for these points.
  void forget_sites(pid_t pid, const std::vector<AttachedPoint>& points) const;

 private:
  int program_of(ProbeGroup group) const;
  Expected<ProbeLink> link(int program, const AttachRequest& request,
                           const std::vector<const gobin::ProbePoint*>& points,
                           const std::vector<size_t>& chosen, uint16_t target_index) const;
  Expected<ProbeLink> link_with_candidates(int program, const AttachRequest& request,
                                           const std::vector<const gobin::ProbePoint*>& points,
                                           uint16_t target_index, std::vector<size_t>& chosen) const;

  Environment environment_;
};

// The cookie of a site, as bpf/wire.h defines it.
uint64_t site_cookie(const gobin::ProbePoint& point, const gobin::SiteCandidate& site, uint16_t target_index);

// Reads the instruction at each site in the process and says which site has no breakpoint. Error: the first such
// site, or the process cannot be read.
Expected<bool> verify_breakpoints(pid_t pid, const std::vector<AttachedPoint>& points);

}  // namespace goheapd::probe
