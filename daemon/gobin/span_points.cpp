// Where runs of span classes open and close, and large objects come to be: the probes of source spans.
//
//   nextFree ──▶ refill ──▶ cacheSpan ──▶ branch on its result   a run opens       (span_refill)
//   mallocgcLarge ──▶ allocLarge ──▶ mheap.alloc ──▶ branch      a large object    (span_large)
//   GC, per P ──▶ releaseAll ──▶ uncacheSpan for each            runs are cut      (span_release or span_uncache)
//   end of each GC cycle ──▶ mProf_Flush                         time to ask what is alive (profile_flush)
//
// Profile-guided builds copy refill into its callers, so the calls are looked for in whatever machine function holds them.
// Some copy releaseAll, too; then uncacheSpan is probed, by which spans leave a cache for any reason. That is a second hit
// for each run, which plain builds are spared.
// https://github.com/golang/go/blob/go1.24.4/src/runtime/mcache.go#L149
#include <algorithm>
#include <set>

#include "daemon/gobin/probe_sites.h"

namespace goheapd::gobin {
namespace {

constexpr std::string_view kRefill = "runtime.(*mcache).refill";
constexpr std::string_view kCacheSpan = "runtime.(*mcentral).cacheSpan";
constexpr std::string_view kUncacheSpan = "runtime.(*mcentral).uncacheSpan";
constexpr std::string_view kProfileFlush = "runtime.mProf_Flush";
constexpr std::string_view kReleaseAll = "runtime.(*mcache).releaseAll";
constexpr std::string_view kAllocLarge = "runtime.(*mcache).allocLarge";
constexpr std::string_view kHeapAlloc = "runtime.(*mheap).alloc";

class SpanPoints {
 public:
  SpanPoints(const ElfFile& elf, const RuntimeLayout& layout, const FunctionLookup& functions,
             const InlineCopies& copies)
      : arch_(layout.arch),
        functions_(functions),
        copies_(copies),
        file_offset_([&elf](uint64_t vaddr) { return elf.file_offset(vaddr); }) {}

  // A point for each call of `callee` in `caller`, be that a function or copies in others.
  Expected<void> add_calls(ProbeRole role, std::string_view caller, std::string_view callee) {
    const auto called = functions_(callee);
    if (!called) return missing(callee);
    const auto copies = copies_.hosts_of(caller);
    std::set<std::string_view> hosts(copies.begin(), copies.end());
    if (functions_(caller)) hosts.insert(caller);
    const size_t before = points_.size();
    for (const std::string_view host : hosts) {
      const auto function = functions_(host);
      if (!function)
        return fail("a function that holds a copy of it is not to be found", std::string(caller));
      const auto sites = result_branches(*function, arch_, called->entry, file_offset_);
      if (!sites)
        return fail("no branch that can be probed tests the result of " + std::string(callee),
                    std::string(host));
      for (const SiteCandidate& site : *sites) add(role, host, {site});
    }
    if (points_.size() == before) return fail("nothing calls " + std::string(callee), std::string(caller));
    return {};
  }

  // A point at the beginning of a function that reads its first `arguments` registers.
  Expected<void> add_function(ProbeRole role, std::string_view name, RegisterSet arguments) {
    const auto function = functions_(name);
    if (!function || !copies_.hosts_of(name).empty()) return missing(name);
    add(role, name, site_candidates(*function, arch_, arguments, false, file_offset_));
    if (points_.back().candidates.empty())
      return fail("no instruction of the function can carry a probe", std::string(name));
    return {};
  }

  std::vector<ProbePoint> take() { return std::move(points_); }

 private:
  static tl::unexpected<Error> missing(std::string_view name) {
    return fail("the function was inlined away or is not linked", std::string(name));
  }

  void add(ProbeRole role, std::string_view function, std::vector<SiteCandidate> candidates) {
    ProbePoint& point = points_.emplace_back();
    point.role = role;
    point.function = function;
    point.candidates = std::move(candidates);
  }

  const Arch arch_;
  const FunctionLookup& functions_;
  const InlineCopies& copies_;
  const std::function<std::optional<uint64_t>(uint64_t)> file_offset_;
  std::vector<ProbePoint> points_;
};

}  // namespace

Expected<std::vector<ProbePoint>> find_span_points(const ElfFile& elf, const RuntimeLayout& layout,
                                                   const FunctionLookup& functions,
                                                   const InlineCopies& copies) {
  SpanPoints points(elf, layout, functions, copies);
  if (auto found = points.add_calls(ProbeRole::span_refill, kRefill, kCacheSpan); !found)
    return Unexpected(found.error());
  const RegisterSet first = register_bit(0);
  const RegisterSet second = layout.arch == Arch::amd64 ? register_bit(3) : register_bit(1);
  const bool released_by_copies = !copies.hosts_of(kReleaseAll).empty() || !functions(kReleaseAll);
  const auto released = released_by_copies
                            ? points.add_function(ProbeRole::span_uncache, kUncacheSpan, first | second)
                            : points.add_function(ProbeRole::span_release, kReleaseAll, first);
  if (!released) return Unexpected(released.error());
  if (auto found = points.add_calls(ProbeRole::span_large, kAllocLarge, kHeapAlloc); !found)
    return Unexpected(found.error());
  if (auto found = points.add_function(ProbeRole::profile_flush, kProfileFlush, 0); !found)
    return Unexpected(found.error());
  return points.take();
}

}  // namespace goheapd::gobin
