// Reads live Go programs of every toolchain from outside and compares with their own books.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <thread>

#include "daemon/runtime/bucket_reader.h"
#include "daemon/runtime/gc_reader.h"
#include "daemon/runtime/self_check.h"
#include "tests/unit/runtime/ledger_view.h"

namespace goheapd::runtime {
namespace {

using test::LedgerRecord;

constexpr size_t kRecordDepth = 32;  // what runtime.MemProfileRecord holds of a stack

struct Case {
  int minor;
  test::LedgerVariant variant;
};

void PrintTo(const Case& subject, std::ostream* out) { *out << subject.minor << " " << subject.variant.name; }

// Where things are depends on how a program was linked, and is tested on every kind; how the runtime behaves depends
// on its version only.
std::vector<Case> plain_cases() {
  std::vector<Case> all;
  for (const int minor : test::go_minors()) all.push_back({minor, test::ledger_variants().front()});
  return all;
}
std::vector<Case> all_cases() {
  std::vector<Case> all;
  for (const int minor : test::go_minors()) {
    for (const auto& variant : test::ledger_variants()) all.push_back({minor, variant});
  }
  return all;
}

// One record as a line, with the stack as MemProfile would cut it.
using Line = std::vector<uint64_t>;
Line line_of(uint64_t allocs, uint64_t frees, uint64_t size, std::vector<uint64_t> stack) {
  Line line = {allocs, frees, allocs * size, frees * size};
  if (stack.size() > kRecordDepth) stack.resize(kRecordDepth);
  line.insert(line.end(), stack.begin(), stack.end());
  return line;
}
Line line_of(const LedgerRecord& record) {
  Line line = {record.allocs, record.frees, record.alloc_bytes, record.free_bytes};
  line.insert(line.end(), record.stack.begin(), record.stack.end());
  return line;
}

// The lines that only one of two sorted books has; empty: they agree.
std::string difference(const std::vector<Line>& ours, const std::vector<Line>& theirs) {
  std::string text;
  const auto add = [&text](const char* whose, const std::vector<Line>& some,
                           const std::vector<Line>& others) {
    std::vector<Line> only;
    std::set_difference(some.begin(), some.end(), others.begin(), others.end(), std::back_inserter(only));
    for (const Line& line : only) {
      text += whose;
      for (const uint64_t word : line) text += " " + std::to_string(word);
      text += "\n";
    }
  };
  add("only goheapd's:", ours, theirs);
  add("only the program's:", theirs, ours);
  return text;
}

std::vector<Line> sorted(std::vector<Line> lines) {
  std::sort(lines.begin(), lines.end());
  return lines;
}

// A ledger and what goheapd makes of it.
class Observed : public test::LedgerView {
 public:
  Observed(const Case& subject, uint64_t rate, uint64_t records)
      : LedgerView(subject.minor, subject.variant, rate, records),
        reader(std::make_unique<BucketReader>(*view)) {}

  // Reads, and completes the stacks of buckets that an earlier reading had.
  model::BucketReading read() {
    auto reading = reader->read();
    if (!reading) throw std::runtime_error(to_string(reading.error()));
    for (auto& bucket : reading->buckets) {
      auto& stack = stacks_[bucket.address];
      if (stack.empty()) stack = bucket.stack;
      bucket.stack = stack;
    }
    return *std::move(reading);
  }

  static std::vector<Line> published(const model::BucketReading& reading) {
    std::vector<Line> lines;
    for (const auto& bucket : reading.buckets) {
      lines.push_back(
          line_of(bucket.published.allocs, bucket.published.frees, bucket.object_size, bucket.stack));
    }
    return sorted(std::move(lines));
  }
  static std::vector<Line> fresh(const model::BucketReading& reading) {
    std::vector<Line> lines;
    for (const auto& bucket : reading.buckets) {
      lines.push_back(line_of(bucket.fresh.allocs, bucket.fresh.frees, bucket.object_size, bucket.stack));
    }
    return sorted(std::move(lines));
  }
  std::vector<Line> own_books() {
    std::vector<Line> lines;
    for (const auto& record : ledger.profile()) lines.push_back(line_of(record));
    return sorted(std::move(lines));
  }

  // Empty: what we read is what the program says. We look first, then it does; should the runtime allocate something
  // between both (it starts a thread now and then), they differ once, but not three times.
  std::string disagreement() {
    std::string text;
    for (int tries = 0; tries < 3; ++tries) {
      const auto reading = read();
      if (!reading.consistent) return "not consistent";
      text = difference(published(reading), own_books());
      if (text.empty()) break;
    }
    return text;
  }

  std::unique_ptr<BucketReader> reader;

 private:
  std::map<uint64_t, std::vector<uint64_t>> stacks_;
};

class LiveExecutable : public testing::TestWithParam<Case> {};
class LiveRuntime : public testing::TestWithParam<Case> {};

TEST(Toolchains, AreThere) { ASSERT_GE(test::go_minors().size(), 7u) << "run tests/tools/fetch-go"; }

TEST_P(LiveExecutable, SelfCheckPasses) {
  Observed program(GetParam(), 1, 1000);
  for (int i = 0; i < 3; ++i) {
    const auto passed = runtime_self_check(*program.view);
    EXPECT_TRUE(passed) << to_string(passed.error());
    program.ledger.command(i == 0 ? "hold 0 100" : "gc");
  }
}

TEST_P(LiveExecutable, BucketsAreWhatMemProfileSays) {
  Observed program(GetParam(), 1, 20000);
  // No garbage collection yet: all that was allocated shows.
  EXPECT_EQ(program.disagreement(), "");
  EXPECT_EQ(program.read().sample_rate, 1u);

  // Allocated, but no cycle has published it; then half of it dropped; then published bit by bit.
  for (const char* command :
       {"hold 0 1000", "gc", "hold 500 2000", "drop 0 300", "gc", "gc", "drop 300 2000", "gc"}) {
    program.ledger.command(command);
    EXPECT_EQ(program.disagreement(), "") << command;
  }
  EXPECT_GT(program.read().buckets.size(), 2000u);
}

// What no cycle has published yet is in the fresh values at once, to the unit.
TEST_P(LiveRuntime, FreshValuesAreOfNow) {
  Observed program(GetParam(), 1, 20000);
  program.ledger.command("gc");
  program.ledger.command("hold 0 50");
  const auto now = Observed::fresh(program.read());
  // Two collections publish it: the first ends the cycle in which it was allocated. The frees of the objects that
  // they collect are not of interest here.
  program.ledger.command("gc");
  program.ledger.command("gc");
  std::map<std::vector<uint64_t>, uint64_t> allocs;
  for (const auto& line : program.own_books()) {
    allocs[std::vector<uint64_t>(line.begin() + 4, line.end())] += line[0];
  }
  size_t equal = 0;
  for (const auto& line : now) {
    const std::vector<uint64_t> stack(line.begin() + 4, line.end());
    if (line[0] == 1 && allocs[stack] == 1) ++equal;
  }
  EXPECT_GE(equal, 50u);
}

TEST_P(LiveRuntime, SampledBooksAgreeAtTheDefaultRate) {
  Observed program(GetParam(), 512 * 1024, 20000);
  program.ledger.command("churn 3000");
  // One sample per half MiB: how long this takes depends on how busy the machine is.
  for (int i = 0; i < 100 && program.read().buckets.size() <= 20; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  program.ledger.command("calm");
  program.ledger.command("gc");
  EXPECT_EQ(program.disagreement(), "");
  const auto reading = program.read();
  EXPECT_EQ(reading.sample_rate, 512u * 1024);
  EXPECT_GT(reading.buckets.size(), 20u);
  program.ledger.command("rate 4096");
  EXPECT_EQ(program.read().sample_rate, 4096u);
}

// Under garbage collection without pause: every consistent reading obeys the laws of the books, and when it is calm
// again they agree to the unit.
TEST_P(LiveRuntime, ReadingsHoldTogetherWhileCollecting) {
  Observed program(GetParam(), 1, 20000);
  program.ledger.command("hold 0 2000");
  program.ledger.command("gc");  // before the first cycle unpublished values show, and are hidden again later
  program.ledger.command("churn 3000");
  std::map<uint64_t, model::BucketRecord> before;
  uint32_t consistent = 0;
  uint32_t retries = 0;
  constexpr uint32_t kReadings = 60;
  for (uint32_t i = 0; i < kReadings; ++i) {
    const auto reading = program.read();
    retries += reading.retries;
    if (!reading.consistent) continue;
    ++consistent;
    for (const auto& bucket : reading.buckets) {
      ASSERT_LE(bucket.published.frees, bucket.published.allocs);
      ASSERT_LE(bucket.published.allocs, bucket.fresh.allocs);
      ASSERT_LE(bucket.published.frees, bucket.fresh.frees);
      auto& last = before[bucket.address];
      ASSERT_LE(last.published.allocs, bucket.published.allocs);
      ASSERT_LE(last.published.frees, bucket.published.frees);
      ASSERT_LE(last.fresh.allocs, bucket.fresh.allocs);
      last = bucket;
    }
  }
  EXPECT_GE(consistent, kReadings * 9 / 10) << retries << " retries";
  program.ledger.command("calm");
  program.ledger.command("gc");
  EXPECT_EQ(program.disagreement(), "");
  RecordProperty("retries", static_cast<int>(retries));
}

TEST_P(LiveRuntime, PausesAreThoseOfMemStats) {
  Observed program(GetParam(), 1, 20000);
  GcReader gc(*program.view);
  uint64_t cycles = 0;
  // A forced collection first: it waits for the one that may be under way.
  for (const int collections : {1, 3, 300, 1}) {
    for (int i = 0; i < collections; ++i) program.ledger.command("gc");
    const auto reading = gc.read();
    ASSERT_TRUE(reading) << to_string(reading.error());
    const auto own = program.ledger.command("gcstats").at(0);
    EXPECT_EQ(reading->cycles, own.at(0));
    EXPECT_EQ(reading->forced_cycles, own.at(1));
    EXPECT_EQ(reading->new_pauses_ns.size(), collections > 255 ? 255u : reading->cycles - cycles);
    const std::vector<uint64_t> last(own.end() - static_cast<std::ptrdiff_t>(reading->new_pauses_ns.size()),
                                     own.end());
    EXPECT_EQ(reading->new_pauses_ns, last);
    cycles = reading->cycles;
    gc.adopted(reading->cycles);
  }
}

TEST_P(LiveRuntime, AnExitedProcessIsAnError) {
  Observed program(GetParam(), 1, 20000);
  program.read();
  GcReader gc(*program.view);
  program.ledger.kill();
  EXPECT_EQ(program.reader->read().error().errno_value, ESRCH);
  EXPECT_EQ(gc.read().error().errno_value, ESRCH);
  EXPECT_EQ(runtime_self_check(*program.view).error().errno_value, ESRCH);
}

// A variable that is not where we think: beside its place, or far off as with a wrong bias. (What lies behind mbuckets
// may be another list's empty head, which is not wrong in itself, so that is tried with a wrong list.)
TEST_P(LiveExecutable, SelfCheckRefusesWrongAddresses) {
  Observed program(GetParam(), 1, 20000);
  program.ledger.command("hold 0 100");
  const auto check_with = [&](uint64_t RuntimeAddresses::*member, uint64_t address) {
    RuntimeAddresses wrong = program.view->addresses();
    wrong.*member = address;
    return runtime_self_check(
        RuntimeView(*process::ProcessMemory::open(program.ledger.pid()), program.view->layout(), wrong));
  };
  const RuntimeAddresses& right = program.view->addresses();
  for (const auto member : {&RuntimeAddresses::mheap, &RuntimeAddresses::memstats, &RuntimeAddresses::allp,
                            &RuntimeAddresses::allgptr}) {
    EXPECT_TRUE(check_with(member, right.*member));
    for (const uint64_t distance : {uint64_t{8}, uint64_t{64}, uint64_t{1} << 40}) {
      EXPECT_FALSE(check_with(member, right.*member + distance)) << distance;
    }
  }
  EXPECT_FALSE(check_with(&RuntimeAddresses::mbuckets, right.mbuckets + (uint64_t{1} << 40)));
  EXPECT_FALSE(check_with(&RuntimeAddresses::mbuckets, right.allgptr));
}

std::string name_of_case(const testing::TestParamInfo<Case>& parameter) {
  return "1_" + std::to_string(parameter.param.minor) + "_" + parameter.param.variant.name;
}

INSTANTIATE_TEST_SUITE_P(Go, LiveExecutable, testing::ValuesIn(all_cases()), name_of_case);
INSTANTIATE_TEST_SUITE_P(Go, LiveRuntime, testing::ValuesIn(plain_cases()), name_of_case);

}  // namespace
}  // namespace goheapd::runtime
