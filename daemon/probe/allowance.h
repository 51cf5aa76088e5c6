// What probes may take of a target: a share of its CPU time, the budget. But a share of a target that hardly runs is
// next to nothing: there it may be several times the budget, as long as it is nothing that anybody could feel.
//
//   share   5 budgets, at most 4 % ────────────┐
//                                               \  0.2 % of one CPU
//   budget                                       └──────────────────
//                0            5 %       10 %     20 %        of one CPU that the target uses (budget 1 %)
#pragma once

namespace goheapd::probe {

// Probes that take no more of one CPU can be felt by nobody.
inline constexpr double kUnfelt = 0.002;

// As shares of the CPU time of a target that keeps `cpus` CPUs busy, probes included.
double allowed_share(double budget, double cpus);

}  // namespace goheapd::probe
