#include "daemon/probe/uprobe_methods.h"

#include <bpf/bpf.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <optional>
#include <utility>

namespace goheapd::probe {
namespace {

// Group of our tracefs events; their names are d<daemon pid>_<number>.
constexpr std::string_view kEventGroup = "goheapd";

std::optional<std::string> write_line(const std::string& file, const std::string& line, int& errno_value) {
  const UniqueFd fd(::open(file.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
  if (!fd || ::write(fd.get(), line.data(), line.size()) != static_cast<ssize_t>(line.size())) {
    errno_value = errno;
    return file + " <- " + line;
  }
  return std::nullopt;
}

template <typename T>
std::optional<T> read_number(const std::string& file) {
  std::ifstream stream(file);
  T value{};
  if (!(stream >> value)) return std::nullopt;
  return value;
}

// pid -1 means every process: such an event has to sit on one CPU, but sees the hits of all.
UniqueFd open_perf_event(perf_event_attr& attributes, pid_t pid) {
  attributes.size = sizeof(attributes);
  return UniqueFd(static_cast<int>(
      ::syscall(SYS_perf_event_open, &attributes, pid, pid == -1 ? 0 : -1, -1, PERF_FLAG_FD_CLOEXEC)));
}

Expected<bool> run_program_on(const UniqueFd& event, int program_fd, const std::string& subject) {
  if (::ioctl(event.get(), PERF_EVENT_IOC_SET_BPF, program_fd) != 0)
    return fail("cannot run a program at the probe", subject, errno);
  if (::ioctl(event.get(), PERF_EVENT_IOC_ENABLE, 0) != 0)
    return fail("cannot enable the probe", subject, errno);
  return true;
}

std::string hex(uint64_t value) {
  std::array<char, 19> text{'0', 'x'};
  const auto end = std::to_chars(text.data() + 2, text.data() + text.size(), value, 16);
  return {text.data(), end.ptr};
}

}  // namespace

struct ProbeLinkMaker {
  static ProbeLink from_fd(UniqueFd fd) {
    ProbeLink link;
    link.fds_.push_back(std::move(fd));
    return link;
  }
  static void add(ProbeLink& link, UniqueFd fd) { link.fds_.push_back(std::move(fd)); }
  static void own_event(ProbeLink& link, std::string uprobe_events, std::string event) {
    link.uprobe_events_ = std::move(uprobe_events);
    link.event_ = std::move(event);
  }
};

ProbeLink::ProbeLink(ProbeLink&& other) noexcept
    : fds_(std::move(other.fds_)),
      uprobe_events_(std::exchange(other.uprobe_events_, {})),
      event_(std::exchange(other.event_, {})) {}

ProbeLink& ProbeLink::operator=(ProbeLink&& other) noexcept {
  if (this == &other) return *this;
  remove();
  fds_ = std::move(other.fds_);
  uprobe_events_ = std::exchange(other.uprobe_events_, {});
  event_ = std::exchange(other.event_, {});
  return *this;
}

void ProbeLink::remove() {
  fds_.clear();
  if (event_.empty()) return;
  int errno_value = 0;
  // The definition stays busy for a moment after its last descriptor is closed.
  for (int attempt = 0; attempt < 50; ++attempt) {
    if (!write_line(uprobe_events_, "-:" + event_ + "\n", errno_value) || errno_value != EBUSY) break;
    ::usleep(2000);
  }
  event_.clear();
}

Expected<ProbeLink> link_uprobe_multi(int program_fd, const ProbePlaces& places,
                                      std::span<const uint64_t> cookies) {
  LIBBPF_OPTS(bpf_link_create_opts, options);
  options.uprobe_multi.path = places.path.c_str();
  options.uprobe_multi.offsets = places.offsets.data();
  options.uprobe_multi.cookies = reinterpret_cast<const __u64*>(cookies.data());
  options.uprobe_multi.cnt = static_cast<uint32_t>(places.offsets.size());
  options.uprobe_multi.pid = places.pid == -1 ? 0 : static_cast<uint32_t>(places.pid);
  UniqueFd fd(bpf_link_create(program_fd, 0, static_cast<bpf_attach_type>(kUprobeMultiAttachType), &options));
  if (!fd) return fail("the kernel refuses the uprobe_multi link", places.path, errno);
  return ProbeLinkMaker::from_fd(std::move(fd));
}

Expected<ProbeLink> link_tracefs_event(int program_fd, const ProbePlaces& places,
                                       const std::string& tracefs) {
  static std::atomic<unsigned> serial{0};
  const std::string name = "d" + std::to_string(::getpid()) + "_" + std::to_string(serial++);
  const std::string event = std::string(kEventGroup) + "/" + name;
  const std::string uprobe_events = tracefs + "/uprobe_events";
  ProbeLink link;
  int errno_value = 0;
  // Lines with the same event name add up to one event with many places.
  for (const uint64_t offset : places.offsets) {
    const auto failure =
        write_line(uprobe_events, "p:" + event + " " + places.path + ":" + hex(offset) + "\n", errno_value);
    if (failure) return fail("the kernel refuses the tracefs probe", *failure, errno_value);
    ProbeLinkMaker::own_event(link, uprobe_events,
                              event);  // from the first line on there is something to remove
  }
  const auto id = read_number<uint64_t>(tracefs + "/events/" + event + "/id");
  if (!id) return fail("cannot read the id of the tracefs probe", event);
  perf_event_attr attributes{};
  attributes.type = PERF_TYPE_TRACEPOINT;
  attributes.config = *id;
  UniqueFd fd = open_perf_event(attributes, places.pid);
  if (!fd) return fail("cannot open the tracefs probe", event, errno);
  const auto running = run_program_on(fd, program_fd, event);
  if (!running) return tl::unexpected(running.error());
  ProbeLinkMaker::add(link, std::move(fd));
  return link;
}

Expected<ProbeLink> link_perf_uprobes(int program_fd, const ProbePlaces& places) {
  const auto type = read_number<uint32_t>("/sys/bus/event_source/devices/uprobe/type");
  if (!type) return fail("the kernel has no uprobes", "/sys/bus/event_source/devices/uprobe/type");
  ProbeLink link;
  for (const uint64_t offset : places.offsets) {
    perf_event_attr attributes{};
    attributes.type = *type;
    attributes.config1 = reinterpret_cast<uint64_t>(places.path.c_str());
    attributes.config2 = offset;
    UniqueFd fd = open_perf_event(attributes, places.pid);
    if (!fd) return fail("the kernel refuses the perf probe", places.path + ":" + hex(offset), errno);
    const auto running = run_program_on(fd, program_fd, places.path);
    if (!running) return tl::unexpected(running.error());
    ProbeLinkMaker::add(link, std::move(fd));
  }
  return link;
}

size_t remove_stale_tracefs_events(const std::string& tracefs) {
  const std::string uprobe_events = tracefs + "/uprobe_events";
  std::ifstream stream(uprobe_events);
  const std::string prefix = "p:" + std::string(kEventGroup) + "/d";
  std::vector<std::string> stale;  // an event with several places is listed once for each
  for (std::string line; std::getline(stream, line);) {
    if (!line.starts_with(prefix)) continue;
    pid_t daemon = 0;
    const char* const end = line.data() + line.size();
    if (std::from_chars(line.data() + prefix.size(), end, daemon).ec != std::errc()) continue;
    if (::access(("/proc/" + std::to_string(daemon)).c_str(), F_OK) == 0) continue;
    std::string event = line.substr(2, line.find(' ') - 2);
    if (std::find(stale.begin(), stale.end(), event) == stale.end()) stale.push_back(std::move(event));
  }
  int errno_value = 0;
  return static_cast<size_t>(std::count_if(stale.begin(), stale.end(), [&](const std::string& event) {
    return !write_line(uprobe_events, "-:" + event + "\n", errno_value);
  }));
}

}  // namespace goheapd::probe
