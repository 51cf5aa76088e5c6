#include "daemon/process/discovery.h"

#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "daemon/base/clock.h"

namespace goheapd::process {
namespace {

// So many looks at a new process before it counts as old: at one scan a second a shell has long executed what
// it forked for.
constexpr uint32_t kYoungChecks = 5;
// An old process is looked at in every 16th scan.
constexpr uint64_t kRotation = 16;
// Builds make and delete executables by the thousand; forgetting costs one more judgement each.
constexpr size_t kMaxIgnoredFiles = 16384;

int open_pidfd(pid_t pid) { return static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)); }

}  // namespace

size_t Discovery::HashExe::operator()(const ExeIdentity& exe) const noexcept {
  return std::hash<uint64_t>()(exe.inode * 1000003u ^ exe.device ^ static_cast<uint64_t>(exe.modified_ns));
}

Expected<Discovery> Discovery::create(const ProcFs& proc, Judge judge) {
  UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll) return fail("cannot create an epoll descriptor", {}, errno);
  return Discovery(proc, std::move(judge), std::move(epoll));
}

bool Discovery::due(const Entry& entry, pid_t pid) const {
  return entry.checks < kYoungChecks || static_cast<uint64_t>(pid) % kRotation == scan_number_ % kRotation;
}

Expected<std::vector<ProcessChange>> Discovery::scan() {
  auto pids = proc_->pids();
  if (!pids) return Unexpected(pids.error());
  ++counters_.scans;
  ++scan_number_;
  std::vector<ProcessChange> changes;
  for (const pid_t pid : *pids) {
    const auto known = entries_.find(pid);
    if (known == entries_.end() || due(known->second, pid)) check(pid, /*exec_known=*/false, changes);
    // check() may have added or removed it.
    if (const auto entry = entries_.find(pid); entry != entries_.end())
      entry->second.seen_in_scan = scan_number_;
  }
  for (auto entry = entries_.begin(); entry != entries_.end();) {
    if (entry->second.seen_in_scan == scan_number_) {
      ++entry;
      continue;
    }
    end_watch(entry->second, ProcessChange::Kind::exited, changes);
    entry = entries_.erase(entry);
  }
  return changes;
}

std::vector<ProcessChange> Discovery::on_exec_hint(pid_t pid, uint64_t time_ns) {
  std::vector<ProcessChange> changes;
  const auto known = entries_.find(pid);
  // A scan may have been faster than the hint.
  if (known != entries_.end() && known->second.checked_ns >= time_ns) return changes;
  check(pid, /*exec_known=*/true, changes);
  return changes;
}

void Discovery::judge_again() {
  ignored_files_.clear();
  std::erase_if(entries_, [](const auto& entry) { return !entry.second.watched; });
}

std::vector<ProcessChange> Discovery::take_exits() {
  std::vector<ProcessChange> changes;
  std::array<epoll_event, 64> events;
  int count = 0;
  do {
    count = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), 0);
    for (int i = 0; i < count; ++i) {
      const auto entry = entries_.find(static_cast<pid_t>(events[static_cast<size_t>(i)].data.u64));
      if (entry == entries_.end()) continue;
      end_watch(entry->second, ProcessChange::Kind::exited, changes);
      entries_.erase(entry);  // closes the pidfd, which takes it out of the epoll set
    }
  } while (count == static_cast<int>(events.size()));
  return changes;
}

std::vector<pid_t> Discovery::denied() const {
  std::vector<pid_t> pids;
  for (const auto& [pid, entry] : entries_) {
    if (entry.denied) pids.push_back(pid);
  }
  return pids;
}

size_t Discovery::programs() const {
  return static_cast<size_t>(std::count_if(entries_.begin(), entries_.end(),
                                           [](const auto& entry) { return entry.second.has_program; }));
}

// That the file's own file system refuses (FUSE does, even root) is no matter of ours: the link to it can be read then.
// Kernel threads and zombies have no program, but who may not look at them is not told so by that link.
bool Discovery::is_denied(pid_t pid, const Error& of_exe) const {
  if (!is_forbidden(of_exe)) return false;
  const auto path = proc_->exe_path(pid);
  if (path || !is_forbidden(path.error())) return false;
  const auto stat = proc_->stat(pid);
  if (!stat) return is_forbidden(stat.error());  // mounted with hidepid
  return !stat->kernel_thread && stat->state != 'Z' && stat->state != 'X';
}

// Looks at one process and brings its entry up to date. `exec_known`: it has executed a program since the
// entry's last check, even if nothing else shows it.
void Discovery::check(pid_t pid, bool exec_known, std::vector<ProcessChange>& changes) {
  ++counters_.checks;
  const uint64_t now = kernel_time_ns();
  const auto [position, is_new] = entries_.try_emplace(pid);
  Entry& entry = position->second;
  ++entry.checks;
  entry.checked_ns = now;

  const auto exe = proc_->exe(pid);
  if (!exe) {
    // A zombie's exit, and that of a process that vanished just now, is told by its pidfd or by the next
    // scan.
    entry.denied = is_denied(pid, exe.error());
    return;
  }
  entry.denied = false;
  // The common case, and the one that must be cheap: nobody watches it and it still runs the same file.
  // Whether it is the same process does not matter, since both would be ignored... unless the judge ignored
  // only the process.
  const bool same_file = entry.has_program && entry.sighting.exe.same_inode(*exe);
  if (same_file && !entry.watched && ignored_files_.contains(*exe)) return;

  const auto stat = proc_->stat(pid);
  if (!stat) return;
  const bool same_process = entry.has_program && entry.sighting.key.start_time == stat->start_time;
  const bool same_program =
      same_process && same_file && !exec_known && entry.stack_start == stat->stack_start;
  if (same_program) return;
  if (is_new && !exec_known && may_be_between_fork_and_exec(*exe, stat->parent)) return;

  if (entry.has_program) {
    end_watch(entry, same_process ? ProcessChange::Kind::replaced : ProcessChange::Kind::exited, changes);
  }
  const uint32_t exec_count = same_process ? entry.sighting.key.exec_count + 1 : 0;
  entry.sighting = ProcessSighting{{pid, stat->start_time, exec_count}, *exe, stat->comm};
  entry.stack_start = stat->stack_start;
  entry.has_program = true;
  if (!is_new) entry.checks = 1;  // young again: "sh -c" executes what it was told to soon after its own exec
  adopt(entry, changes);
}

// A child that a Go program has just forked to run a command still shows its parent's executable. Such a child gets
// until the next scan to execute something; what looks like its parent then is really a fork that stays.
bool Discovery::may_be_between_fork_and_exec(const ExeIdentity& exe, pid_t parent) const {
  const auto entry = entries_.find(parent);
  return entry != entries_.end() && entry->second.has_program && entry->second.sighting.exe.same_inode(exe);
}

// Lets the judge decide about a program that is new to us.
void Discovery::adopt(Entry& entry, std::vector<ProcessChange>& changes) {
  if (ignored_files_.contains(entry.sighting.exe)) return;
  ++counters_.judged;
  const Interest interest = judge_(entry.sighting);
  if (interest == Interest::ignore_file) {
    if (ignored_files_.size() >= kMaxIgnoredFiles) ignored_files_.clear();
    ignored_files_.insert(entry.sighting.exe);
  }
  if (interest != Interest::watch) return;
  entry.watched = true;
  watch_exit(entry);
  changes.push_back({ProcessChange::Kind::appeared, entry.sighting});
}

void Discovery::end_watch(Entry& entry, ProcessChange::Kind kind, std::vector<ProcessChange>& changes) {
  if (entry.watched) changes.push_back({kind, entry.sighting});
  entry.watched = false;
  entry.pidfd.reset();
}

void Discovery::watch_exit(Entry& entry) {
  const pid_t pid = entry.sighting.key.pid;
  UniqueFd pidfd(open_pidfd(pid));
  if (pidfd) {
    // The pid may have been reused before pidfd_open, but not after: compare the start time now.
    const auto stat = proc_->stat(pid);
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = static_cast<uint64_t>(pid);
    if (stat && stat->start_time == entry.sighting.key.start_time &&
        ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, pidfd.get(), &event) == 0) {
      entry.pidfd = std::move(pidfd);
      return;
    }
  }
  // No descriptors left (EMFILE), or it is gone already: the next scan will say so.
  ++counters_.without_exit_notice;
}

}  // namespace goheapd::process
