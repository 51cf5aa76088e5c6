// The memory of a Go runtime that may be anything: an input is a list of changes to a sound one, then every reader reads.
//
//   change = 4 bytes where (modulo the size of the fake runtime), 8 bytes what.
//   what: top byte 0xfe = an address in the fake runtime, at the other bytes modulo its size; else the word itself
#include <unistd.h>

#include <cstring>

#include "daemon/runtime/bucket_reader.h"
#include "daemon/runtime/gc_reader.h"
#include "daemon/runtime/heap_stats_reader.h"
#include "daemon/runtime/liveness_reader.h"
#include "daemon/runtime/mem_stats_reader.h"
#include "daemon/runtime/self_check.h"
#include "tests/fuzz/fuzzer.h"
#include "tests/unit/runtime/fake_runtime.h"

namespace goheapd::fuzz {
namespace {

using runtime::FakeRuntime;

constexpr size_t kChange = 12;
constexpr uint32_t kCycles = 10;

std::string change_of(uint32_t where, uint64_t what) {
  std::string change(kChange, '\0');
  std::memcpy(change.data(), &where, sizeof(where));
  std::memcpy(change.data() + sizeof(where), &what, sizeof(what));
  return change;
}

class SoundRuntime {
 public:
  explicit SoundRuntime(int minor) : fake_(minor) {
    const auto& layout = fake_.layout();
    addresses_ = fake_.addresses();
    begin_ = addresses_.mbuckets;  // the first thing that the fake allocates
    fake_.set_cycles(kCycles);
    const uint64_t cache = fake_.allocate(layout.mcache.sizeof_struct);
    FakeRuntime::write_field(FakeRuntime::read(FakeRuntime::read(addresses_.allp)), layout.p.mcache, cache);
    for (uint64_t i = 0; i < 3; ++i) {
      const uint64_t bucket = fake_.add_bucket({0x401000 + i, 0x402000, 0x403000}, 64 << i);
      fake_.set_counters(bucket, {100, 50}, {{{1, 2}, {10, 20}, {100, 200}}});
      const uint64_t mspan = fake_.add_span(1 + 2 * i, 2, 64 << i);
      fake_.add_special(mspan, 64, 1, bucket);
      fake_.add_special(mspan, 128, 1, bucket);
      fake_.set_page_special(1 + 2 * i, true);
      FakeRuntime::write_field(mspan, layout.mspan.alloc_bits, fake_.allocate(64));
      FakeRuntime::write_field(mspan, layout.mspan.gcmark_bits, fake_.allocate(64));
      FakeRuntime::write_field(mspan, layout.mspan.sweepgen, 2 * kCycles);
      FakeRuntime::write(cache + layout.mcache.alloc.offset + 16 * i, mspan);
      objects_.push_back({fake_.span_start(1 + 2 * i) + 64, 1, 2 * kCycles - 4});
    }
    constexpr size_t kBlock = 4096;  // more than the readers of statistics want of each
    for (uint64_t* address : {&addresses_.gc_controller, &addresses_.work, &addresses_.sched,
                              &addresses_.gomaxprocs, &addresses_.runtime_init_time})
      *address = fake_.allocate(kBlock);
    end_ = fake_.allocate(8);
    sound_.assign(reinterpret_cast<const char*>(begin_), end_ - begin_);
  }

  void read_all(std::string_view changes) {
    std::memcpy(reinterpret_cast<void*>(begin_), sound_.data(), sound_.size());
    for (size_t at = 0; at + kChange <= changes.size(); at += kChange) {
      uint32_t where = 0;
      uint64_t what = 0;
      std::memcpy(&where, changes.data() + at, sizeof(where));
      std::memcpy(&what, changes.data() + at + sizeof(where), sizeof(what));
      if (what >> 56 == 0xfe) what = begin_ + (what & 0xffffffff) % sound_.size();
      // At any byte, aligned or not.
      std::memcpy(reinterpret_cast<void*>(begin_ + where % (sound_.size() - sizeof(what))), &what,
                  sizeof(what));
    }
    const runtime::RuntimeView view = fake_.view(addresses_);
    use(runtime::runtime_self_check(view));
    use(view.sample_rate());
    runtime::BucketReader buckets(view);
    use(buckets.read());
    use(buckets.read());
    runtime::GcReader cycles(view);
    use(cycles.read());
    use(runtime::HeapStatsReader(view).read());
    use(runtime::MemStatsReader(view).read());
    runtime::LivenessReader liveness(view);
    use(liveness.check(objects_));
  }

 private:
  FakeRuntime fake_;
  runtime::RuntimeAddresses addresses_;
  std::vector<model::TrackedObject> objects_;
  uint64_t begin_ = 0;
  uint64_t end_ = 0;
  std::string sound_;
};

}  // namespace

std::vector<std::string> seeds() {
  // Versions by run(), places by SoundRuntime: the records of stacks come first, so that a pointer to the beginning in
  // each of the first words makes lists that never end, and lengths that no memory has.
  constexpr uint32_t kWords = 64;
  std::vector<std::string> all;
  for (char version = 0; version < 3; ++version) {
    all.emplace_back(1, version);  // a sound one
    for (const uint64_t what : {uint64_t{0}, ~uint64_t{0}, uint64_t{0xfe} << 56, uint64_t{1} << 47}) {
      std::string every(1, version);
      for (uint32_t word = 0; word < kWords; ++word) {
        const std::string change = change_of(word * sizeof(uint64_t), what);
        every += change;
        all.push_back(std::string(1, version) + change);
      }
      all.push_back(every);
    }
  }
  return all;
}

void run(std::string_view input) {
  // Versions whose tables differ most.
  static SoundRuntime runtimes[] = {SoundRuntime(19), SoundRuntime(23), SoundRuntime(27)};
  if (input.empty()) return;
  runtimes[static_cast<unsigned char>(input[0]) % 3].read_all(input.substr(1));
}

}  // namespace goheapd::fuzz
