// The system calls that goheapd keeps for itself once it has started, whatever a bug might be made to do.
#pragma once

#include "daemon/base/expected.h"

namespace goheapd {

// Of all system calls, only those stay that serving needs: memory, threads, files, sockets, clocks, bpf(2),
// perf_event_open(2), and reading the memory of others; writing it only where `writes_to_targets`. No new process and no program can be started, nothing traced,
// mounted, loaded or signalled, no memory made executable. The others fail with EPERM and are logged by the kernel where it
// audits. For all threads, and for ever: there is no way back.
Expected<void> filter_own_syscalls(bool writes_to_targets);

}  // namespace goheapd
