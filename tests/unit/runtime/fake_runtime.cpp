#include "tests/unit/runtime/fake_runtime.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <stdexcept>

#include "daemon/runtime/bucket_list.h"

namespace goheapd::runtime {
namespace {

constexpr size_t kPage = 4096;
constexpr uint64_t kArenaIndex = 0x203000;  // of 0xc000000000, where Go's heap begins on amd64
constexpr size_t kMaxSpans = 4096;

gobin::RuntimeLayout layout_of(int minor) {
  gobin::GoVersion version;
  version.minor = minor;
  auto layout = gobin::runtime_layout(version, gobin::Arch::amd64);
  if (!layout) throw std::runtime_error(to_string(layout.error()));
  return *layout;
}

}  // namespace

GuardedMemory::GuardedMemory(size_t bytes) : bytes_((bytes + kPage - 1) / kPage * kPage) {
  void* base =
      ::mmap(nullptr, bytes_ + 2 * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) throw std::runtime_error("mmap");
  begin_ = reinterpret_cast<uint64_t>(base) + kPage;
  ::mprotect(reinterpret_cast<void*>(begin_), bytes_, PROT_READ | PROT_WRITE);
}

GuardedMemory::~GuardedMemory() { ::munmap(reinterpret_cast<void*>(begin_ - kPage), bytes_ + 2 * kPage); }

void GuardedMemory::hide(uint64_t page_address) {
  ::mprotect(reinterpret_cast<void*>(page_address / kPage * kPage), kPage, PROT_NONE);
}

FakeRuntime::FakeRuntime(int minor)
    : layout_(layout_of(minor)),
      memory_(16u << 20),
      arena_table_(gobin::kArenaTableEntries * sizeof(uint64_t)),
      next_(memory_.begin()) {
  addresses_.mbuckets = allocate(8);
  addresses_.mprof_cycle = allocate(8);
  addresses_.mem_profile_rate = allocate(8);
  addresses_.prof_mem_active_lock = allocate(8);
  addresses_.memstats = allocate(layout_.mstats.sizeof_struct);
  addresses_.mheap = allocate(layout_.mheap.sizeof_struct);
  set_rate(512 * 1024);

  heap_arena_ = allocate(layout_.heap_arena.sizeof_struct);
  arena_start_ = layout_.arena_base + kArenaIndex * gobin::kHeapArenaBytes;
  write(arena_table_.begin() + kArenaIndex * 8, heap_arena_);
  write_field(addresses_.mheap, layout_.mheap.arenas, arena_table_.begin());
  const uint64_t indices = allocate(8);
  write(indices, kArenaIndex);
  const uint64_t all_arenas = addresses_.mheap + layout_.mheap.all_arenas.offset;
  write(all_arenas, indices);
  write<uint64_t>(all_arenas + 8, 1);
  spans_ = allocate(kMaxSpans * 8);
  write(addresses_.mheap + layout_.mheap.allspans.offset, spans_);

  const uint64_t g = allocate(layout_.g.sizeof_struct);
  write_field(g, layout_.g.goid, 1);
  const uint64_t allgs = allocate(8);
  write(allgs, g);
  addresses_.allgptr = allocate(8);
  write(addresses_.allgptr, allgs);
  addresses_.allglen = allocate(8);
  write<uint64_t>(addresses_.allglen, 1);

  const uint64_t p = allocate(layout_.p.sizeof_struct);
  const uint64_t ps = allocate(8);
  write(ps, p);
  addresses_.allp = allocate(24);
  write(addresses_.allp, ps);
  write<uint64_t>(addresses_.allp + 8, 1);

  addresses_.m0 = allocate(layout_.m.sizeof_struct);
  const uint64_t g0 = allocate(layout_.g.sizeof_struct);
  write_field(addresses_.m0, layout_.m.g0, g0);
  write_field(g0, layout_.g.m, addresses_.m0);
}

RuntimeView FakeRuntime::view() const { return view(addresses_); }

RuntimeView FakeRuntime::view(const RuntimeAddresses& addresses) const {
  auto memory = process::ProcessMemory::open(::getpid());
  if (!memory) throw std::runtime_error(to_string(memory.error()));
  return RuntimeView(*std::move(memory), layout_, addresses);
}

uint64_t FakeRuntime::allocate(size_t bytes, size_t alignment) {
  const uint64_t address = (next_ + alignment - 1) / alignment * alignment;
  next_ = address + bytes;
  if (next_ > memory_.end()) throw std::runtime_error("the fake runtime is too small");
  return address;
}

void FakeRuntime::write_field(uint64_t base, gobin::Field field, uint64_t value) {
  std::memcpy(reinterpret_cast<void*>(base + field.offset), &value,
              std::min<size_t>(field.size, sizeof(value)));
}

uint64_t FakeRuntime::add_bucket(const std::vector<uint64_t>& stack, uint64_t size) {
  const auto& fields = layout_.bucket;
  const uint64_t address =
      allocate(fields.sizeof_struct + stack.size() * 8 + layout_.mem_record.sizeof_struct);
  Bucket model;
  model.stack = stack;
  model.object_size = size;
  write_field(address, fields.typ, gobin::kMemProfileBucket);
  write_field(address, fields.size, size);
  write_field(address, fields.nstk, stack.size());
  write_field(address, fields.hash, bucket_hash(model));
  write_field(address, fields.allnext, read(addresses_.mbuckets));
  for (size_t i = 0; i < stack.size(); ++i) write(address + fields.sizeof_struct + i * 8, stack[i]);
  write(addresses_.mbuckets, address);
  return address;
}

uint64_t FakeRuntime::counter_address(uint64_t bucket, size_t index, gobin::Field counter) const {
  const uint64_t depth = read(bucket + layout_.bucket.nstk.offset);
  const uint64_t record = bucket + layout_.bucket.sizeof_struct + depth * 8;
  const uint64_t cycle =
      index == 0 ? layout_.mem_record.active.offset
                 : layout_.mem_record.future.offset + (index - 1) * layout_.mem_record_cycle.sizeof_struct;
  return record + cycle + counter.offset;
}

void FakeRuntime::set_counters(uint64_t bucket, FakeCycle active, const std::array<FakeCycle, 3>& future) {
  for (size_t i = 0; i < 4; ++i) {
    const FakeCycle& cycle = i == 0 ? active : future[i - 1];
    write(counter_address(bucket, i, layout_.mem_record_cycle.allocs), cycle.allocs);
    write(counter_address(bucket, i, layout_.mem_record_cycle.frees), cycle.frees);
  }
}

uint64_t FakeRuntime::add_span(uint64_t page, uint64_t pages, uint64_t elemsize) {
  const uint64_t mspan = allocate(layout_.mspan.sizeof_struct);
  write_field(mspan, layout_.mspan.start_addr, span_start(page));
  write_field(mspan, layout_.mspan.npages, pages);
  write_field(mspan, layout_.mspan.elemsize, elemsize);
  write_field(mspan, layout_.mspan.state, gobin::kSpanStateInUse);
  for (uint64_t i = 0; i < pages; ++i)
    write(heap_arena_ + layout_.heap_arena.spans.offset + (page + i) * 8, mspan);
  write(spans_ + span_count_ * 8, mspan);
  write(addresses_.mheap + layout_.mheap.allspans.offset + 8, ++span_count_);
  return mspan;
}

uint64_t FakeRuntime::add_special(uint64_t mspan, uint64_t offset, uint64_t kind, uint64_t bucket) {
  const uint64_t special = allocate(layout_.special_profile.sizeof_struct);
  write_field(special, layout_.special.offset, offset);
  write_field(special, layout_.special.kind, kind);
  write_field(special, layout_.special_profile.bucket, bucket);
  uint64_t link = mspan + layout_.mspan.specials.offset;
  while (read(link) != 0) link = read(link) + layout_.special.next.offset;
  write(link, special);
  const uint64_t start = read(mspan + layout_.mspan.start_addr.offset);
  set_page_special((start - arena_start_) / gobin::kGoPageSize, true);
  return special;
}

void FakeRuntime::set_page_special(uint64_t page, bool on) {
  auto* byte = reinterpret_cast<uint8_t*>(heap_arena_ + layout_.heap_arena.page_specials.offset + page / 8);
  const auto bit = static_cast<uint8_t>(1u << page % 8);
  *byte = static_cast<uint8_t>(on ? *byte | bit : *byte & ~bit);
}

void FakeRuntime::set_cycles(uint32_t cycles) {
  write(addresses_.memstats + layout_.mstats.numgc.offset, cycles);
  write(addresses_.mheap + layout_.mheap.sweepgen.offset, 2 * cycles);
}

void FakeRuntime::set_pause(uint32_t slot, uint64_t nanoseconds) {
  write(addresses_.memstats + layout_.mstats.pause_ns.offset + slot * 8, nanoseconds);
}

}  // namespace goheapd::runtime
