"""The Debian package in its default configuration in a real systemd, with real probes, on each kernel (tests/run --all)."""
import concurrent.futures
import re
import shutil
import subprocess

import machine
import pytest
from harness import comparison, golang, pprof, source_tree

SYSTEMD = machine.HERE / "systemd"
CHECKS = machine.HERE.parent / "deploy" / "systemd" / "checks.sh"
# Where there is no uprobe_multi, probes are attached as a user who is not root can.
METHODS = {**machine.METHODS, "5.10": "perf_uprobe", "6.1": "perf_uprobe"}
# A run takes some 3 minutes alone; the guest gives up before, and says where it hangs.
TIMEOUT = 1300


def build_package(tree, folder):
    """Path of the package of a source tree."""
    subprocess.run([tree / "deploy" / "package", folder], check=True, capture_output=True, text=True)
    package, = folder.glob("*.deb")
    return package


def newer_tree(folder):
    """A copy of the source tree whose version is higher."""
    tree = source_tree.copy(folder / "tree")
    project = tree / "CMakeLists.txt"
    project.write_text(re.sub(r"(project\(goheapd VERSION )[\d.]+", r"\g<1>999.0.0", project.read_text()))
    return tree


def build_system(packages, directory):
    """Path of an initramfs with a Debian that runs tests/vm/systemd/inside.sh after it has booted."""
    debian = directory / "debian"
    outside = debian / "outside"
    outside.mkdir(parents=True)
    subprocess.run(["tar", "-C", debian, "-xf", golang.CACHE / "operations" / "rootfs.tar"], check=True)
    # What nobody reads need not be unpacked in the machine.
    for path in ("usr/share/doc", "usr/share/i18n", "usr/share/zoneinfo", "var/lib/apt", "var/cache"):
        shutil.rmtree(debian / path, ignore_errors=True)
    for number, package in enumerate(packages, 1):
        shutil.copy(package, outside / f"goheapd-{number}.deb")
    shutil.copy(golang.build(machine.MINOR), outside / "target")
    for script in (CHECKS, SYSTEMD / "inside.sh"):
        shutil.copy(script, outside / script.name)
    (debian / "etc" / "machine-id").write_text("0123456789abcdef0123456789abcdef\n")   # no questions at the first boot
    # An emulated machine on a busy host takes its time, to start and to stop.
    slow = debian / "etc" / "systemd" / "system" / "goheapd.service.d" / "slow.conf"
    slow.parent.mkdir(exist_ok=True)
    slow.write_text("[Service]\nTimeoutStartSec=600\nTimeoutStopSec=300\n")
    units = debian / "etc" / "systemd" / "system"
    (units / "inside.service").write_text("[Unit]\nAfter=multi-user.target\n[Service]\nExecStart=/outside/inside.sh\n")
    wants = units / "multi-user.target.wants"
    wants.mkdir(exist_ok=True)
    (wants / "inside.service").symlink_to("../inside.service")
    (units / "serial-getty@ttyS0.service").symlink_to("/dev/null")
    root = directory / "root"
    for name in ("bin", "dev", "root"):
        (root / name).mkdir(parents=True)
    shutil.copy("/bin/busybox", root / "bin" / "busybox")
    shutil.copy(SYSTEMD / "init", root / "init")
    (root / "init").chmod(0o755)
    subprocess.run(["tar", "-C", debian, "-cf", root / "root.tar", "."], check=True)
    shutil.rmtree(debian)
    return machine.pack(root, directory / "initramfs")


@pytest.fixture(scope="module")
def lives(tmp_path_factory):
    """{kernel: what will be the console of its one run}"""
    folder = tmp_path_factory.mktemp("systemd")
    newer = newer_tree(folder)
    packages = [build_package(tree, folder / name) for tree, name in ((golang.TREE, "older"), (newer, "newer"))]
    shutil.rmtree(newer)
    initramfs = build_system(packages, folder)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        yield {kernel: pool.submit(machine.boot, kernel, initramfs, TIMEOUT, 2560,
                                   f"systemd.show_status=no method={method}") for kernel, method in METHODS.items()}


@pytest.mark.parametrize("kernel", METHODS)
def test_lives_in_systemd_with_probes(kernel, lives):
    console = lives[kernel].result()
    print(f"--- console of {kernel}:\n{console.story[-20000:]}\n---")
    assert console.is_done
    assert console.failures == []
    verdicts = re.findall(r"^(ok|FAILED) (.*)$", console.text, re.MULTILINE)
    assert [name for verdict, name in verdicts if verdict == "FAILED"] == []
    written = re.findall(r"^ *check \"", (SYSTEMD / "inside.sh").read_text(), re.MULTILINE)
    assert len(verdicts) >= len(written) - 1   # the drop-in is there or it is not
    own, served = (pprof.decode(console.files[name]) for name in ("own.pb.gz", "served.pb.gz"))
    assert comparison.compare(own, served) >= 5
