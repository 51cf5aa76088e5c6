#include "daemon/denied_processes.h"

namespace goheapd {
namespace {

// A scan comes every second.
constexpr unsigned kScansWithoutAny = 60;

}  // namespace

std::string why_denied(bool sees_all) {
  if (sees_all)
    return "goheapd has CAP_SYS_PTRACE, but a security module (AppArmor, SELinux) forbids it, or goheapd is "
           "in a "
           "user namespace and they are not";
  return "CAP_SYS_PTRACE is missing: grant it (systemd: AmbientCapabilities and CapabilityBoundingSet; "
         "containers: "
         "--cap-add=SYS_PTRACE or securityContext) and restart goheapd";
}

std::optional<std::string> DeniedProcesses::update(size_t denied, size_t programs) {
  count_ = sees_all_ && denied <= programs ? 0 : denied;
  if (count_ == 0) {
    if (scans_to_silence_ != 0) --scans_to_silence_;
    return std::nullopt;
  }
  const bool is_news = scans_to_silence_ == 0;
  scans_to_silence_ = kScansWithoutAny;
  if (!is_news) return std::nullopt;
  return "processes that may not be looked at, so that Go programs among them are not found: " +
         std::to_string(count_) + "; " + why_;
}

}  // namespace goheapd
