#include "exporters/pprof/text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <string_view>
#include <vector>

#include "daemon/base/utf8.h"
#include "exporters/pprof/encoder.h"

namespace goheapd::exporters::pprof {
namespace {

struct FrameText {
  std::string address;
  std::string function;  // empty: the address is all that is known
  std::string position;
};

std::string hex(uint64_t value) {
  std::array<char, 18> text{'0', 'x'};
  const auto end = std::to_chars(text.data() + 2, text.data() + text.size(), value, 16).ptr;
  return {text.data(), end};
}

// Names are bytes that a program chose, and lines and tabs are what this format is made of: none may pass for another.
std::string one_line(std::string_view text) {
  std::string line = clean_utf8(text, std::numeric_limits<size_t>::max());
  std::replace(line.begin(), line.end(), '\n', ' ');
  return line;
}

bool is_runtime(std::string_view name) {
  return name.starts_with("runtime.") || name.starts_with("internal/runtime/");
}

// The frames of a stack, without runtime.goexit and (unless `all`) without the runtime's own at its leaf.
std::vector<FrameText> frames_of(const model::HeapSnapshot& snapshot, const model::Sample& sample, bool all) {
  std::vector<FrameText> frames;
  bool show = all;
  for (const uint32_t index : sample.locations) {
    if (index >= snapshot.locations.size()) continue;
    const model::Location& location = snapshot.locations[index];
    if (location.lines.empty()) {
      show = true;
      frames.push_back({hex(location.address), {}, {}});
    }
    for (const model::Line& line : location.lines) {
      if (line.function >= snapshot.functions.size()) continue;
      const model::Function& function = snapshot.functions[line.function];
      if (function.name == "runtime.goexit" || (!show && is_runtime(function.name))) continue;
      show = true;
      std::string name = one_line(name_for_print(function.name));
      if (location.entry != 0) name += "+" + hex(location.address - location.entry);
      frames.push_back({hex(location.address), std::move(name),
                        one_line(function.file) + ":" + std::to_string(line.line)});
    }
  }
  return frames;
}

// The width of a text/tabwriter cell (minwidth 1, tabwidth 8, padding 1, filled with tabs) that holds the widest
// of a column; widths count characters, not bytes.
size_t width_of(const std::string& text) {
  return static_cast<size_t>(std::count_if(
      text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}
size_t cell_width(size_t widest) { return (widest + 1 + 7) / 8 * 8; }

void append_cell(std::string& out, const std::string& text, size_t cell) {
  out += text;
  out.append((cell - width_of(text) + 7) / 8, '\t');
}

// Columns are aligned within runs of lines that have them, as tabwriter does: a line that is only an address ends one.
void append_frames(std::string& out, const std::vector<FrameText>& frames) {
  for (size_t begin = 0; begin < frames.size();) {
    if (frames[begin].function.empty()) {
      out += "#\t" + frames[begin].address + "\n";
      ++begin;
      continue;
    }
    size_t end = begin;
    size_t address_width = 0;
    size_t function_width = 0;
    for (; end < frames.size() && !frames[end].function.empty(); ++end) {
      address_width = std::max(address_width, width_of(frames[end].address));
      function_width = std::max(function_width, width_of(frames[end].function));
    }
    for (; begin < end; ++begin) {
      out += "#\t";
      append_cell(out, frames[begin].address, cell_width(address_width));
      append_cell(out, frames[begin].function, cell_width(function_width));
      out += frames[begin].position + "\n";
    }
  }
}

std::string counts(const model::HeapValues& values) {
  return std::to_string(values.inuse_objects) + ": " + std::to_string(values.inuse_bytes) + " [" +
         std::to_string(values.alloc_objects) + ": " + std::to_string(values.alloc_bytes) + "] @";
}

// As %v of Go prints a share: the fewest digits that tell it from others, without an exponent down to 1e-4.
std::string share(double value) {
  std::array<char, 64> text{};
  const bool small = value != 0 && std::abs(value) < 1e-4;
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value,
                                 small ? std::chars_format::scientific : std::chars_format::fixed)
                       .ptr;
  return {text.data(), end};
}

// What is not here, though Go has it there, cannot be read or means nothing: Lookups, PauseNs and PauseEnd by cycle, DebugGC
// and MaxRSS.
// https://github.com/golang/go/blob/go1.24.4/src/runtime/pprof/pprof.go#L691
void append_memory(std::string& out, const model::MemStatsReading& m) {
  const auto line = [&out](const char* name, const std::string& value) {
    out.append("# ").append(name).append(" = ").append(value) += '\n';
  };
  const auto number = [&line](const char* name, uint64_t value) { line(name, std::to_string(value)); };
  const auto pair = [&line](const char* name, uint64_t in_use, uint64_t from_system) {
    line(name, std::to_string(in_use) + " / " + std::to_string(from_system));
  };
  out += "\n# runtime.MemStats\n";
  number("Alloc", m.heap_alloc);
  number("TotalAlloc", m.total_alloc);
  number("Sys", m.sys);
  number("Mallocs", m.mallocs);
  number("Frees", m.frees);
  number("HeapAlloc", m.heap_alloc);
  number("HeapSys", m.heap_sys);
  number("HeapIdle", m.heap_idle);
  number("HeapInuse", m.heap_inuse);
  number("HeapReleased", m.heap_released);
  number("HeapObjects", m.mallocs - m.frees);
  pair("Stack", m.stack_inuse, m.stack_sys);
  pair("MSpan", m.mspan_inuse, m.mspan_sys);
  pair("MCache", m.mcache_inuse, m.mcache_sys);
  number("BuckHashSys", m.buck_hash_sys);
  number("GCSys", m.gc_sys);
  number("OtherSys", m.other_sys);
  number("NextGC", m.next_gc);
  number("LastGC", m.last_gc_unix_ns);
  number("NumGC", m.num_gc);
  number("NumForcedGC", m.num_forced_gc);
  line("GCCPUFraction", share(m.gc_cpu_fraction));
}

}  // namespace

std::string name_for_print(const std::string& name) {
  const auto open = name.find('[');
  const auto close = name.rfind(']');
  // What begins with a bracket is no function but a word of goheapd's own: [goheapd: stack unknown].
  if (open == std::string::npos || open == 0 || close == std::string::npos || close < open) return name;
  return name.substr(0, open) + "[...]" + name.substr(close + 1);
}

std::string encode_text(const model::HeapSnapshot& snapshot, const model::MemStatsReading* memory) {
  std::vector<const model::Sample*> samples;
  samples.reserve(snapshot.samples.size());
  model::HeapValues total;
  for (const model::Sample& sample : snapshot.samples) {
    samples.push_back(&sample);
    total.inuse_objects += sample.recorded.inuse_objects;
    total.inuse_bytes += sample.recorded.inuse_bytes;
    total.alloc_objects += sample.recorded.alloc_objects;
    total.alloc_bytes += sample.recorded.alloc_bytes;
  }
  std::stable_sort(samples.begin(), samples.end(), [](const model::Sample* a, const model::Sample* b) {
    return a->recorded.inuse_bytes < b->recorded.inuse_bytes;
  });
  // Readers take equal totals for the older format that has only two columns; Go adds the byte as well.
  if (total.alloc_bytes == total.inuse_bytes) ++total.alloc_bytes;

  std::string out = "heap profile: " + counts(total) + " heap/" +
                    std::to_string(2 * (snapshot.is_scaled ? 1 : snapshot.sample_rate)) + "\n";
  for (const model::Sample* sample : samples) {
    out += counts(sample->recorded);
    for (const uint32_t index : sample->locations) {
      if (index >= snapshot.locations.size() || snapshot.locations[index].address == 0) continue;
      out += " " + hex(snapshot.locations[index].address + 1);  // readers take return addresses
    }
    if (sample->stack_end != 0) out += " " + hex(sample->stack_end);
    out += "\n";
    auto frames = frames_of(snapshot, *sample, false);
    if (frames.empty()) frames = frames_of(snapshot, *sample, true);
    append_frames(out, frames);
    out += "\n";
  }
  for (const std::string& comment : comments_of(snapshot)) out += "# " + one_line(comment) + "\n";
  if (memory != nullptr) append_memory(out, *memory);
  return out;
}

}  // namespace goheapd::exporters::pprof
