#include "daemon/target_statistics.h"

#include <utility>

#include "daemon/runtime/self_check.h"

namespace goheapd {

Expected<std::shared_ptr<TargetStatistics>> TargetStatistics::open(const process::ProcFs& proc,
                                                                   const gobin::GoBinary& binary, pid_t pid) {
  auto view = runtime::RuntimeView::open(proc, binary, pid);
  if (!view) return Unexpected(view.error());
  if (auto believable = runtime::runtime_self_check(*view); !believable)
    return Unexpected(believable.error());
  return std::shared_ptr<TargetStatistics>(
      new TargetStatistics(std::move(*view), binary.info().version.text));
}

Expected<model::ProgramStatistics> TargetStatistics::read(const process::ProcFs& proc) {
  std::lock_guard lock(mutex_);
  auto memory = memory_.read();
  if (!memory) return Unexpected(memory.error());
  auto shown = steady_.show(std::move(*memory));
  if (!shown) return fail("the runtime is adding up its statistics");
  model::ProgramStatistics statistics;
  statistics.go_version = go_version_;
  statistics.memory = std::move(*shown);
  if (auto usage = proc.usage(view_.memory().pid())) statistics.usage = *usage;
  return statistics;
}

}  // namespace goheapd
