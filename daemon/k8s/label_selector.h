#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/expected.h"

namespace goheapd::k8s {

// A label selector as kubectl's -l takes it: "app=web,tier!=cache,env in (prod, test),!canary". All requirements must
// hold. https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors
class LabelSelector {
 public:
  static Expected<LabelSelector> parse(std::string_view text);
  bool matches(const std::map<std::string, std::string>& labels) const;

 private:
  enum class Operator : unsigned char { in, not_in, exists, absent };
  struct Requirement {
    std::string key;
    Operator op = Operator::exists;
    std::vector<std::string> values;
  };
  std::vector<Requirement> requirements_;
};

}  // namespace goheapd::k8s
