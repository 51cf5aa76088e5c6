// The floor under every probe: a BPF program that does nothing, at the instructions given.
//   empty_probe PID OFFSET...    OFFSET = place in the file that the process runs, in bytes
// Says "ready" when attached, and stays until its standard input ends.
#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace {

// From <linux/bpf.h> of Linux 6.6; Debian 12's headers are older.
constexpr auto kTraceUprobeMulti = static_cast<bpf_attach_type>(48);

int complain(const char* what) {
  std::fprintf(stderr, "empty_probe: %s: %s\n", what, std::strerror(errno));
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: empty_probe PID OFFSET...\n");
    return 2;
  }
  std::array<bpf_insn, 2> instructions{};
  instructions[0].code = BPF_ALU64 | BPF_MOV | BPF_K;  // r0 = 0
  instructions[1].code = BPF_JMP | BPF_EXIT;
  LIBBPF_OPTS(bpf_prog_load_opts, load, .expected_attach_type = kTraceUprobeMulti);
  const int program =
      bpf_prog_load(BPF_PROG_TYPE_KPROBE, "empty", "GPL", instructions.data(), instructions.size(), &load);
  if (program < 0) return complain("cannot load");

  const std::string exe = std::string("/proc/") + argv[1] + "/exe";
  std::vector<unsigned long> offsets;
  for (int i = 2; i < argc; ++i) offsets.push_back(std::strtoul(argv[i], nullptr, 0));
  LIBBPF_OPTS(bpf_link_create_opts, link);
  link.uprobe_multi.path = exe.c_str();
  link.uprobe_multi.offsets = offsets.data();
  link.uprobe_multi.cnt = static_cast<__u32>(offsets.size());
  link.uprobe_multi.pid = static_cast<__u32>(std::atoi(argv[1]));
  if (bpf_link_create(program, 0, kTraceUprobeMulti, &link) < 0) return complain("cannot attach");
  std::puts("ready");
  std::fflush(stdout);
  char byte = 0;
  while (::read(STDIN_FILENO, &byte, 1) > 0) {
  }
  return 0;
}
