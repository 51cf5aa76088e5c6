// Which processes exist, and when one appears, becomes another program, or exits.
//
//   scan()          readdir of /proc, at most 1/16 of the old processes looked at again ──┐
//   on_exec_hint()  the kernel says: PID has just executed a program ─────────────────────┼─▶ check(pid) ─▶ changes
//   exit_fd()       readable: the pidfd of a watched process says that it has exited ─────┘
//
// The hints make it fast, the scan makes it right: a lost hint costs seconds, never a process.
//
// What a scan costs: one readdir, one stat of /proc/PID/exe for every process that is younger than a few
// scans (a shell's child executes another program soon after its fork), and the same for 1/16 of all the
// others, so that each is looked at once in 16 scans. A file that the judge called uninteresting is never
// judged again.
//
// Not thread safe: one thread owns it.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "daemon/base/expected.h"
#include "daemon/base/unique_fd.h"
#include "daemon/model/process_key.h"
#include "daemon/process/proc_fs.h"

namespace goheapd::process {

// A program that runs in a process. The judge opens ProcFs::path(pid, "exe") and compares device and inode of
// what it got with `exe`, since the process may execute yet another program at any moment.
struct ProcessSighting {
  model::ProcessKey key;
  ExeIdentity exe;
  std::string comm;
};

enum class Interest : unsigned char {
  watch,           // report its exit and every later program of this process
  ignore_process,  // not this one (until it executes another program)
  ignore_file,     // no process that runs this file, now or later
};

struct ProcessChange {
  enum class Kind : unsigned char {
    appeared,  // a program to watch runs, newly or since before we looked
    replaced,  // the process executed another program; if that one is watched too, `appeared` follows
    exited,
  };
  Kind kind = Kind::appeared;
  ProcessSighting process;
};

class Discovery {
 public:
  // Called at most once for each program in each process, from within scan() and on_exec_hint().
  using Judge = std::function<Interest(const ProcessSighting&)>;

  struct Counters {
    uint64_t scans = 0;
    uint64_t checks = 0;               // processes looked at (stat of /proc/PID/exe)
    uint64_t judged = 0;               // calls of the judge
    uint64_t without_exit_notice = 0;  // no pidfd to be had: their exit is noticed by the next scan
  };

  // `proc` must outlive the Discovery.
  static Expected<Discovery> create(const ProcFs& proc, Judge judge);

  // To be called every second, at start too. An Error means that /proc could not be listed.
  Expected<std::vector<ProcessChange>> scan();

  // The process executed a program at `time_ns` (CLOCK_MONOTONIC), by the kernel's word. A process that no
  // scan has seen yet may be named.
  std::vector<ProcessChange> on_exec_hint(pid_t pid, uint64_t time_ns);

  // The judge has changed its mind: every process that is not watched is judged anew by the next scan.
  void judge_again();

  // For epoll or poll: readable as long as take_exits() has something to say.
  int exit_fd() const { return epoll_.get(); }
  // Never blocks.
  std::vector<ProcessChange> take_exits();

  const Counters& counters() const { return counters_; }
  size_t processes() const { return entries_.size(); }
  // Of these, programs that we may not look at, as of the last look at each.
  std::vector<pid_t> denied() const;
  // ... and those that we have looked at.
  size_t programs() const;

 private:
  struct Entry {
    ProcessSighting sighting;
    uint64_t stack_start = 0;  // tells an exec of the same file, by address space randomisation
    uint64_t checked_ns = 0;   // before what we know of it was read
    uint64_t seen_in_scan = 0;
    uint32_t checks = 0;
    bool has_program = false;  // false: kernel thread, zombie, or not visible to us
    bool watched = false;
    bool denied = false;
    UniqueFd pidfd;  // only of watched processes
  };

  Discovery(const ProcFs& proc, Judge judge, UniqueFd epoll)
      : proc_(&proc), judge_(std::move(judge)), epoll_(std::move(epoll)) {}

  bool due(const Entry& entry, pid_t pid) const;
  bool is_denied(pid_t pid, const Error& of_exe) const;
  void check(pid_t pid, bool exec_known, std::vector<ProcessChange>& changes);
  bool may_be_between_fork_and_exec(const ExeIdentity& exe, pid_t parent) const;
  void adopt(Entry& entry, std::vector<ProcessChange>& changes);
  void end_watch(Entry& entry, ProcessChange::Kind kind, std::vector<ProcessChange>& changes);
  void watch_exit(Entry& entry);

  const ProcFs* proc_;
  Judge judge_;
  UniqueFd epoll_;  // holds the pidfds of entries_, which close (and so leave it) by themselves
  std::unordered_map<pid_t, Entry> entries_;
  struct HashExe {
    size_t operator()(const ExeIdentity& exe) const noexcept;
  };
  std::unordered_set<ExeIdentity, HashExe> ignored_files_;  // files that the judge never wants to see again
  uint64_t scan_number_ = 0;
  Counters counters_;
};

}  // namespace goheapd::process
