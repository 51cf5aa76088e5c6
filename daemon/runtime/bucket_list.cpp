#include "daemon/runtime/bucket_list.h"

#include <cstring>
#include <string>

namespace goheapd::runtime {
namespace {

// Brent's method: an element seen again means a loop. The checkpoint moves to the present element at every power
// of two, so that it lies within the loop sooner or later.
class LoopDetector {
 public:
  bool sees_loop(uint64_t address) {
    if (address == checkpoint_) return true;
    if (++steps_ == limit_) {
      checkpoint_ = address;
      steps_ = 0;
      limit_ *= 2;
    }
    return false;
  }

 private:
  uint64_t checkpoint_ = 0;
  uint64_t steps_ = 0;
  uint64_t limit_ = 1;
};

std::string subject_of(const RuntimeView& view) { return "pid " + std::to_string(view.memory().pid()); }

}  // namespace

Expected<Bucket> BucketList::read_bucket(PageWindow& window, uint64_t address, uint64_t& next) const {
  const auto& layout = view_->layout();
  const auto header = window.view(address, layout.bucket.sizeof_struct);
  if (!header) return Unexpected(header.error());
  const auto allnext = gobin::read_field(*header, layout.bucket.allnext);
  const auto type = gobin::read_field(*header, layout.bucket.typ);
  const auto hash = gobin::read_field(*header, layout.bucket.hash);
  const auto size = gobin::read_field(*header, layout.bucket.size);
  const auto depth = gobin::read_field(*header, layout.bucket.nstk);
  if (!allnext || !type || !hash || !size || !depth || *type != gobin::kMemProfileBucket || *size == 0 ||
      *depth > kMaxStackDepth || address % sizeof(uint64_t) != 0) {
    return fail("the runtime's list of memory profile buckets is damaged", subject_of(*view_));
  }
  next = *allnext;

  Bucket bucket;
  bucket.address = address;
  bucket.object_size = *size;
  bucket.hash = *hash;
  const uint64_t stack_address = address + layout.bucket.sizeof_struct;
  const auto stack = window.view(stack_address, *depth * sizeof(uint64_t));
  if (!stack) return Unexpected(stack.error());
  bucket.stack.resize(*depth);
  if (*depth > 0) std::memcpy(bucket.stack.data(), stack->data(), stack->size());
  bucket.counters = stack_address + stack->size();
  return bucket;
}

Expected<void> BucketList::walk_new(std::vector<Bucket>& buckets) {
  const auto head = view_->memory().read<uint64_t>(view_->addresses().mbuckets);
  if (!head) return Unexpected(head.error());
  PageWindow window(view_->memory());
  LoopDetector loop;
  const size_t before = buckets.size();
  size_t words = delivered_words_;
  bool truncated = truncated_;
  for (uint64_t address = *head; address != 0 && address != known_head_;) {
    uint64_t next = 0;
    auto bucket = read_bucket(window, address, next);
    if (bucket && loop.sees_loop(address)) {
      bucket = fail("the runtime's list of memory profile buckets is a loop", subject_of(*view_));
    }
    if (!bucket) {
      buckets.resize(before);
      return Unexpected(bucket.error());
    }
    if (delivered_ + (buckets.size() - before) >= max_buckets_ ||
        words + bucket->stack.size() > kMaxStackWords) {
      truncated = true;
      break;
    }
    words += bucket->stack.size();
    buckets.push_back(*std::move(bucket));
    address = next;
  }
  known_head_ = *head;
  delivered_ += buckets.size() - before;
  delivered_words_ = words;
  truncated_ = truncated;
  return {};
}

// https://github.com/golang/go/blob/go1.24.4/src/runtime/mprof.go#L291
uint64_t bucket_hash(const Bucket& bucket) {
  uint64_t hash = 0;
  const auto mix = [&hash](uint64_t word) {
    hash += word;
    hash += hash << 10;
    hash ^= hash >> 6;
  };
  for (const uint64_t pc : bucket.stack) mix(pc);
  mix(bucket.object_size);
  hash += hash << 3;
  hash ^= hash >> 11;
  return hash;
}

}  // namespace goheapd::runtime
