// The three ways in which Linux lets a BPF program run at an instruction of a process.
//
//   method         kernel   sites per link   cookies   detach of 70 sites
//   uprobe_multi   6.6      all              yes       20-40 ms
//   tracefs event  5.5      all              no        90-150 ms
//   perf uprobe    4.17     one              no        7.6 s (waits for grace periods one by one)
#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/expected.h"
#include "daemon/base/unique_fd.h"

namespace goheapd::probe {

enum class AttachMethod : unsigned char { uprobe_multi, tracefs_event, perf_uprobe };
inline constexpr std::array<std::string_view, 3> kAttachMethodNames = {"uprobe_multi", "tracefs_event",
                                                                       "perf_uprobe"};
inline std::string_view name_of(AttachMethod method) {
  return kAttachMethodNames[static_cast<size_t>(method)];
}

// bpf_attach_type of uprobe_multi. Debian 12's kernel headers are older than it; the value is ABI.
// https://github.com/torvalds/linux/blob/v6.6/include/uapi/linux/bpf.h#L1038
inline constexpr int kUprobeMultiAttachType = 48;

// One program on some instructions of one file, in one process. Destruction removes the breakpoints and
// returns when no program runs any more. They also go when our process dies, however it dies, since the
// kernel closes its descriptors.
class ProbeLink {
 public:
  ProbeLink() = default;
  ProbeLink(ProbeLink&& other) noexcept;
  ProbeLink& operator=(ProbeLink&& other) noexcept;
  ProbeLink(const ProbeLink&) = delete;
  ProbeLink& operator=(const ProbeLink&) = delete;
  ~ProbeLink() { remove(); }

 private:
  friend struct ProbeLinkMaker;
  void remove();

  std::vector<UniqueFd> fds_;
  // tracefs only: the event's definition, which outlives its descriptors. Without a descriptor it is inert.
  std::string uprobe_events_;
  std::string event_;
};

// Where the probes go: instructions of the file at `path`, by offset in the file.
struct ProbePlaces {
  std::string path;
  pid_t pid = -1;  // only hits of this process; -1 = of all that run the file
  std::span<const uint64_t> offsets;
};

// errno_value of the errors: ENOTSUPP (524) or EINVAL when the kernel cannot probe one of the instructions.
Expected<ProbeLink> link_uprobe_multi(int program_fd, const ProbePlaces& places,
                                      std::span<const uint64_t> cookies);
// `tracefs` = where tracefs is mounted.
Expected<ProbeLink> link_tracefs_event(int program_fd, const ProbePlaces& places, const std::string& tracefs);
Expected<ProbeLink> link_perf_uprobes(int program_fd, const ProbePlaces& places);

// Removes event definitions that a goheapd which was killed left in tracefs. Returns how many.
size_t remove_stale_tracefs_events(const std::string& tracefs);

}  // namespace goheapd::probe
