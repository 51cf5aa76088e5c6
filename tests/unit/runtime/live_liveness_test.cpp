// Verdicts on the objects of live Go programs of every toolchain, compared with the table that the program keeps.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <iostream>
#include <map>
#include <memory>
#include <stdexcept>
#include <thread>

#include "daemon/runtime/heap_census.h"
#include "daemon/runtime/liveness_reader.h"
#include "tests/unit/runtime/ledger_view.h"

namespace goheapd::runtime {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kTinyKindPeriod =
    10;  // life_ledger: objects 0, 10, 20, ... below 16 bytes share their slots

struct Entry {
  uint64_t address = 0;
  uint64_t state = 0;
  bool operator==(const Entry&) const = default;
  bool is_held() const { return (state & 1) == 0; }
  // The program has let go of the object of `number` (its state while it was held).
  bool has_released(uint64_t number) const { return (state >> 2) != (number >> 2) || (state & 2) != 0; }
};

// What we know of an object of the program.
struct Followed {
  size_t index = 0;
  model::TrackedObject object;
  uint64_t state = 0;      // of its entry while it is held
  bool released = false;   // the program has let go of it ...
  uint32_t dead_from = 0;  // ... so that it must be dead in the verdicts of this sweepgen
  bool skipped = false;    // a cycle of its life was missed: it may be another object by now
};

struct Tally {
  uint64_t cycles = 0;
  uint64_t missed_cycles = 0;
  uint64_t alive_checks = 0;  // of objects that are held
  uint64_t false_dead = 0;
  uint64_t dead = 0;
  uint64_t due_dead = 0;    // objects that must be dead ...
  uint64_t false_live = 0;  // ... and are not
  uint64_t unknown = 0;
  uint64_t max_ns = 0;
  uint64_t sum_ns = 0;
  friend std::ostream& operator<<(std::ostream& out, const Tally& tally) {
    return out << tally.cycles << " cycles, " << tally.missed_cycles << " missed; " << tally.alive_checks
               << " checks of held objects, " << tally.false_dead << " false dead; " << tally.dead
               << " dead, " << tally.false_live << " false live of " << tally.due_dead << "; "
               << tally.unknown << " unknown; a check took "
               << tally.sum_ns / std::max<uint64_t>(tally.cycles, 1) / 1000 << " us, at most "
               << tally.max_ns / 1000;
  }
};

std::string build(int minor) {
  test::GoBuild program;
  program.program = "life_ledger";
  auto path = test::build_go_program(minor, program);
  if (!path) throw std::runtime_error(to_string(path.error()));
  return *path;
}

// Follows all objects of a life_ledger, as a profiler would that sampled each of them.
class Observer : public test::LedgerView {
 public:
  Observer(int minor, size_t objects)
      : LedgerView(build(minor), objects, 0), reader(*view), entries_(objects), again_(objects) {
    table_ = ledger.command("table").at(0).at(0);
    const auto work = binary->global("runtime.work");
    const auto proc = process::ProcFs::open();
    const auto start = proc->program_start(ledger.pid());
    if (!work || !start) throw std::runtime_error("no runtime.work");
    cycles_begun_ = *work + *start - binary->load_base() + view->layout().work.cycles.offset;
  }

  uint32_t sweepgen() const { return reader.sweepgen().value(); }

  // Brings the list of objects up to date. Objects that are seen for the first time were born in this generation or
  // before, and held in it: where a cycle ended while the table was read, nothing new is followed. Its slot could be
  // another object's by now.
  void look() {
    const uint32_t before = sweepgen();
    read_table();
    const uint32_t generation = sweepgen();
    // Not by gcphase: that is off again before sweepgen has grown.
    const bool marking = view->memory().read<uint32_t>(cycles_begun_).value() != generation / 2;
    const bool same = sweepgen() == generation;
    // Let go of before marking began: not marked. A goroutine may have the pointer in a register for a while.
    const uint32_t dead_from = generation + (marking || !same ? 4 : 2);
    for (auto& [address, followed] : followed_) {
      if (!followed.released && entries_[followed.index].has_released(followed.state)) {
        followed.released = true;
        followed.dead_from = dead_from;
      }
    }
    if (generation != before) return;
    for (size_t index = 0; index < entries_.size(); ++index) {
      if (entries_[index] != again_[index] || !entries_[index].is_held()) continue;
      auto [entry, is_new] = followed_.try_emplace(entries_[index].address);
      // In a slot that held another one: that is dead. Tiny ones share slots, but not addresses.
      if (!is_new && entry->second.state == entries_[index].state) continue;
      entry->second = {
          index, {entries_[index].address, entries_[index].state, generation}, entries_[index].state};
    }
  }

  void check(Tally& tally) {
    objects_.clear();
    for (const auto& [address, followed] : followed_) objects_.push_back(followed.object);
    const auto reading = reader.check(objects_);
    if (!reading) throw std::runtime_error(to_string(reading.error()));
    read_table();
    ++tally.cycles;
    tally.missed_cycles += reading->missed_cycles;
    tally.unknown += reading->unknown;
    tally.sum_ns += reading->end_ns - reading->begin_ns;
    tally.max_ns = std::max(tally.max_ns, reading->end_ns - reading->begin_ns);
    EXPECT_EQ(reading->judged + reading->young + reading->unknown, objects_.size());
    for (const model::TrackedObject& object : reading->dead) {
      const Followed& dead = followed_.at(object.address);
      ++tally.dead;
      if (entries_[dead.index].state == dead.state && again_[dead.index].state == dead.state)
        ++tally.false_dead;
      if (is_due(dead, reading->sweepgen)) ++tally.due_dead;
      followed_.erase(object.address);
    }
    tally.alive_checks += reading->judged;
    for (auto& [address, followed] : followed_) {
      // Which of them the unknown ones are is not said: leave all out that could be.
      if (reading->missed_cycles != 0 || reading->unknown != 0) followed.skipped = true;
      if (!is_due(followed, reading->sweepgen)) continue;
      ++tally.due_dead;
      ++tally.false_live;
      followed.skipped = true;  // counts once, however many cycles pass before its goroutine runs again
    }
  }

  // Checks every cycle that comes until so many objects were found dead. Seconds, but minutes on a machine so busy that
  // most cycles are missed: then there are few objects of which we can be sure.
  Tally watch(uint64_t until_dead) {
    Tally tally;
    const auto deadline = Clock::now() + std::chrono::minutes(4);
    for (uint32_t last = sweepgen(); tally.due_dead < until_dead && Clock::now() < deadline;) {
      const uint32_t now = sweepgen();
      if (now == last) {
        look();
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
        continue;
      }
      last = now;
      check(tally);
    }
    return tally;
  }

  // Addresses of the objects that the program holds.
  std::vector<uint64_t> held() {
    read_table();
    std::vector<uint64_t> addresses;
    for (const Entry& entry : entries_)
      if (entry.is_held() && entry.address != 0) addresses.push_back(entry.address);
    return addresses;
  }

  size_t followed() const { return followed_.size(); }

  LivenessReader reader;

 private:
  static bool is_due(const Followed& followed, uint32_t sweepgen) {
    return followed.released && !followed.skipped && followed.index % kTinyKindPeriod != 0 &&
           static_cast<int32_t>(sweepgen - followed.dead_from) >= 0;
  }
  void read_table() {
    // Twice: an entry that changes while it is read is not believed.
    for (auto* into : {&entries_, &again_}) {
      const auto done = view->memory().read(table_, std::as_writable_bytes(std::span(*into)));
      if (!done) throw std::runtime_error(to_string(done.error()));
    }
  }

  uint64_t table_ = 0;
  uint64_t cycles_begun_ = 0;  // address
  std::vector<Entry> entries_;
  std::vector<Entry> again_;
  std::map<uint64_t, Followed> followed_;  // by address
  std::vector<model::TrackedObject> objects_;
};

class LiveLiveness : public testing::TestWithParam<int> {};

// Nothing happens but what we tell the program: the verdicts are known to the object.
TEST_P(LiveLiveness, ToTheObject) {
  Observer program(GetParam(), 20'000);
  program.ledger.command("percent 0");
  Tally tally;
  program.ledger.command("hold 0 20000");
  program.look();
  program.check(tally);
  EXPECT_EQ(tally.dead, 0u);  // young: no cycle has passed
  for (const char* command : {"drop 0 5000", "hold 0 2000", "drop 10000 20000", "hold 3000 15000"}) {
    program.ledger.command(command);
    program.look();
    // Two: what the command's own goroutine has in its registers may outlive one.
    for (int i = 0; i < 2; ++i) {
      program.ledger.command("gc");
      program.check(tally);
    }
  }
  EXPECT_EQ(tally.missed_cycles, 0u);
  EXPECT_EQ(tally.unknown, 0u);
  EXPECT_EQ(tally.false_dead, 0u) << tally;
  EXPECT_GT(tally.due_dead, 10'000u) << tally;
  EXPECT_LE(tally.false_live * 1000, tally.due_dead) << tally;
  std::cout << tally << "\n";
}

TEST_P(LiveLiveness, CensusFindsWhatIsHeld) {
  Observer program(GetParam(), 20'000);
  program.ledger.command("percent 0");
  program.ledger.command("hold 0 20000");
  program.ledger.command("gc");
  program.ledger.command("drop 5000 10000");
  program.ledger.command("hold 5000 6000");  // since the cycle
  const auto census = take_census(*program.view, 10'000'000);
  ASSERT_TRUE(census) << to_string(census.error());
  std::map<uint64_t, uint64_t> found;
  for (const auto& object : census->alive) found[object.object.address] = object.bytes;
  const std::vector<uint64_t> held = program.held();
  EXPECT_GE(held.size(), 15'000u);
  size_t missing = 0;
  for (const uint64_t address : held) {
    auto slot = found.upper_bound(address);
    if (slot == found.begin()) {
      ++missing;
      continue;
    }
    --slot;
    if (address >= slot->first + slot->second) ++missing;
  }
  EXPECT_EQ(missing, 0u) << "of " << held.size();
}

struct Load {
  const char* name;
  size_t objects;
  std::vector<const char*> commands;
  uint64_t until_dead;
};

void expect_true(int minor, const Load& load) {
  Observer program(minor, load.objects);
  program.ledger.command("hold 0 " + std::to_string(load.objects));
  program.look();
  for (const char* command : load.commands) program.ledger.command(command);
  const Tally tally = program.watch(load.until_dead);
  std::cout << load.name << ": " << tally << "\n";
  EXPECT_EQ(tally.false_dead, 0u) << tally;
  EXPECT_GE(tally.due_dead, load.until_dead) << tally;
  // A cycle may find the goroutine that lets go of objects stopped with the pointer still in a register.
  EXPECT_LE(tally.false_live, tally.due_dead / 1000 + tally.cycles / 50) << tally;
}

TEST_P(LiveLiveness, SomeObjects) {
  expect_true(GetParam(), {"10k objects", 10'000, {"replace 20", "churn 2"}, 10'000});
}
TEST_P(LiveLiveness, ManyObjects) {
  expect_true(GetParam(), {"100k objects", 100'000, {"replace 200", "churn 2"}, 10'000});
}
// Cycles every few milliseconds: some are missed on a busy machine, and known to be.
TEST_P(LiveLiveness, FastCycles) {
  expect_true(GetParam(), {"GOGC=10", 1'000, {"percent 10", "replace 5", "churn 2"}, 3'000});
}
TEST_P(LiveLiveness, MemoryLimit) {
  expect_true(GetParam(),
              {"GOMEMLIMIT", 10'000, {"percent 0", "limit 30000000", "replace 20", "churn 2"}, 5'000});
}

INSTANTIATE_TEST_SUITE_P(Go, LiveLiveness, testing::ValuesIn(test::go_minors()));

}  // namespace
}  // namespace goheapd::runtime
