// The part of the daemon that knows of Kubernetes. Owner thread.
#include <spdlog/spdlog.h>

#include <utility>
#include <vector>

#include "daemon/daemon.h"

namespace goheapd {
namespace {

k8s::Placement placement_of(const Target& target) { return {target.pod_uid(), target.container_id()}; }

}  // namespace

Expected<void> Daemon::start_pods() {
  if (!options_.pods) return {};
  auto source = k8s::PodSource::start(*options_.pods);
  if (!source) return Unexpected(source.error());
  pods_ = std::move(*source);
  if (pods_) spdlog::info("this is a node of Kubernetes: processes get the names of their pods");
  return {};
}

void Daemon::update_pods() {
  if (!pods_) return;
  std::vector<std::pair<Target*, PodVerdict>> judged;
  std::vector<Target*> unwanted;
  for (auto& [key, target] : targets_) {
    if (target->state() == model::TargetState::exited) continue;
    const PodContext context = find_pod(pods_.get(), placement_of(*target));
    target->set_pod(context);
    PodVerdict verdict =
        judge_pod(options_.settings.selection.pods, context, allows_probes(options_.settings.selection));
    if (target->is_live()) {
      if (is_wanted(*target, verdict)) continue;
      unwanted.push_back(target.get());
    }
    judged.emplace_back(target.get(), std::move(verdict));
  }
  detach(unwanted);
  for (const auto& [target, verdict] : judged) {
    if (target->is_live()) {
      target->set_state(model::TargetState::ignored,
                        verdict.ignored.value_or("its pod asks for another mode"));
      spdlog::info("pid {}: detached: {}", target->pid(), target->reason());
    }
    if (target->state() != model::TargetState::ignored ||
        why_ignored(options_.settings.selection, target->program_path()))
      continue;
    if (verdict.ignored) {
      target->set_state(model::TargetState::ignored, *verdict.ignored);
    } else {
      open_later(target->key(), 0);
    }
  }
}

bool Daemon::is_wanted(const Target& target) const {
  return is_wanted(target,
                   judge_pod(options_.settings.selection.pods, find_pod(pods_.get(), placement_of(target)),
                             allows_probes(options_.settings.selection)));
}

bool Daemon::is_wanted(const Target& target, const PodVerdict& verdict) const {
  const TargetSelection& selection = options_.settings.selection;
  return (selection.pids.empty() || selection.pids.contains(target.pid())) && !verdict.ignored &&
         target.asked_mode() == verdict.mode.value_or(selection.mode) &&
         (!runtime_sampling_ || !runtime_sampling_->is_enabled(target.key()) ||
          allows_runtime_sampling(selection, target.program_path())) &&
         !why_ignored(selection, target.program_path());
}

}  // namespace goheapd
