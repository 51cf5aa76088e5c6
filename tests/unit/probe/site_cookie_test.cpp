#include <gtest/gtest.h>

#include <set>

#include "bpf/wire.h"
#include "daemon/probe/attacher.h"

namespace goheapd::probe {
namespace {

TEST(SiteCookie, CarriesRoleFlagsTargetAndFilter) {
  const ProbePoint point{ProbeRole::malloc, "runtime.mallocgc", 80, SitePointers::by_type, {}};
  const SiteCandidate site{.file_offset = 1, .address = 2, .filter_taken = true, .own_frame = false};
  const uint64_t cookie = site_cookie(point, site, 0xabcd);
  EXPECT_EQ(cookie & 0xff, wire::kRoleMalloc);
  EXPECT_EQ(cookie >> wire::kSiteFlagsShift & 0xff, wire::kSiteFilterTaken);
  EXPECT_EQ(cookie >> wire::kSiteTargetShift & 0xffff, 0xabcdu);
  EXPECT_EQ(cookie >> wire::kSiteMinSizeShift, 80u);
}

TEST(SiteCookie, TellsWhatIsKnownOfPointersAndFrames) {
  ProbePoint point{ProbeRole::malloc, "f", 0, SitePointers::always, {}};
  const SiteCandidate site{.own_frame = true};
  EXPECT_EQ(site_cookie(point, site, 1) >> wire::kSiteFlagsShift & 0xff,
            wire::kSiteOwnFrame | wire::kSiteScan);
  point.pointers = SitePointers::never;
  EXPECT_EQ(site_cookie(point, site, 1) >> wire::kSiteFlagsShift & 0xff,
            wire::kSiteOwnFrame | wire::kSiteNoscan);
}

TEST(SiteCookie, EveryRoleIsItsOwn) {
  std::set<uint64_t> roles;
  for (const ProbeRole role :
       {ProbeRole::set_profile_bucket, ProbeRole::free_special, ProbeRole::profile_alloc,
        ProbeRole::profile_flush, ProbeRole::profile_post_sweep, ProbeRole::malloc})
    roles.insert(site_cookie({role, "f", 0, SitePointers::by_type, {}}, {}, 0) & 0xff);
  EXPECT_EQ(roles.size(), 6u);
  EXPECT_FALSE(roles.contains(0));
}

}  // namespace
}  // namespace goheapd::probe
