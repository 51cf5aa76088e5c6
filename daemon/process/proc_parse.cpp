#include "daemon/process/proc_parse.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

namespace goheapd::process {
namespace {

// include/linux/sched.h: "I am a kernel thread".
constexpr uint64_t kFlagKernelThread = 0x00200000;

// Cuts the text up to the next separator off `rest`; all of it if there is none.
std::string_view take_until(std::string_view& rest, char separator) {
  const size_t end = rest.find(separator);
  const std::string_view head = rest.substr(0, end);
  rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
  return head;
}

// Like take_until(' '), but runs of blanks and tabs count as one separator.
std::string_view take_word(std::string_view& rest) {
  const size_t begin = rest.find_first_not_of(" \t");
  rest.remove_prefix(begin == std::string_view::npos ? rest.size() : begin);
  const size_t end = std::min(rest.find_first_of(" \t"), rest.size());
  const std::string_view word = rest.substr(0, end);
  rest.remove_prefix(end);
  return word;
}

// The whole of `text` as a number, or nullopt.
template <typename T>
std::optional<T> number(std::string_view text, int base = 10) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<FileMapping> parse_mapping(std::string_view line) {
  std::string_view range = take_word(line);
  const std::string_view permissions = take_word(line);
  const auto offset = number<uint64_t>(take_word(line), 16);
  take_word(
      line);  // the device: overlayfs and btrfs print another one than stat(2) gives, so it proves nothing
  const auto inode = number<uint64_t>(take_word(line));
  const auto start = number<uint64_t>(take_until(range, '-'), 16);
  const auto end = number<uint64_t>(range, 16);
  if (!offset || !inode || !start || !end || *start >= *end || permissions.size() != 4) return std::nullopt;
  line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
  // Anonymous memory has inode 0, and so have [heap], [stack] and [vdso].
  if (*inode == 0 || line.empty()) return std::nullopt;
  return FileMapping{*start, *end, *offset, *inode, permissions[2] == 'x', std::string(line)};
}

}  // namespace

std::optional<ProcessStat> parse_stat(std::string_view text) {
  // comm may hold anything, blanks and parentheses too; but no later field does, so the last ')' ends it.
  const size_t open = text.find('(');
  const size_t close = text.rfind(')');
  if (open == std::string_view::npos || close == std::string_view::npos || close < open) return std::nullopt;

  ProcessStat stat;
  std::string_view head = text.substr(0, open);
  const auto pid = number<pid_t>(take_word(head));
  if (!pid) return std::nullopt;
  stat.pid = *pid;
  stat.comm = text.substr(open + 1, close - open - 1);

  // Fields 3 (state) to 28 (startstack) of proc_pid_stat(5).
  std::string_view rest = text.substr(close + 1);
  rest = rest.substr(0, rest.find('\n'));
  constexpr int kFirst = 3;
  constexpr int kLast = 28;
  std::array<uint64_t, kLast + 1> fields{};
  for (int field = kFirst; field <= kLast; ++field) {
    const std::string_view word = take_word(rest);
    if (word.empty()) return std::nullopt;
    if (field == kFirst) {
      stat.state = word.front();
    } else if (const auto value = number<uint64_t>(word)) {
      fields[static_cast<size_t>(field)] = *value;
    } else if (!number<int64_t>(
                   word)) {  // tty_nr, tpgid, priority and nice may be negative; we use none of them
      return std::nullopt;
    }
  }
  stat.parent = static_cast<pid_t>(fields[4]);
  stat.code_start = fields[26];
  stat.kernel_thread = (fields[9] & kFlagKernelThread) != 0;
  stat.cpu_ticks = fields[14] + fields[15];
  stat.start_time = fields[22];
  stat.virtual_bytes = fields[23];
  stat.resident_pages = fields[24];
  stat.stack_start = fields[28];
  return stat;
}

std::vector<FileMapping> parse_file_mappings(std::string_view text) {
  std::vector<FileMapping> mappings;
  while (!text.empty()) {
    if (auto mapping = parse_mapping(take_until(text, '\n'))) mappings.push_back(std::move(*mapping));
  }
  return mappings;
}

ProcessLimits parse_limits(std::string_view text) {
  ProcessLimits limits;
  while (!text.empty()) {
    std::string_view line = take_until(text, '\n');
    const auto soft_limit = [&line](std::string_view name) -> std::optional<uint64_t> {
      if (!line.starts_with(name)) return std::nullopt;
      line.remove_prefix(name.size());
      const std::string_view word = take_word(line);
      return word == "unlimited" ? UINT64_MAX : number<uint64_t>(word);
    };
    if (const auto value = soft_limit("Max open files ")) limits.open_files = value;
    if (const auto value = soft_limit("Max address space ")) limits.address_space = value;
  }
  return limits;
}

std::optional<uint64_t> parse_boot_time(std::string_view system_stat_text) {
  constexpr std::string_view kName = "btime ";
  while (!system_stat_text.empty()) {
    std::string_view line = take_until(system_stat_text, '\n');
    if (!line.starts_with(kName)) continue;
    line.remove_prefix(kName.size());
    return number<uint64_t>(take_word(line));
  }
  return std::nullopt;
}

std::vector<pid_t> parse_namespace_pids(std::string_view status_text) {
  std::vector<pid_t> pids;
  while (!status_text.empty()) {
    std::string_view line = take_until(status_text, '\n');
    if (take_until(line, ':') != "NSpid") continue;
    for (auto word = take_word(line); !word.empty(); word = take_word(line)) {
      const auto pid = number<pid_t>(word);
      if (!pid) return {};
      pids.push_back(*pid);
    }
    break;
  }
  return pids;
}

std::vector<std::string> parse_cgroup_paths(std::string_view text) {
  std::vector<std::pair<int, std::string>> ranked;
  while (!text.empty()) {
    // hierarchy-ID:controller-list:cgroup-path; the path may itself hold colons.
    std::string_view path = take_until(text, '\n');
    const std::string_view hierarchy = take_until(path, ':');
    const std::string_view controllers = take_until(path, ':');
    if (path.empty() || path.front() != '/') continue;
    int rank = 1;
    if (path == "/") {
      rank = 0;
    } else if (hierarchy == "0" && controllers.empty()) {
      rank = 4;
    } else if (controllers == "memory") {
      rank = 3;
    } else if (controllers == "name=systemd") {
      rank = 2;
    }
    ranked.emplace_back(-rank, path);
  }
  std::stable_sort(ranked.begin(), ranked.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<std::string> paths;
  paths.reserve(ranked.size());
  for (auto& [rank, path] : ranked) paths.push_back(std::move(path));
  return paths;
}

std::optional<uint64_t> find_auxv(ByteView bytes, uint64_t type) {
  constexpr uint64_t kEntryBytes = 16;
  for (uint64_t offset = 0;; offset += kEntryBytes) {
    const auto entry_type = bytes.read<uint64_t>(offset);
    const auto value = bytes.read<uint64_t>(offset + 8);
    if (!entry_type || !value || *entry_type == 0) return std::nullopt;  // 0 = AT_NULL, the end
    if (*entry_type == type) return value;
  }
}

}  // namespace goheapd::process
