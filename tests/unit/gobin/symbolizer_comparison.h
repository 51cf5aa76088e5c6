#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/gobin/go_binary.h"

namespace goheapd::test {

// Compares the symbolizer with what a running Go program knows of itself: takes the lines that
// tests/go_programs/symbolizer_oracle prints (its header explains them) and asks the symbolizer the same.
class SymbolizerComparison {
 public:
  explicit SymbolizerComparison(const gobin::GoBinary& binary)
      : binary_(binary), symbolizer_(binary.symbolizer()) {}

  void line(std::string_view text);
  // After the last line. A comparison of nothing counts as a difference.
  void finish();

  uint64_t differences() const { return differences_; }
  const std::string& report() const { return report_; }  // the first of them

 private:
  void address(std::string_view rest);
  void stacks(std::string_view rest);
  std::vector<uint64_t> pcs(std::string_view text) const;
  // Locations in the form of the oracle's lines L.
  std::string render(const std::vector<gobin::CodeLocation>& locations);
  std::string readable(const std::string& stack);
  void differs(const std::string& what);

  const gobin::GoBinary& binary_;
  const gobin::Symbolizer& symbolizer_;
  uint64_t bias_ = 0;
  std::map<uint64_t, std::string> strings_;
  std::map<std::string, uint64_t> ids_;
  std::map<std::string, int64_t> profile_;  // stack -> how often more in ours than in Go's
  uint64_t addresses_ = 0, stacks_ = 0, records_ = 0, samples_ = 0, calls_ = 0, named_calls_ = 0;
  uint64_t differences_ = 0;
  std::string report_;
};

}  // namespace goheapd::test
