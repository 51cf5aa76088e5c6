#include "daemon/probe/host_support.h"

#include <gtest/gtest.h>

#include <cerrno>

namespace goheapd::probe {
namespace {

TEST(Capabilities, AreReadFromTheEffectiveSet) {
  // CAP_BPF = 39, CAP_PERFMON = 38, CAP_SYS_PTRACE = 19.
  const Capabilities set =
      parse_capabilities("Name:\tx\nCapPrm:\t000001ffffffffff\nCapEff:\t000000c000080000\n");
  EXPECT_TRUE(set.bpf);
  EXPECT_TRUE(set.perfmon);
  EXPECT_TRUE(set.sys_ptrace);
  EXPECT_FALSE(set.sys_admin);
  EXPECT_FALSE(set.sys_resource);
}

TEST(Capabilities, SysAdminIncludesTheNewerOnes) {
  const Capabilities set = parse_capabilities("CapEff:\t0000000000200000\n");
  EXPECT_TRUE(set.sys_admin && set.bpf && set.perfmon);
  EXPECT_FALSE(set.sys_ptrace);
}

TEST(Capabilities, NothingInNothing) {
  EXPECT_FALSE(parse_capabilities("").bpf);
  EXPECT_FALSE(parse_capabilities("CapEff:").bpf);
  EXPECT_FALSE(parse_capabilities("CapEff:\tzz\n").bpf);
}

HostSupport good_host() {
  HostSupport host;
  host.capabilities = {
      .bpf = true, .perfmon = true, .sys_ptrace = true, .sys_admin = true, .sys_resource = true};
  host.kernel_btf = true;
  host.ring_buffer = true;
  return host;
}

TEST(LoadErrors, NameWhatIsMissing) {
  HostSupport host = good_host();
  host.capabilities.bpf = false;
  EXPECT_NE(explain_load_error(EPERM, host).find("CAP_BPF"), std::string::npos);
  host = good_host();
  EXPECT_NE(explain_load_error(EPERM, host).find("seccomp"), std::string::npos);
  EXPECT_NE(explain_load_error(EMFILE, host).find("LimitNOFILE"), std::string::npos);
  host.open_files_limit = 24;
  EXPECT_NE(explain_load_error(EINVAL, host).find("LimitNOFILE"), std::string::npos);
  host.open_files_limit = 64;
  EXPECT_NE(explain_load_error(EINVAL, host).find("verifier"), std::string::npos);
  host.maps_count_as_locked = true;
  host.memlock_limit = 65536;
  host.capabilities.sys_resource = false;
  EXPECT_NE(explain_load_error(EPERM, host).find("locked memory"), std::string::npos);
  host = good_host();
  // A program that the verifier finds unsafe is not a matter of permissions.
  host.bpf_syscall = true;
  EXPECT_NE(explain_load_error(EACCES, host).find("verifier"), std::string::npos);
  host.kernel_btf = false;
  EXPECT_NE(explain_load_error(EINVAL, host).find("CONFIG_DEBUG_INFO_BTF"), std::string::npos);
}

}  // namespace
}  // namespace goheapd::probe
