#include "exporters/gctrace/line.h"

namespace goheapd::exporters::gctrace {
namespace {

constexpr unsigned kMegabyteShift = 20;

// `value` / 10^`decimals`, with all of the decimals.
std::string fixed_point(uint64_t value, unsigned decimals) {
  std::string digits = std::to_string(value);
  if (decimals == 0) return digits;
  if (digits.size() <= decimals) digits.insert(0, decimals + 1 - digits.size(), '0');
  digits.insert(digits.size() - decimals, ".");
  return digits;
}

// Milliseconds with two digits or so: whole ones from 10 on, "0.035", "0" below a microsecond. The runtime takes a
// difference that is negative for a very large one, too.
std::string milliseconds(int64_t nanoseconds) {
  const auto value = static_cast<uint64_t>(nanoseconds);
  constexpr uint64_t kWholeFrom = 10'000'000;
  if (value >= kWholeFrom) return std::to_string(value / 1'000'000);
  uint64_t microseconds = value / 1000;
  if (microseconds == 0) return "0";
  unsigned decimals = 3;
  for (; microseconds >= 100; microseconds /= 10) --decimals;
  return fixed_point(microseconds, decimals);
}

std::string megabytes(uint64_t bytes) { return std::to_string(bytes >> kMegabyteShift); }

}  // namespace

std::string line(const model::GcCycle& c) {
  const auto since_start = static_cast<uint64_t>(c.start_ns - c.program_start_ns) / 1'000'000;
  std::string text = "gc " + std::to_string(c.number) + " @" + fixed_point(since_start, 3) + "s " +
                     std::to_string(static_cast<int64_t>(c.cpu_fraction * 100)) + "%";
  if (c.leak_check) text += " (checking for goroutine leaks)";
  const int64_t first_stop = c.mark_ns - c.start_ns;
  const int64_t last_stop = c.end_ns - c.mark_end_ns;
  text += ": " + milliseconds(first_stop) + "+" + milliseconds(c.mark_end_ns - c.mark_ns) + "+" +
          milliseconds(last_stop) + " ms clock, ";
  text += milliseconds(c.stop_procs * first_stop) + "+" + milliseconds(c.assist_ns) + "/" +
          milliseconds(c.dedicated_ns + c.fractional_ns) + "/" + milliseconds(c.idle_ns) + "+" +
          milliseconds(c.stop_procs * last_stop) + " ms cpu, ";
  text += megabytes(c.heap_before) + "->" + megabytes(c.heap_at_mark_end) + "->" + megabytes(c.heap_marked) +
          " MB, " + megabytes(c.goal) + " MB goal, " + megabytes(c.stack_bytes) + " MB stacks, " +
          megabytes(c.global_bytes) + " MB globals, " + std::to_string(c.max_procs) + " P";
  if (c.printed_as_forced) text += " (forced)";
  return text + "\n";
}

}  // namespace goheapd::exporters::gctrace
