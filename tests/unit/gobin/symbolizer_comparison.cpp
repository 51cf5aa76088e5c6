#include "tests/unit/gobin/symbolizer_comparison.h"

#include <charconv>
#include <cstdio>

namespace goheapd::test {
namespace {

using gobin::CodeLocation;
using gobin::printable_name;

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    const size_t end = text.find(separator);
    if (end != 0) parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  return parts;
}

uint64_t number(std::string_view text, int base) {
  uint64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value, base);
  return value;
}

}  // namespace

void SymbolizerComparison::line(std::string_view text) {
  if (text.size() < 2) return;
  const std::string_view rest = text.substr(2);
  switch (text[0]) {
    case 'S': {
      const size_t space = rest.find(' ');
      strings_[number(rest.substr(0, space), 10)] = rest.substr(space + 1);
      break;
    }
    case 'B':
      bias_ = number(rest, 16) - binary_.load_base();
      break;
    case 'P':
      address(rest);
      break;
    case 'C':
      stacks(rest);
      break;
    case 'R':
      ++profile_[render(symbolizer_.locations_of_logical_stack(pcs(rest)))];
      ++records_;
      break;
    case 'L':
      --profile_[std::string(rest)];
      ++samples_;
      break;
    default:
      differs("an unknown line " + std::string(text));
  }
}

void SymbolizerComparison::finish() {
  for (const auto& [stack, balance] : profile_) {
    if (balance != 0) differs((balance > 0 ? "only ours:  " : "only Go's:  ") + readable(stack));
  }
  // A comparison of nothing would pass.
  if (addresses_ == 0 || stacks_ == 0 || records_ == 0 || records_ != samples_) differs("parts are missing");
  if (named_calls_ * 2 < calls_) differs("less than half of the calls could be named");
}

void SymbolizerComparison::address(std::string_view rest) {
  ++addresses_;
  const auto field = split(rest, ' ');
  if (field.size() != 10) return differs("a broken line P " + std::string(rest));
  const uint64_t pc = number(field[0], 16) - bias_;
  auto text = [&](size_t i) -> const std::string& { return strings_[number(field[i], 10)]; };
  auto frame = symbolizer_.frame_of(pc);
  if (!frame) return differs("no frame at P " + std::string(rest));
  const std::string function(frame->source.function);
  std::string ours = std::to_string(frame->call_pc) + " " + std::to_string(frame->entry) + " " +
                     printable_name(function) + " " + std::string(frame->source.file) + " " +
                     std::to_string(frame->source.line) + " " + std::to_string(frame->inlined) + " " +
                     function + " " + std::to_string(frame->source.start_line);
  std::string theirs = std::to_string(number(field[1], 16) - bias_) + " " +
                       std::to_string(number(field[2], 16) - bias_) + " " + text(3) + " " + text(4) + " " +
                       std::string(field[5]) + " " + std::string(field[6]) + " " + text(7) + " " +
                       std::string(field[8]);
  if (ours != theirs) differs("at " + std::string(field[0]) + " we say " + ours + ", Go says " + theirs);
  // What runtime/pprof hides it decides by the function at the pc itself.
  auto at = symbolizer_.frame_of(pc + 1);
  if (at && at->call_pc == pc && printable_name(at->source.function) != text(9)) {
    differs("at " + std::string(field[0]) + " itself we say " + std::string(at->source.function) +
            ", Go says " + text(9));
  }
}

void SymbolizerComparison::stacks(std::string_view rest) {
  ++stacks_;
  const size_t bar = rest.find('|');
  const std::vector<uint64_t> callers = pcs(rest.substr(0, bar));
  const std::vector<uint64_t> walked = pcs(rest.substr(bar + 1));
  if (symbolizer_.logical_stack(walked) != callers) {
    differs("expansion of " + std::string(rest) + "\n  is " +
            readable(render(symbolizer_.locations_of_logical_stack(symbolizer_.logical_stack(walked)))) +
            "\n  for Go's " + readable(render(symbolizer_.locations_of_logical_stack(callers))));
  }
  for (size_t i = 1; i < walked.size(); ++i) {
    ++calls_;
    auto callee = symbolizer_.callee_before(walked[i]);
    if (!callee) continue;
    ++named_calls_;
    auto function = binary_.function_at(walked[i - 1] - 1);
    if (!function || function->name != *callee) {
      differs("callee before " + std::to_string(walked[i]) + " is not " + std::string(*callee));
    }
  }
}

std::vector<uint64_t> SymbolizerComparison::pcs(std::string_view text) const {
  std::vector<uint64_t> result;
  for (std::string_view part : split(text, ' ')) result.push_back(number(part, 16) - bias_);
  return result;
}

std::string SymbolizerComparison::render(const std::vector<CodeLocation>& locations) {
  if (ids_.size() != strings_.size()) {
    for (const auto& [id, text] : strings_) ids_.emplace(text, id);
  }
  auto id = [&](std::string_view text) {
    auto found = ids_.find(std::string(text));
    return found == ids_.end() ? "'" + std::string(text) + "'" : std::to_string(found->second);
  };
  std::string text;
  for (const CodeLocation& location : locations) {
    char address[32];
    std::snprintf(address, sizeof(address), "%s%lx:", text.empty() ? "" : " ", location.address + bias_);
    text += address;
    for (const auto& frame : location.frames) {
      text += id(frame.function) + "," + id(frame.file) + "," + std::to_string(frame.line) + "," +
              std::to_string(frame.start_line) + ";";
    }
  }
  return text;
}

std::string SymbolizerComparison::readable(const std::string& stack) {
  std::string text;
  for (std::string_view location : split(stack, ' ')) {
    const size_t colon = location.find(':');
    text += "\n    " + std::string(location.substr(0, colon));
    for (std::string_view line : split(location.substr(colon + 1), ';')) {
      const auto field = split(line, ',');
      if (field.size() != 4) continue;
      auto name = [&](std::string_view id) {
        return id.starts_with('\'') ? std::string(id) : strings_[number(id, 10)];
      };
      text += " [" + name(field[0]) + " " + name(field[1]) + ":" + std::string(field[2]) + "]";
    }
  }
  return text;
}

void SymbolizerComparison::differs(const std::string& what) {
  if (++differences_ <= 5) report_ += what + "\n";
}

}  // namespace goheapd::test
