"""What the daemon takes of the host."""
import contextlib
import os
import pathlib
import re

from .golang import TREE


def resident_bytes(pid):
    return int(re.search(r"VmRSS:\s+(\d+) kB", pathlib.Path(f"/proc/{pid}/status").read_text())[1]) << 10


def kernel_bytes(pid):
    """Locked memory of the maps and programs that the process holds in the kernel."""
    total = 0
    for file in pathlib.Path(f"/proc/{pid}/fdinfo").iterdir():
        with contextlib.suppress(FileNotFoundError):
            total += sum(int(size) for size in re.findall(r"^memlock:\s+(\d+)$", file.read_text(), re.MULTILINE))
    return total


def memory(pid):
    """Bytes that count against a limit."""
    return resident_bytes(pid) + kernel_bytes(pid)


def memory_limit():
    """What deploy/ allows the daemon, in bytes; Kubernetes and systemd agree."""
    unit = (TREE / "deploy/systemd/goheapd.service.in").read_text()
    pods = (TREE / "deploy/kubernetes/base/daemonset.yaml").read_text()
    [mebibytes] = set(re.findall(r"^MemoryMax=(\d+)M$", unit, re.MULTILINE)) | set(re.findall(r"limits: {memory: (\d+)Mi}", pods))
    return int(mebibytes) << 20


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def threads(pid):
    return len(os.listdir(f"/proc/{pid}/task"))
