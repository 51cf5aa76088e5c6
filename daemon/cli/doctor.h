// goheapd doctor: can this host be profiled, what does a probe hit cost here, and what is to be mended.
//
//   inspect_host(), load, measure ──▶ DoctorFindings ──▶ diagnose() ──▶ Diagnosis ──▶ text or JSON
//   (asks the kernel)                 (plain values)     (pure)
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "daemon/base/expected.h"
#include "daemon/probe/hit_cost.h"
#include "daemon/probe/host_support.h"

namespace goheapd::cli {

struct DoctorOptions {
  bool json = false;
};

struct DoctorFindings {
  probe::HostSupport host;
  std::optional<Error> load_error;  // of the real programs; not set: they load
  std::optional<probe::HitCost> hit_cost;
  std::optional<Error> hit_cost_error;
};

enum class Verdict : unsigned char {
  good,
  worse,   // works, with a limit that the text names
  broken,  // profiling cannot work like this
};

struct Check {
  std::string name;
  Verdict verdict = Verdict::good;
  std::string finding;
  std::string remedy;  // what to do; empty = nothing
};

struct Diagnosis {
  bool can_profile = false;
  std::string method;  // how probes will be attached, empty = not at all
  std::vector<Check> checks;
  std::optional<probe::HitCost> hit_cost;
};

Diagnosis diagnose(const DoctorFindings& findings);
std::string to_text(const Diagnosis& diagnosis);
std::string to_json(const Diagnosis& diagnosis);

// Prints to standard output. 0 when profiling can work, else 1.
int run_doctor(const DoctorOptions& options);

}  // namespace goheapd::cli
