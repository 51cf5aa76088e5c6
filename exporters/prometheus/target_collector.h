// What goheapd says of its targets and of itself, as metric families.
#pragma once

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>

#include <vector>

#include "exporters/source.h"

namespace goheapd::exporters::prometheus_text {

// More targets than this get no series of their own (about 85 each, and call sites, which the daemon bounds for all
// together) and are counted instead.
inline constexpr size_t kMaxTargetsWithSeries = 500;
inline constexpr size_t kMaxLabelBytes = 256;

class TargetCollector : public prometheus::Collectable {
 public:
  // `source` must outlive the collector.
  explicit TargetCollector(ProfileSource& source) : source_(source) {}

  // Series per target are of attached targets only and end with them; everything else is there from the start.
  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  ProfileSource& source_;
};

}  // namespace goheapd::exporters::prometheus_text
