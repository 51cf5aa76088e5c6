#include <gtest/gtest.h>

#include <set>

#include "bpf/wire.h"
#include "daemon/probe/attacher.h"

namespace goheapd::probe {
namespace {

using gobin::CallerPlace;
using gobin::HitCost;
using gobin::PointerKnowledge;
using gobin::ProbePoint;
using gobin::ProbeRole;
using gobin::SiteCandidate;

uint64_t flags_of(uint64_t cookie) { return cookie >> wire::kSiteFlagsShift & 0xff; }

TEST(SiteCookie, CarriesRoleFlagsTargetAndFilter) {
  ProbePoint point;
  point.min_size = 81;
  SiteCandidate site;
  site.cost = HitCost::filtered_emulated;
  const uint64_t cookie = site_cookie(point, site, 0xabcd);
  EXPECT_EQ(cookie & 0xff, wire::kRoleMalloc);
  EXPECT_EQ(flags_of(cookie), wire::kSiteFilterTaken);
  EXPECT_EQ(cookie >> wire::kSiteTargetShift & 0xffff, 0xabcdu);
  EXPECT_EQ(cookie >> wire::kSiteMinSizeShift, 80u);  // sizes above this
}

TEST(SiteCookie, TellsWhatIsKnownOfPointersFramesAndCallers) {
  ProbePoint point;
  point.min_size = 1;
  point.pointers = PointerKnowledge::always;
  SiteCandidate site;
  site.cost = HitCost::emulated;
  site.caller = CallerPlace::own_frame;
  EXPECT_EQ(flags_of(site_cookie(point, site, 1)), wire::kSiteOwnFrame | wire::kSiteScan);
  EXPECT_EQ(site_cookie(point, site, 1) >> wire::kSiteMinSizeShift, 0u);
  point.pointers = PointerKnowledge::never;
  point.ignored_caller = gobin::CodeRange{1, 2};
  EXPECT_EQ(flags_of(site_cookie(point, site, 1)),
            wire::kSiteOwnFrame | wire::kSiteNoscan | wire::kSiteIgnoreCaller);
}

TEST(SiteCookie, EveryRoleIsItsOwn) {
  std::set<uint64_t> roles;
  for (const ProbeRole role :
       {ProbeRole::set_profile_bucket, ProbeRole::free_special, ProbeRole::profile_alloc,
        ProbeRole::profile_flush, ProbeRole::profile_post_sweep, ProbeRole::gc_mark_termination,
        ProbeRole::world_stop, ProbeRole::world_start, ProbeRole::malloc}) {
    ProbePoint point;
    point.role = role;
    roles.insert(site_cookie(point, {}, 0) & 0xff);
  }
  EXPECT_EQ(roles.size(), 9u);
  EXPECT_FALSE(roles.contains(0));
}

}  // namespace
}  // namespace goheapd::probe
