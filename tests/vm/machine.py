"""A virtual machine with one kernel, goheapd and a few programs: built as an initramfs, booted, read by its console.

    host                                       guest (QEMU without hardware help, some seconds)
    ──────────────────────────────────         ─────────────────────────────────────────────────────
    initramfs: busybox, goheapd and its  ────▶ tests/vm/init: mounts, checks, powers off
    libraries, the eBPF tests, Go programs         │
    Console: results by name, files      ◀──── ttyS0: "@@ ..." lines, GoogleTest's lines, base64
"""
import base64
import pathlib
import re
import shutil
import subprocess

from harness import golang

HERE = pathlib.Path(__file__).parent
# The newest Go version: what the versions differ in is tested on the host, what the kernels differ in is tested here.
MINOR = golang.VERSIONS[-1]
# Rows of tests/tools/fetch-kernels, and how probes attach there for root.
METHODS = {"5.10": "tracefs_event", "6.1": "tracefs_event", "6.12": "uprobe_multi", "newest": "uprobe_multi"}
# A run takes one to two minutes alone; other work on the machine shall not decide. The guest gives up before, and says where
# it hangs.
TIMEOUT = 650
# Of the eBPF tests, those whose outcome is the kernel's doing, and that no part of tests/vm/init shows already.
TESTS = [f"Matrix/ExactCounts.*/go1_{MINOR}", "Lifecycle.ExecEndsTheRecordingAndIsReported",
         "Lifecycle.ExitIsReportedAndCountsCanStillBeRead",
         "Lifecycle.RefusedInstructionsAreReplaced", "All/OlderMethods.*", "Of/Capabilities.*"]


def qemu():
    """The command that tests/tools/fetch-kernels leaves behind: the cache's where the distribution's is too old."""
    own = golang.CACHE / "qemu" / "usr"
    program = own / "bin" / "qemu-system-x86_64"
    if program.exists():
        return [program, "-L", own / "share" / "qemu", "-L", "/usr/share/seabios", "-L", "/usr/share/qemu"]
    return [shutil.which("qemu-system-x86_64")]


def libraries(program):
    """Paths of the shared objects that a program needs, the loader too."""
    listed = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout
    return set(re.findall(r"(?:=> )?(/\S+) \(0x", listed))


def build_initramfs(build, directory):
    """Path of an initramfs with everything that tests/vm/init uses. `build` = the release build's directory."""
    root = directory / "root"
    for name in ("bin", "proc", "sys", "dev", "tmp", "root", "programs"):
        (root / name).mkdir(parents=True)
    programs = {build / "goheapd": "bin/goheapd", build / "tests" / "bpf" / "goheapd_bpf_tests": "bin/goheapd_bpf_tests"}
    for source, place in programs.items():
        subprocess.run(["strip", "-o", root / place, source], check=True)
    for library in set().union(*map(libraries, programs)):
        (root / library[1:]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, root / library[1:])
    shutil.copy("/bin/busybox", root / "bin" / "busybox")
    shutil.copy(golang.build(MINOR), root / "programs" / "target")
    shutil.copy(golang.build(MINOR, program="allocator"), root / "programs" / f"allocator_go1_{MINOR}")
    for program in ("life_ledger", "gc_cycles", "phases"):
        shutil.copy(golang.build(MINOR, program=program), root / "programs" / program)
    shutil.copy(HERE / "sources.sh", root / "programs" / "sources.sh")
    (root / "programs" / "filter").write_text(":".join(TESTS))
    shutil.copy(HERE / "init", root / "init")
    (root / "init").chmod(0o755)
    return pack(root, directory / "initramfs")


def pack(root, archive):
    """Makes an initramfs of a folder, which goes."""
    with open(archive, "wb") as output:
        listing = subprocess.run(["find", "."], cwd=root, check=True, capture_output=True).stdout
        subprocess.run(["cpio", "--create", "--format=newc", "--quiet"], cwd=root, input=listing, stdout=output, check=True)
    shutil.rmtree(root)
    return archive


class Console:
    """What a machine wrote."""

    def __init__(self, text):
        self.text = text.replace("\r", "")
        # What a reader of a failure wants to see: all but the content of files.
        self.story = re.sub(r"^(@@ file \S+)\n[A-Za-z0-9+/=\n]*^@@ end$", r"\1", self.text, flags=re.MULTILINE)
        said = re.findall(r"^@@ (\w+) ?(.*)$", self.text, re.MULTILINE)
        self.failures = [rest for word, rest in said if word == "failed"]
        self.clean = [rest for word, rest in said if word == "clean"]
        self.kernel = next((rest for word, rest in said if word == "kernel"), None)
        self.is_done = any(word == "done" for word, _ in said)
        self.passed = re.findall(r"^\[       OK \] (\S+?),? ", self.text, re.MULTILINE)
        self.failed = sorted(set(re.findall(r"^\[  FAILED  \] (\w+[./]\S+?),? ", self.text, re.MULTILINE)))
        self.files = {name: base64.b64decode(content) for name, content in
                      re.findall(r"^@@ file (\S+)\n([A-Za-z0-9+/=\n]*)^@@ end$", self.text, re.MULTILINE)}


def boot(kernel, initramfs, timeout, memory=1024, arguments=""):
    """Boots a kernel of the cache and waits for its end. `memory` in MiB, `arguments` for the kernel."""
    command = [*qemu(), "-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-m", str(memory), "-smp", "2",
               "-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio",
               "-kernel", golang.CACHE / "kernels" / kernel / "vmlinuz", "-initrd", initramfs,
               # The kernel's test of the timer panics where the host leaves the emulation no time.
               "-append", f"console=ttyS0 quiet panic=-1 no_timer_check {arguments}"]
    try:
        result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=False)
        return Console(result.stdout.decode(errors="replace") + result.stderr.decode(errors="replace"))
    except subprocess.TimeoutExpired as expired:
        return Console((expired.stdout or b"").decode(errors="replace"))
