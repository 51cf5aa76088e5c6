// What doctor concludes from what it found, without a kernel.
#include "daemon/cli/doctor.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <nlohmann/json.hpp>

namespace goheapd::cli {
namespace {

DoctorFindings healthy() {
  DoctorFindings findings;
  findings.host.kernel_release = "6.12.95";
  findings.host.libbpf_version = "1.4";
  findings.host.capabilities = {
      .bpf = true, .perfmon = true, .sys_ptrace = true, .sys_admin = true, .sys_resource = true};
  findings.host.kernel_btf = true;
  findings.host.initial_pid_namespace = true;
  findings.host.bpf_syscall = true;
  findings.host.ring_buffer = true;
  findings.host.method = probe::AttachMethod::uprobe_multi;
  findings.hit_cost = probe::HitCost{{330, 310, 900}};
  return findings;
}

const Check& check_named(const Diagnosis& diagnosis, std::string_view name) {
  for (const Check& check : diagnosis.checks)
    if (check.name == name) return check;
  throw std::out_of_range(std::string(name));
}

TEST(Doctor, HealthyHostCanProfile) {
  const Diagnosis diagnosis = diagnose(healthy());
  EXPECT_TRUE(diagnosis.can_profile);
  EXPECT_EQ(diagnosis.method, "uprobe_multi");
  for (const Check& check : diagnosis.checks) EXPECT_EQ(check.verdict, Verdict::good) << check.name;
  EXPECT_NE(to_text(diagnosis).find("profiling works here, by uprobe_multi"), std::string::npos);
}

// Each broken thing alone is enough to say no, names itself, and says what to do.
TEST(Doctor, EachBrokenThingSaysNoAndWhatToDo) {
  struct Case {
    std::string check;
    void (*damage)(DoctorFindings&);
  };
  const std::vector<Case> cases = {
      {"pid namespace", [](DoctorFindings& f) { f.host.initial_pid_namespace = false; }},
      {"capabilities", [](DoctorFindings& f) { f.host.capabilities.bpf = false; }},
      {"bpf()",
       [](DoctorFindings& f) {
         f.host.bpf_syscall = false;
         f.host.bpf_errno = EPERM;
       }},
      {"kernel BTF", [](DoctorFindings& f) { f.host.kernel_btf = false; }},
      {"ring buffer", [](DoctorFindings& f) { f.host.ring_buffer = false; }},
      {"attaching",
       [](DoctorFindings& f) {
         f.host.method.reset();
         f.host.uprobe_multi_errno = EINVAL;
         f.host.perf_uprobe_errno = EACCES;
       }},
      {"programs",
       [](DoctorFindings& f) {
         f.load_error = Error{"cannot load", "", EINVAL};
       }},
      {"cost of a hit",
       [](DoctorFindings& f) {
         f.hit_cost.reset();
         f.hit_cost_error = Error{"a probe in our own process does not fire", "push", 0};
       }},
  };
  for (const Case& broken : cases) {
    SCOPED_TRACE(broken.check);
    DoctorFindings findings = healthy();
    broken.damage(findings);
    const Diagnosis diagnosis = diagnose(findings);
    EXPECT_FALSE(diagnosis.can_profile);
    EXPECT_EQ(check_named(diagnosis, broken.check).verdict, Verdict::broken);
    EXPECT_FALSE(check_named(diagnosis, broken.check).remedy.empty());
    EXPECT_NE(to_text(diagnosis).find("cannot work here"), std::string::npos);
  }
}

TEST(Doctor, LimitsAreWarningsOnly) {
  DoctorFindings findings = healthy();
  findings.host.capabilities.sys_ptrace = false;
  EXPECT_TRUE(diagnose(findings).can_profile);
  EXPECT_EQ(check_named(diagnose(findings), "capabilities").verdict, Verdict::worse);

  findings = healthy();
  findings.host.method = probe::AttachMethod::perf_uprobe;
  findings.host.uprobe_multi_errno = EINVAL;
  EXPECT_TRUE(diagnose(findings).can_profile);
  EXPECT_EQ(check_named(diagnose(findings), "attaching").verdict, Verdict::worse);

  findings = healthy();
  findings.host.maps_count_as_locked = true;
  findings.host.memlock_limit = 65536;
  findings.host.capabilities.sys_resource = false;
  EXPECT_TRUE(diagnose(findings).can_profile);
  EXPECT_EQ(check_named(diagnose(findings), "memlock").verdict, Verdict::worse);
}

TEST(Doctor, TooFewDescriptorsAreNoFaultOfTheKernel) {
  DoctorFindings findings = healthy();
  findings.host.open_files_limit = 40;
  EXPECT_TRUE(diagnose(findings).can_profile);
  EXPECT_EQ(check_named(diagnose(findings), "open files").verdict, Verdict::worse);
  findings.host.open_files_limit = 524288;
  EXPECT_EQ(check_named(diagnose(findings), "open files").verdict, Verdict::good);

  findings.host.ring_buffer = false;
  findings.host.ring_buffer_errno = EMFILE;
  findings.host.method.reset();
  findings.host.uprobe_multi_errno = EMFILE;
  findings.load_error = Error{"cannot load", "", EMFILE};
  findings.hit_cost.reset();
  findings.hit_cost_error = Error{"cannot attach", "", EMFILE};
  for (const char* name : {"ring buffer", "attaching", "programs", "cost of a hit"}) {
    const Check check = check_named(diagnose(findings), name);
    EXPECT_EQ(check.verdict, Verdict::broken) << name;
    EXPECT_NE(check.remedy.find("LimitNOFILE"), std::string::npos) << name << ": " << check.remedy;
  }
}

// Mode sampled has no budget, and buckets is not for all programs.
TEST(Doctor, WhereTrapsAreDearModeAutoIsTheOne) {
  DoctorFindings findings = healthy();
  findings.hit_cost = probe::HitCost{{5400, 5200, 12000}};
  const Diagnosis diagnosis = diagnose(findings);
  const Check& check = check_named(diagnosis, "cost of a hit");
  EXPECT_EQ(check.verdict, Verdict::worse);
  EXPECT_NE(check.remedy.find("--mode auto (the default)"), std::string::npos) << check.remedy;
  EXPECT_NE(check.remedy.find("--overhead-budget"), std::string::npos) << check.remedy;
  EXPECT_EQ(check.remedy.find("sampled"), std::string::npos) << check.remedy;
}

// An unprivileged user lacks two capabilities, not three: CAP_SYS_ADMIN is only for kernels without uprobe_multi.
TEST(Doctor, AsksForSysAdminOnlyWhereItHelps) {
  DoctorFindings findings = healthy();
  findings.host.capabilities = {};
  findings.host.method.reset();
  findings.host.uprobe_multi_errno = EPERM;
  EXPECT_EQ(check_named(diagnose(findings), "capabilities").finding,
            "missing CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE");
  findings.host.uprobe_multi_errno = EINVAL;
  EXPECT_NE(check_named(diagnose(findings), "capabilities").finding.find("CAP_SYS_ADMIN"), std::string::npos);
}

TEST(Doctor, JsonSaysTheSame) {
  const auto good = nlohmann::json::parse(to_json(diagnose(healthy())));
  EXPECT_EQ(good["can_profile"], true);
  EXPECT_EQ(good["attach_method"], "uprobe_multi");
  EXPECT_EQ(good["hit_cost_ns"]["single_step"], 900);
  EXPECT_EQ(good["checks"][0]["verdict"], "ok");

  DoctorFindings findings = healthy();
  findings.host.method.reset();
  findings.hit_cost.reset();
  findings.load_error = Error{"not \xff UTF-8", "", 0};
  const auto bad = nlohmann::json::parse(to_json(diagnose(findings)));
  EXPECT_EQ(bad["can_profile"], false);
  EXPECT_TRUE(bad["attach_method"].is_null());
  EXPECT_TRUE(bad["hit_cost_ns"].is_null());
}

}  // namespace
}  // namespace goheapd::cli
