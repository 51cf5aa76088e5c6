// From which slices the bytes in use of a size class are, where these are a mean of many garbage collections.
//
// What was sampled in one slice is there or not there together, and a slice stands for a time that nobody has seen. So the
// mean varies as if each slice's part of it were exponentially distributed: sigma = sqrt(sum of parts^2).
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>

namespace goheapd::profile {

class SliceShares {
 public:
  // Of more slices than that the least are forgotten: they hardly vary beside the others.
  static constexpr size_t kMostSlices = 64;

  // A new cycle is in the mean from now on.
  void begin_cycle() { before_ = shares_; }
  // Of the mean the new cycle is this part, 0 to 1, with nothing in it yet. May be called again for the same cycle.
  void set_part(double part);
  // The new cycle has found so many bytes of slice `slice`, or, for slice 0, so many that vary by themselves.
  void add(uint32_t slice, double bytes);
  // Variance of the mean, in bytes^2.
  double variance() const;

 private:
  std::map<uint32_t, double> before_;  // as of the cycle before
  std::map<uint32_t, double> shares_;  // bytes in the mean, ascending slices
  double part_ = 1;
};

}  // namespace goheapd::profile
