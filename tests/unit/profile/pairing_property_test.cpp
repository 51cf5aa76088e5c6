// Births and deaths as a kernel under load delivers them: late, lost, twice, with addresses used again. Whatever happens
// to the events, the books are right after each reading, and what was wrong in between is counted.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

#include "daemon/profile/bucket_ledger.h"

namespace goheapd::profile {
namespace {

constexpr uint64_t kMillisecond = 1'000'000;
constexpr uint64_t kBuckets = 7;
constexpr uint64_t kAddresses = 60;  // few, so that they are used again
constexpr uint64_t kObjectSize = 64;

// What happens to events on their way.
struct Faults {
  double lost = 0;
  double twice = 0;
  size_t late_by = 0;  // an event may be overtaken by so many that came after it
};

// A program that allocates and frees, and the ledger that hears of it.
class Simulation {
 public:
  Simulation(uint64_t seed, const Faults& faults) : random_(seed), faults_(faults) { read(); }

  // `steps` allocations or frees, a millisecond apart. Events of one address keep their order, as those of one object do:
  // the address is given away again only after the free.
  void work(size_t steps) {
    for (size_t i = 0; i < steps; ++i) {
      now_ += kMillisecond;
      const uint64_t address = 0xc000000000 + 64 * pick(kAddresses);
      auto found = owner_.find(address);
      if (found == owner_.end()) {
        const uint64_t bucket = 1 + pick(kBuckets);
        owner_[address] = bucket;
        ++counts_[bucket].allocs;
        send({now_, address, bucket, true});
      } else {
        ++counts_[found->second].frees;
        send({now_, address, found->second, false});
        owner_.erase(found);
      }
    }
  }

  // All that is under way arrives; then the runtime's own records are read.
  void read() {
    deliver(0);
    now_ += 100 * kMillisecond;
    model::BucketReading reading;
    reading.begin_ns = reading.end_ns = now_;
    reading.sample_rate = 1;
    reading.consistent = true;
    for (uint64_t bucket = 1; bucket <= kBuckets; ++bucket)
      reading.buckets.push_back({bucket, kObjectSize, {0x401000 + bucket}, counts_[bucket], counts_[bucket]});
    ledger_.apply(std::move(reading), {});
    now_ += 100 * kMillisecond;
  }

  void deliver(size_t keep) {
    while (under_way_.size() > keep) {
      const size_t next = keep == 0 ? 0 : pick(under_way_.size());
      const Event event = under_way_[next];
      under_way_.erase(under_way_.begin() + static_cast<std::ptrdiff_t>(next));
      if (event.is_birth) {
        ledger_.on_birth({1, event.time_ns, event.address, event.bucket, 1});
      } else {
        ledger_.on_death({1, event.time_ns, event.address, event.bucket, kObjectSize});
      }
    }
  }

  const BucketLedger& ledger() const { return ledger_; }
  size_t living() const { return owner_.size(); }
  uint64_t allocated() const {
    uint64_t sum = 0;
    for (const auto& [bucket, counts] : counts_) sum += counts.allocs;
    return sum;
  }
  uint64_t faulty() const { return faulty_; }

 private:
  struct Event {
    uint64_t time_ns;
    uint64_t address;
    uint64_t bucket;
    bool is_birth;
  };

  uint64_t pick(uint64_t below) { return std::uniform_int_distribution<uint64_t>(0, below - 1)(random_); }
  bool happens(double probability) { return std::bernoulli_distribution(probability)(random_); }
  void send(const Event& event) {
    if (happens(faults_.lost)) {
      ++faulty_;
      return;
    }
    under_way_.push_back(event);
    if (happens(faults_.twice)) {
      ++faulty_;
      under_way_.push_back(event);
    }
    deliver(faults_.late_by);
  }

  std::mt19937_64 random_;
  const Faults faults_;
  BucketLedger ledger_{true};
  std::map<uint64_t, uint64_t> owner_;  // address -> bucket of the object that lives there
  std::map<uint64_t, model::ObjectCounts> counts_;
  std::vector<Event> under_way_;
  uint64_t faulty_ = 0;
  uint64_t now_ = 1000 * kMillisecond;
};

double sum_of(const std::array<double, model::kAllocationKinds>& kinds) {
  double sum = 0;
  for (const double value : kinds) sum += value;
  return sum;
}

class Pairing : public ::testing::TestWithParam<uint64_t> {};

TEST_P(Pairing, WithoutFaultsTheBooksAreRightAtEveryMoment) {
  Simulation simulation(GetParam(), {});
  for (int round = 0; round < 20; ++round) {
    simulation.work(40);
    EXPECT_DOUBLE_EQ(simulation.ledger().live_objects(), static_cast<double>(simulation.living()));
    simulation.read();
    EXPECT_DOUBLE_EQ(simulation.ledger().live_objects(), static_cast<double>(simulation.living()));
  }
  EXPECT_EQ(simulation.ledger().settled_objects(), 0u);
}

TEST_P(Pairing, OrderDoesNotMatter) {
  Simulation simulation(GetParam(), {.late_by = 12});
  for (int round = 0; round < 20; ++round) {
    simulation.work(40);
    simulation.read();
    EXPECT_DOUBLE_EQ(simulation.ledger().live_objects(), static_cast<double>(simulation.living()));
    EXPECT_DOUBLE_EQ(sum_of(simulation.ledger().alloc_objects()),
                     static_cast<double>(simulation.allocated()));
  }
  EXPECT_EQ(simulation.ledger().settled_objects(), 0u) << "nothing was lost, so nothing was to be settled";
}

// One that is lost and one that comes twice may cancel out within a bucket, so what was settled is at most the faults.
TEST_P(Pairing, ReadingsMendWhatWasLostOrCameTwice) {
  Simulation simulation(GetParam(), {.lost = 0.2, .twice = 0.1, .late_by = 6});
  double shown = 0;
  for (int round = 0; round < 20; ++round) {
    simulation.work(40);
    EXPECT_GE(simulation.ledger().live_objects(), 0);
    EXPECT_GE(sum_of(simulation.ledger().alloc_objects()), shown) << "a counter must never fall";
    simulation.read();
    EXPECT_DOUBLE_EQ(simulation.ledger().live_objects(), static_cast<double>(simulation.living()));
    EXPECT_DOUBLE_EQ(simulation.ledger().live_bytes(),
                     static_cast<double>(simulation.living() * kObjectSize));
    shown = sum_of(simulation.ledger().alloc_objects());
    EXPECT_GE(shown, static_cast<double>(simulation.allocated()));
  }
  EXPECT_GT(simulation.ledger().settled_objects(), 0u);
  EXPECT_LE(simulation.ledger().settled_objects(), simulation.faulty());
}

INSTANTIATE_TEST_SUITE_P(Seeds, Pairing, ::testing::Range<uint64_t>(1, 21));

}  // namespace
}  // namespace goheapd::profile
