// The runtime's list of memory profile buckets, as far as it never changes.
//
//   mbuckets ──▶ bucket ──allnext──▶ bucket ──▶ ... ──▶ bucket ──▶ nil        newest first
//                  │
//                  ├ header {next, allnext, typ, hash, size, nstk}   ┐ written before the bucket is linked in,
//                  ├ nstk return addresses                           ┘ never again
//                  └ memRecord: the counters (BucketReader reads them)
//
// Buckets are only ever prepended and never freed, so each walk ends where the one before began.
// https://github.com/golang/go/blob/go1.24.4/src/runtime/mprof.go#L343
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "daemon/base/expected.h"
#include "daemon/runtime/page_window.h"
#include "daemon/runtime/runtime_view.h"

namespace goheapd::runtime {

// Sane programs have hundreds to tens of thousands of buckets. Beyond these limits the oldest are left out, so that
// a hostile target costs at most 32 MiB of stacks and as much of counters.
inline constexpr size_t kMaxBuckets = 1u << 18;
inline constexpr size_t kMaxStackWords = 1u << 22;
// The runtime itself throws on a bucket with a deeper stack.
// https://github.com/golang/go/blob/go1.24.4/src/runtime/mprof.go#L249
inline constexpr uint64_t kMaxStackDepth = 1024;

struct Bucket {
  uint64_t address = 0;
  uint64_t counters = 0;     // address of its memRecord
  uint64_t object_size = 0;  // slot size in bytes
  uint64_t hash = 0;
  std::vector<uint64_t> stack;  // logical return addresses, innermost first
};

class BucketList {
 public:
  // `view` must outlive the list.
  explicit BucketList(const RuntimeView& view, size_t max_buckets = kMaxBuckets)
      : view_(&view), max_buckets_(max_buckets) {}

  // Appends the buckets that were linked in since the call before, newest first, to `buckets`. Errors: the list
  // loops or an element makes no sense (it is damaged, or this is no bucket list); memory errors. Nothing is
  // appended or remembered then.
  Expected<void> walk_new(std::vector<Bucket>& buckets);

  // There are buckets that no walk has delivered because of the limits above.
  bool truncated() const { return truncated_; }

 private:
  Expected<Bucket> read_bucket(PageWindow& window, uint64_t address, uint64_t& next) const;

  const RuntimeView* view_;
  size_t max_buckets_;
  uint64_t known_head_ = 0;  // address of the newest bucket that was delivered, 0 = none
  size_t delivered_ = 0;
  size_t delivered_words_ = 0;
  bool truncated_ = false;
};

// What the runtime computes for a bucket of this stack and size (stkbucket).
uint64_t bucket_hash(const Bucket& bucket);

}  // namespace goheapd::runtime
