#include "daemon/process/proc_fs.h"

#include <dirent.h>
#include <elf.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <climits>
#include <cstring>
#include <iterator>
#include <memory>

namespace goheapd::process {
namespace {

// stat, status, cgroup and auxv are at most a few KiB; maps grows with the target, up to vm.max_map_count
// lines.
constexpr size_t kSmallFileLimit = 64u << 10;
constexpr size_t kMapsLimit = 32u << 20;
// /proc/stat has a line for each CPU and a number for each interrupt.
constexpr size_t kSystemStatLimit = 4u << 20;

// What the kernel puts behind the path of a file that is no longer there.
constexpr std::string_view kDeleted = " (deleted)";

std::string relative_path(pid_t pid, std::string_view name) {
  std::string path = std::to_string(pid);
  path += '/';
  path += name;
  return path;
}

struct CloseDir {
  void operator()(DIR* directory) const { ::closedir(directory); }
};

}  // namespace

Expected<ProcFs> ProcFs::open(const std::string& root) {
  UniqueFd directory(::open(root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory) return fail("cannot open the proc file system", root, errno);
  return ProcFs(root, std::move(directory));
}

std::string ProcFs::path(pid_t pid, std::string_view name) const {
  return root_ + "/" + relative_path(pid, name);
}

Expected<std::string> ProcFs::read_file(pid_t pid, std::string_view name, size_t limit) const {
  return read_relative(relative_path(pid, name), limit);
}

Expected<std::string> ProcFs::read_relative(const std::string& relative, size_t limit) const {
  const UniqueFd file(::openat(directory_.get(), relative.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return fail("cannot open", root_ + "/" + relative, errno);
  std::string text;
  std::array<char, 16384> buffer;
  for (;;) {
    const ssize_t count = ::read(file.get(), buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail("cannot read", root_ + "/" + relative, errno);
    if (count == 0) return text;
    if (text.size() + static_cast<size_t>(count) > limit)
      return fail("file is too large", root_ + "/" + relative, EFBIG);
    text.append(buffer.data(), static_cast<size_t>(count));
  }
}

Expected<std::vector<pid_t>> ProcFs::pids() const {
  // A descriptor of its own, since the position in a directory belongs to the open file.
  const int fd = ::openat(directory_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return fail("cannot list processes", root_, errno);
  const std::unique_ptr<DIR, CloseDir> directory(::fdopendir(fd));
  if (!directory) {
    const int error = errno;
    ::close(fd);
    return fail("cannot list processes", root_, error);
  }
  std::vector<pid_t> found;
  for (;;) {
    errno = 0;
    const dirent* entry = ::readdir(directory.get());
    if (entry == nullptr) {
      if (errno != 0) return fail("cannot list processes", root_, errno);
      return found;
    }
    const char* name = entry->d_name;
    const char* end = name + std::strlen(name);
    pid_t pid = 0;
    const auto [parsed, error] = std::from_chars(name, end, pid);
    if (error == std::errc() && parsed == end && pid > 0) found.push_back(pid);
  }
}

Expected<ProcessStat> ProcFs::stat(pid_t pid) const {
  const auto text = read_file(pid, "stat", kSmallFileLimit);
  if (!text) return Unexpected(text.error());
  auto parsed = parse_stat(*text);
  if (!parsed) return fail("unexpected format", path(pid, "stat"));
  return *std::move(parsed);
}

Expected<ExeIdentity> ProcFs::exe(pid_t pid) const {
  struct stat status {};
  if (::fstatat(directory_.get(), relative_path(pid, "exe").c_str(), &status, 0) != 0) {
    return fail("cannot stat the executable", path(pid, "exe"), errno);
  }
  return ExeIdentity{status.st_dev, status.st_ino, static_cast<uint64_t>(status.st_size),
                     static_cast<int64_t>(status.st_mtim.tv_sec) * 1'000'000'000 + status.st_mtim.tv_nsec};
}

Expected<std::string> ProcFs::exe_path(pid_t pid) const {
  std::array<char, PATH_MAX> buffer;
  const ssize_t length =
      ::readlinkat(directory_.get(), relative_path(pid, "exe").c_str(), buffer.data(), buffer.size());
  if (length < 0) return fail("cannot read the link", path(pid, "exe"), errno);
  return std::string(buffer.data(), static_cast<size_t>(length));
}

Expected<std::string> ProcFs::program_path(pid_t pid) const {
  auto path = exe_path(pid);
  // Not by its links alone: a file that an upgrade has put aside still has one.
  if (path && path->ends_with(kDeleted) && !runs_file_at(pid, *path))
    path->resize(path->size() - kDeleted.size());
  return path;
}

bool ProcFs::runs_file_at(pid_t pid, const std::string& file) const {
  struct stat own {};
  if (::fstatat(directory_.get(), relative_path(pid, "exe").c_str(), &own, 0) != 0) return false;
  const auto is_at = [&own](const std::string& place) {
    struct stat found {};
    return ::stat(place.c_str(), &found) == 0 && found.st_dev == own.st_dev && found.st_ino == own.st_ino;
  };
  // The kernel counts from our root directory where that leads to the file, else from that of its mount namespace.
  return own.st_nlink != 0 && (is_at(path(pid, "root") + file) || is_at(file));
}

Expected<std::vector<pid_t>> ProcFs::namespace_pids(pid_t pid) const {
  const auto text = read_file(pid, "status", kSmallFileLimit);
  if (!text) return Unexpected(text.error());
  auto pids = parse_namespace_pids(*text);
  if (pids.empty()) return fail("no NSpid line", path(pid, "status"));
  return pids;
}

std::vector<std::string> ProcFs::cgroup_paths(pid_t pid) const {
  const auto text = read_file(pid, "cgroup", kSmallFileLimit);
  return text ? parse_cgroup_paths(*text) : std::vector<std::string>();
}

Expected<std::vector<FileMapping>> ProcFs::file_mappings(pid_t pid) const {
  const auto text = read_file(pid, "maps", kMapsLimit);
  if (!text) return Unexpected(text.error());
  return parse_file_mappings(*text);
}

Expected<uint64_t> ProcFs::program_start(pid_t pid) const {
  const auto auxv = read_file(pid, "auxv", kSmallFileLimit);
  if (!auxv && auxv.error().errno_value == EACCES) return program_start_by_code(pid);
  if (!auxv) return Unexpected(auxv.error());
  const auto headers = find_auxv(ByteView(auxv->data(), auxv->size()), AT_PHDR);
  if (!headers) return fail("no program headers in the auxiliary vector", path(pid, "auxv"));
  const auto mappings = file_mappings(pid);
  if (!mappings) return Unexpected(mappings.error());
  for (const FileMapping& mapping : *mappings) {
    if (*headers < mapping.start || *headers >= mapping.end) continue;
    if (mapping.file_offset > mapping.start) break;
    return mapping.start - mapping.file_offset;
  }
  return fail("the program's headers are not mapped from a file", path(pid, "maps"));
}

Expected<uint64_t> ProcFs::program_start_by_code(pid_t pid) const {
  const auto parsed = stat(pid);
  if (!parsed) return Unexpected(parsed.error());
  const auto mappings = file_mappings(pid);
  if (!mappings) return Unexpected(mappings.error());
  const auto code = std::find_if(mappings->begin(), mappings->end(), [&](const FileMapping& mapping) {
    return mapping.start <= parsed->code_start && parsed->code_start < mapping.end;
  });
  if (code == mappings->end()) return fail("the program's code is not mapped from a file", path(pid, "maps"));
  // From the code downwards, as far as it is the same file.
  for (auto mapping = std::make_reverse_iterator(std::next(code)); mapping != mappings->rend(); ++mapping) {
    if (mapping->inode != code->inode) break;
    if (mapping->file_offset == 0) return mapping->start;
  }
  return fail("the program's headers are not mapped", path(pid, "maps"));
}

Expected<uint64_t> ProcFs::cpu_time_ns(pid_t pid) const {
  const auto parsed = stat(pid);
  if (!parsed) return Unexpected(parsed.error());
  static const auto ticks_per_second = static_cast<uint64_t>(::sysconf(_SC_CLK_TCK));
  return parsed->cpu_ticks * (1'000'000'000 / ticks_per_second);
}

std::optional<uint64_t> ProcFs::boot_time_seconds() const {
  const auto text = read_relative("stat", kSystemStatLimit);
  if (!text) return std::nullopt;
  return parse_boot_time(*text);
}

std::optional<uint64_t> ProcFs::count_entries(pid_t pid, std::string_view name) const {
  const int fd =
      ::openat(directory_.get(), relative_path(pid, name).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return std::nullopt;
  const std::unique_ptr<DIR, CloseDir> directory(::fdopendir(fd));
  if (!directory) {
    ::close(fd);
    return std::nullopt;
  }
  uint64_t count = 0;
  while (const dirent* entry = ::readdir(directory.get())) count += entry->d_name[0] != '.' ? 1 : 0;
  return count;
}

Expected<model::ProcessUsage> ProcFs::usage(pid_t pid) const {
  const auto status = stat(pid);
  if (!status) return Unexpected(status.error());
  static const auto ticks_per_second = static_cast<double>(::sysconf(_SC_CLK_TCK));
  static const auto page_bytes = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  model::ProcessUsage usage;
  usage.cpu_seconds = static_cast<double>(status->cpu_ticks) / ticks_per_second;
  usage.virtual_bytes = status->virtual_bytes;
  usage.resident_bytes = status->resident_pages * page_bytes;
  // By the kernel's own boot time, which stays the same: clocks compared anew each time would make it flicker.
  if (const auto boot = boot_time_seconds()) {
    usage.start_seconds =
        static_cast<double>(*boot) + static_cast<double>(status->start_time) / ticks_per_second;
  }
  usage.open_fds = count_entries(pid, "fd");
  if (const auto text = read_file(pid, "limits", kSmallFileLimit)) {
    const ProcessLimits limits = parse_limits(*text);
    usage.max_fds = limits.open_files;
    usage.max_virtual_bytes = limits.address_space;
  }
  return usage;
}

}  // namespace goheapd::process
