#pragma once

#include <cstddef>
#include <string>
#include <unordered_map>
#include <vector>

#include "daemon/model/target.h"

namespace goheapd::profile {

inline constexpr const char* kOtherSite = "other";

struct SiteTotals {
  std::string function;
  double live_bytes = 0;
  double alloc_bytes = 0;  // cumulative
};

// Chooses the call sites that become metric labels: the `limit` with the most live plus recently allocated
// bytes, the rest as "other". Counters must not fall when a site moves between the two, so "other" grows only
// by what the sites outside the list allocated while they were outside.
class SiteBoard {
 public:
  explicit SiteBoard(size_t limit) : limit_(limit) {}

  // The totals that come from now on are those of new books, which begin at 0: they are added to what was shown.
  void begin_books() { before_ = last_alloc_; }

  // `totals`: all sites, any order, function names unique.
  std::vector<model::TargetStatus::Site> update(std::vector<SiteTotals> totals);

 private:
  size_t limit_;
  std::unordered_map<std::string, double> last_alloc_;  // alloc_bytes at the last update
  std::unordered_map<std::string, double> before_;      // of them, from earlier books
  double other_alloc_ = 0;
};

}  // namespace goheapd::profile
