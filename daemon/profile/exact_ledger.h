#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <unordered_map>
#include <vector>

#include "daemon/model/event.h"
#include "daemon/profile/exact_window.h"
#include "daemon/profile/raw_snapshot.h"
#include "daemon/profile/site_board.h"
#include "daemon/profile/span_classes.h"

namespace goheapd::profile {

// The books of one process in exact mode: the kernel keeps the counts, we keep its last answer and the
// stacks.
class ExactLedger {
 public:
  void on_stack(model::ExactStack stack);
  // The kernel's cumulative counts at one moment, all of this process.
  void apply(std::vector<model::ExactCount> counts);

  // The kernel is about to forget its counts: what it has said so far stays, what it says next begins at zero.
  void end_period();

  // What was counted since this was last asked, for those who want to know who allocates beside whom.
  ExactWindow take_window(uint64_t time_ns);

  uint64_t objects() const { return objects_; }
  uint64_t bytes() const { return bytes_; }
  // Counted allocations whose stack has not arrived (its ring record was lost); they are shown without
  // frames.
  uint64_t objects_without_stack() const;
  uint64_t truncated_stacks() const { return truncated_stacks_; }

  // Stacks that no one has classified yet; the caller symbolises them and answers with name_stack().
  std::vector<std::pair<uint64_t, StackPtr>> take_unnamed_stacks();
  void name_stack(uint64_t stack_hash, model::AllocationKind kind, const std::string& function);

  std::vector<SiteTotals> sites() const;
  size_t stacks() const { return stacks_.size(); }
  // By size class, in slots.
  std::array<ClassAmount, kSpanSizeClasses> by_size_class() const;
  std::array<double, model::kAllocationKinds> alloc_bytes() const;
  std::array<double, model::kAllocationKinds> alloc_objects() const;

  // As the profile of a target that is counted and nothing else.
  void fill(RawSnapshot& snapshot) const;
  // The samples, for a profile that has others beside them.
  std::vector<RawSample> samples() const;

 private:
  struct Stack {
    StackPtr frames;
    bool truncated = false;
    model::AllocationKind kind = model::AllocationKind::other;
    std::string function = kOtherSite;
  };

  std::unordered_map<uint64_t, Stack> stacks_;
  std::vector<uint64_t> unnamed_;
  std::vector<uint64_t> untaken_;                        // by hash: not in any window yet
  std::vector<model::ExactCount> counts_;                // of all periods
  std::map<SampleKey, model::ExactCount> past_counts_;   // of periods that have ended
  std::map<SampleKey, model::ExactCount> taken_counts_;  // that windows have
  uint64_t objects_ = 0;
  uint64_t bytes_ = 0;
  uint64_t truncated_stacks_ = 0;
};

}  // namespace goheapd::profile
