// Stacks and names of buckets that the books may not have yet.
//
// The reader fetches a stack once. Several readings can be under way (the periodic one, requests for profiles) and reach
// the books in another order than they were made, or never: so each reading carries every description that no reading
// before it is known to have brought into the books.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <vector>

#include "daemon/model/reading.h"
#include "daemon/profile/bucket_ledger.h"

namespace goheapd {

// Thread safe.
class NewBuckets {
 public:
  // `sites`: of the buckets whose stacks `reading` brings for the first time, in any order. Gives `reading` the stacks, and
  // `sites` the names, of those before that have not been adopted. Returns what to say to adopted() once it is in the books.
  uint64_t complete(model::BucketReading& reading, std::vector<profile::BucketSite>& sites);
  // All up to this value of complete() are in the books.
  void adopted(uint64_t up_to);
  size_t waiting() const;

 private:
  struct Description {
    profile::BucketSite site;
    std::vector<uint64_t> stack;
  };

  mutable std::mutex mutex_;
  std::deque<Description> waiting_;
  uint64_t adopted_ = 0;  // so many were before waiting_.front()
};

}  // namespace goheapd
