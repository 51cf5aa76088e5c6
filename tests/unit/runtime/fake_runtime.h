// A Go runtime made of nothing but its data structures, in this test's own memory: it can be as broken as a test wants.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "daemon/runtime/runtime_view.h"

namespace goheapd::runtime {

// Memory between two pages that cannot be read, zeroed.
class GuardedMemory {
 public:
  explicit GuardedMemory(size_t bytes);
  ~GuardedMemory();
  GuardedMemory(const GuardedMemory&) = delete;
  GuardedMemory& operator=(const GuardedMemory&) = delete;
  uint64_t begin() const { return begin_; }
  uint64_t end() const { return begin_ + bytes_; }
  // Makes a page vanish.
  void hide(uint64_t page_address);

 private:
  size_t bytes_;
  uint64_t begin_;
};

struct FakeCycle {
  uint64_t allocs = 0;
  uint64_t frees = 0;
};

class FakeRuntime {
 public:
  explicit FakeRuntime(int minor);

  const gobin::RuntimeLayout& layout() const { return layout_; }
  const RuntimeAddresses& addresses() const { return addresses_; }
  RuntimeView view() const;
  RuntimeView view(const RuntimeAddresses& addresses) const;

  // ---- raw memory ----
  uint64_t allocate(size_t bytes, size_t alignment = 8);
  template <typename T>
  static void write(uint64_t address, T value) {
    *reinterpret_cast<T*>(address) = value;
  }
  static uint64_t read(uint64_t address) { return *reinterpret_cast<const uint64_t*>(address); }
  static void write_field(uint64_t base, gobin::Field field, uint64_t value);

  // ---- memory profile ----
  // Links a bucket in as the runtime does; gives its address.
  uint64_t add_bucket(const std::vector<uint64_t>& stack, uint64_t size);
  void set_counters(uint64_t bucket, FakeCycle active, const std::array<FakeCycle, 3>& future);
  // Address of a counter; index 0 = active, 1.. = future[index - 1].
  uint64_t counter_address(uint64_t bucket, size_t index, gobin::Field counter) const;
  void set_cycle(uint32_t cycle, bool flushed) {
    write(addresses_.mprof_cycle, cycle << 1 | (flushed ? 1 : 0));
  }
  void set_rate(int64_t rate) { write(addresses_.mem_profile_rate, rate); }
  void set_lock(uint64_t word) { write(addresses_.prof_mem_active_lock, word); }

  // ---- heap ----
  // A span of the only arena; `page` counts from the arena's start. Gives the address of its mspan.
  uint64_t add_span(uint64_t page, uint64_t pages, uint64_t elemsize);
  uint64_t span_start(uint64_t page) const { return arena_start_ + page * gobin::kGoPageSize; }
  // Appends a special to a span's list; gives its address.
  uint64_t add_special(uint64_t mspan, uint64_t offset, uint64_t kind, uint64_t bucket);
  void set_page_special(uint64_t page, bool on);

  // ---- garbage collector ----
  void set_cycles(uint32_t cycles);
  void set_pause(uint32_t slot, uint64_t nanoseconds);

 private:
  gobin::RuntimeLayout layout_;
  RuntimeAddresses addresses_;
  GuardedMemory memory_;
  GuardedMemory arena_table_;
  uint64_t next_;
  uint64_t heap_arena_ = 0;
  uint64_t arena_start_ = 0;
  uint64_t spans_ = 0;  // array behind mheap.allspans
  uint64_t span_count_ = 0;
};

}  // namespace goheapd::runtime
