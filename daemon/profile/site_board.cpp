#include "daemon/profile/site_board.h"

#include <algorithm>

namespace goheapd::profile {

std::vector<model::TargetStatus::Site> SiteBoard::update(std::vector<SiteTotals> totals) {
  const size_t shown = std::min(limit_, totals.size());
  // "other" as a function name means a site that could not be named: never on the list by itself.
  std::partial_sort(totals.begin(), totals.begin() + static_cast<std::ptrdiff_t>(shown), totals.end(),
                    [](const SiteTotals& a, const SiteTotals& b) {
                      const bool a_named = a.function != kOtherSite;
                      const bool b_named = b.function != kOtherSite;
                      if (a_named != b_named) return a_named;
                      const double rank_a = a.live_bytes + a.alloc_bytes;
                      const double rank_b = b.live_bytes + b.alloc_bytes;
                      return rank_a != rank_b ? rank_a > rank_b : a.function < b.function;
                    });
  std::vector<model::TargetStatus::Site> sites;
  double other_live = 0;
  for (size_t i = 0; i < totals.size(); ++i) {
    double& last = last_alloc_[totals[i].function];
    const auto before = before_.find(totals[i].function);
    const double now = totals[i].alloc_bytes + (before == before_.end() ? 0 : before->second);
    const double grown = std::max(0.0, now - last);
    last += grown;
    if (i < shown && totals[i].function != kOtherSite) {
      sites.push_back({totals[i].function, std::max(0.0, totals[i].live_bytes), last});
    } else {
      other_live += std::max(0.0, totals[i].live_bytes);
      other_alloc_ += grown;
    }
  }
  sites.push_back({kOtherSite, other_live, other_alloc_});
  return sites;
}

}  // namespace goheapd::profile
