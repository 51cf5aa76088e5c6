#include "daemon/cli/doctor.h"

#include <array>
#include <cerrno>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <system_error>

#include "daemon/base/output_file.h"
#include "daemon/gobin/runtime_layout.h"
#include "daemon/probe/bpf_object.h"

namespace goheapd::cli {
namespace {

using probe::AttachMethod;

constexpr std::array<std::string_view, 3> kVerdictNames = {"ok", "warn", "fail"};

std::string_view name_of(Verdict verdict) { return kVerdictNames[static_cast<size_t>(verdict)]; }

std::string errno_text(int value) { return std::generic_category().message(value); }

Check check_pid_namespace(const probe::HostSupport& host) {
  if (host.initial_pid_namespace) return {"pid namespace", Verdict::good, "the host's", ""};
  return {"pid namespace", Verdict::broken, "not the host's",
          "share the host's pid namespace (hostPID: true, or --pid=host): the kernel reports processes by "
          "their pids "
          "there"};
}

Check check_capabilities(const probe::HostSupport& host) {
  const probe::Capabilities& have = host.capabilities;
  std::string missing;
  const auto need = [&missing](bool present, const char* name) {
    if (!present) missing += (missing.empty() ? "" : ", ") + std::string(name);
  };
  need(have.bpf, "CAP_BPF");
  need(have.perfmon, "CAP_PERFMON");
  // Only perf uprobes need it. Where uprobe_multi is merely not permitted, the two above are what is missing.
  if (host.uprobe_multi_errno != 0 && host.uprobe_multi_errno != EPERM) need(have.sys_admin, "CAP_SYS_ADMIN");
  need(have.sys_ptrace, "CAP_SYS_PTRACE");
  if (missing.empty()) return {"capabilities", Verdict::good, "all that is needed", ""};
  // Without SYS_PTRACE a process can still be profiled by its own user.
  const bool only_ptrace = missing == "CAP_SYS_PTRACE";
  return {"capabilities", only_ptrace ? Verdict::worse : Verdict::broken, "missing " + missing,
          only_ptrace
              ? "only processes of the same user can be profiled; grant CAP_SYS_PTRACE for the others"
              : "run as root, or grant them (systemd: AmbientCapabilities=, containers: securityContext)"};
}

Check check_btf(const probe::HostSupport& host) {
  if (host.kernel_btf) return {"kernel BTF", Verdict::good, "/sys/kernel/btf/vmlinux", ""};
  return {"kernel BTF", Verdict::broken, "/sys/kernel/btf/vmlinux cannot be read",
          "use a kernel built with CONFIG_DEBUG_INFO_BTF, as distributions' kernels are, and let /sys be "
          "visible"};
}

Check check_ring_buffer(const probe::HostSupport& host) {
  if (host.ring_buffer) return {"ring buffer", Verdict::good, "available", ""};
  return {"ring buffer", Verdict::broken, "a map of this type cannot be made",
          host.ring_buffer_errno == EMFILE ? probe::explain_load_error(EMFILE, host)
          : host.bpf_syscall               ? "goheapd needs Linux 5.8 or newer"
                                           : "see bpf()"};
}

Check check_bpf(const probe::HostSupport& host) {
  if (host.bpf_syscall) return {"bpf()", Verdict::good, "programs may be loaded", ""};
  return {"bpf()", Verdict::broken, errno_text(host.bpf_errno),
          probe::explain_load_error(host.bpf_errno, host)};
}

Check check_memlock(const probe::HostSupport& host) {
  if (!host.maps_count_as_locked)
    return {"memlock", Verdict::good, "maps are charged to the memory cgroup, not to the limit", ""};
  if (!host.memlock_limit || host.capabilities.sys_resource)
    return {"memlock", Verdict::good, "unlimited, or can be raised", ""};
  return {"memlock", Verdict::worse, "limited to " + std::to_string(*host.memlock_limit >> 10) + " KiB",
          "this kernel charges maps to the limit: set LimitMEMLOCK=infinity or grant CAP_SYS_RESOURCE"};
}

Check check_attach(const probe::HostSupport& host) {
  if (!host.method)
    return {"attaching", Verdict::broken,
            "uprobe_multi: " + errno_text(host.uprobe_multi_errno) +
                "; perf uprobes: " + errno_text(host.perf_uprobe_errno) +
                "; kernel.perf_event_paranoid: " + std::to_string(host.perf_event_paranoid),
            host.uprobe_multi_errno == EMFILE || host.perf_uprobe_errno == EMFILE
                ? probe::explain_load_error(EMFILE, host)
                : "Linux 6.6 or newer needs CAP_BPF and CAP_PERFMON for it, older kernels CAP_SYS_ADMIN"};
  switch (*host.method) {
    case AttachMethod::uprobe_multi:
      return {"attaching", Verdict::good, "uprobe_multi links", ""};
    case AttachMethod::tracefs_event:
      return {"attaching", Verdict::good,
              "tracefs events (" + *host.tracefs + "); uprobe_multi: " + errno_text(host.uprobe_multi_errno),
              ""};
    case AttachMethod::perf_uprobe:
      break;
  }
  return {"attaching", Verdict::worse, "perf uprobes: detaching takes 0.1 s for each probe",
          "mount tracefs: mount -t tracefs tracefs /sys/kernel/tracing"};
}

Check check_programs(const DoctorFindings& findings) {
  if (!findings.load_error) return {"programs", Verdict::good, "goheapd's own programs load", ""};
  return {"programs", Verdict::broken, to_string(*findings.load_error),
          probe::explain_load_error(findings.load_error->errno_value, findings.host)};
}

Check check_open_files(const probe::HostSupport& host) {
  // What kernels give at least where nobody has set another limit, and enough for dozens of programs.
  constexpr uint64_t kUsual = 1024;
  if (!host.open_files_limit || *host.open_files_limit >= kUsual)
    return {"open files", Verdict::good, "room for dozens of programs", ""};
  return {
      "open files", Verdict::worse, "at most " + std::to_string(*host.open_files_limit),
      "goheapd has dozens open, and several for each program: raise LimitNOFILE= of its service, or ulimit "
      "-n"};
}

Check check_hit_cost(const DoctorFindings& findings) {
  if (findings.hit_cost) {
    // A warning by what it means: at 10 microseconds a hit, 1 % of a CPU is a thousand hits a second.
    constexpr double kDearNs = 3000;
    const double step = findings.hit_cost->ns[static_cast<size_t>(probe::CostClass::single_step)];
    const double push = findings.hit_cost->ns[static_cast<size_t>(probe::CostClass::push)];
    if (push > kDearNs)
      return {"cost of a hit", Verdict::worse, "even the cheap probes are dear here",
              "keep to --mode auto (the default): only it holds what probes take to --overhead-budget, the "
              "others take what they take"};
    if (step > kDearNs)
      return {"cost of a hit", Verdict::good,
              "single steps are dear here (a virtual machine?); goheapd avoids them", ""};
    return {"cost of a hit", Verdict::good, "as on bare metal", ""};
  }
  if (findings.hit_cost_error)
    return {
        "cost of a hit", Verdict::broken, to_string(*findings.hit_cost_error),
        findings.hit_cost_error->errno_value == EMFILE
            ? probe::explain_load_error(EMFILE, findings.host)
            : "a probe in goheapd itself does not work: is another tool or a security module in the way?"};
  return {"cost of a hit", Verdict::broken, "not measured, since no probe can be attached", ""};
}

}  // namespace

Diagnosis diagnose(const DoctorFindings& findings) {
  const probe::HostSupport& host = findings.host;
  Diagnosis diagnosis;
  diagnosis.hit_cost = findings.hit_cost;
  if (host.method) diagnosis.method = probe::name_of(*host.method);
  diagnosis.checks = {
      {"kernel", Verdict::good, "Linux " + host.kernel_release + ", libbpf " + host.libbpf_version, ""},
      check_pid_namespace(host),
      check_capabilities(host),
      check_bpf(host),
      check_btf(host),
      check_memlock(host),
      check_open_files(host),
      check_ring_buffer(host),
      {"tracefs", Verdict::good,
       host.tracefs                                ? *host.tracefs
       : host.method == AttachMethod::uprobe_multi ? "not mounted, not needed"
                                                   : "not mounted, or not writable",
       ""},
      check_attach(host),
      check_programs(findings),
      check_hit_cost(findings),
  };
  diagnosis.can_profile = true;
  for (const Check& check : diagnosis.checks)
    if (check.verdict == Verdict::broken) diagnosis.can_profile = false;
  return diagnosis;
}

std::string to_text(const Diagnosis& diagnosis) {
  std::string text;
  for (const Check& check : diagnosis.checks) {
    std::string line(name_of(check.verdict));
    line.resize(6, ' ');
    line += check.name;
    line.resize(22, ' ');
    text += line + check.finding + "\n";
    if (!check.remedy.empty()) text += std::string(22, ' ') + "-> " + check.remedy + "\n";
  }
  if (diagnosis.hit_cost) {
    text += "\none probe hit, with a program that only counts:\n";
    for (size_t i = 0; i < probe::kCostClasses; ++i) {
      std::array<char, 96> line{};
      std::snprintf(line.data(), line.size(), "  %-12s %6.0f ns\n",
                    std::string(probe::kCostClassNames[i]).c_str(), diagnosis.hit_cost->ns[i]);
      text += line.data();
    }
  }
  text += diagnosis.can_profile ? "\nprofiling works here, by " + diagnosis.method + "\n"
                                : "\nprofiling cannot work here until what failed above is mended\n";
  return text;
}

std::string to_json(const Diagnosis& diagnosis) {
  nlohmann::ordered_json json;
  json["can_profile"] = diagnosis.can_profile;
  json["attach_method"] = diagnosis.method;
  if (diagnosis.method.empty()) json["attach_method"] = nullptr;
  if (diagnosis.hit_cost) {
    for (size_t i = 0; i < probe::kCostClasses; ++i)
      json["hit_cost_ns"][std::string(probe::kCostClassNames[i])] = diagnosis.hit_cost->ns[i];
  } else {
    json["hit_cost_ns"] = nullptr;
  }
  json["checks"] = nlohmann::ordered_json::array();
  for (const Check& check : diagnosis.checks)
    json["checks"].push_back({{"name", check.name},
                              {"verdict", name_of(check.verdict)},
                              {"finding", check.finding},
                              {"remedy", check.remedy}});
  // Mount points and error texts are not ours: whatever is no UTF-8 must not end the report.
  return json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

int run_doctor(const DoctorOptions& options) {
  DoctorFindings findings{
      .host = probe::inspect_host(), .load_error = {}, .hit_cost = {}, .hit_cost_error = {}};
  const AttachMethod method = findings.host.method.value_or(AttachMethod::uprobe_multi);
  const auto object = probe::BpfObject::load({}, method, gobin::kSizeClassBytes);
  if (object) {
    const auto cost = probe::measure_hit_cost(*object);
    if (cost) findings.hit_cost = *cost;
    if (!cost) findings.hit_cost_error = cost.error();
  } else {
    findings.load_error = object.error();
  }
  const Diagnosis diagnosis = diagnose(findings);
  const std::string report = options.json ? to_json(diagnosis) : to_text(diagnosis);
  if (auto printed = print(report); !printed) {
    std::fprintf(stderr, "goheapd: %s\n", to_string(printed.error()).c_str());
    return 1;
  }
  return diagnosis.can_profile ? 0 : 1;
}

}  // namespace goheapd::cli
