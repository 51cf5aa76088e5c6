"""deploy/quickstart does what the first lines of the README promise."""
import contextlib
import os
import pathlib
import re
import select
import shutil
import signal
import socket
import subprocess
import time

import pytest

from conftest import LONG
from harness import golang, pprof, source_tree
from harness.comparison import compare
from harness.daemon import GOHEAPD, Metrics, fetch, free_port
from harness.target import Target
from tools import DEPLOY, OPERATIONS, TREE, run


class Quickstart:
    """Running in the foreground, for one process only: other programs of this machine are none of our business. In mode
    sampled, since auto would after a while count what the program's own profile samples."""

    def __init__(self, command, pid, port=None, **environment):
        self.port = port or free_port()
        self.printed = ""
        self._process = subprocess.Popen(
            [*command, "--pid", str(pid), "--mode", "sampled", "--web.listen-address", f"127.0.0.1:{self.port}"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ, **environment})

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._process.stdout.close()
        if exception[0]:
            print(self.printed)

    def wait_for(self, pattern, timeout):
        """The match in what is printed."""
        deadline = time.monotonic() + timeout
        while not (match := re.search(pattern, self.printed, re.MULTILINE)):
            left = deadline - time.monotonic()
            assert left > 0 and self._process.poll() is None, f"not printed: {pattern}"
            if select.select([self._process.stdout], [], [], left)[0]:
                more = os.read(self._process.stdout.fileno(), 1 << 16).decode()
                assert more, f"ended before it printed {pattern}"
                self.printed += more
        return match

    def interrupt(self):
        """As Ctrl-C does it; the exit code."""
        self._process.send_signal(signal.SIGINT)
        return self._process.wait(30)


def lives_up_to_its_lines(quickstart, target, folder, timeout):
    landing = quickstart.wait_for(r"^  targets and links +(\S+)$", timeout)[1]
    metrics = quickstart.wait_for(r"^  Prometheus metrics +(\S+)$", 5)[1]
    line = quickstart.wait_for(r"^  try: go tool pprof (-top (\S+))   \((.*)\)$", 60)
    assert line[3] == target.binary.name[:15]
    target.run("direct", 300)
    target.settle()
    assert compare(target.own_profile(folder), pprof.decode(fetch(line[2]).body)) >= 1
    # The very line that is printed.
    top = golang.pprof_tool(*line[1].split())
    assert "main.direct" in top and "Type: inuse_space" in top, top
    page = fetch(landing)
    assert page.status == 200 and page.headers["Content-Type"].startswith("text/html") and str(target.pid) in page.text
    assert Metrics.parse(fetch(metrics).text).sum("goheapd_targets", state="attached") == 1
    assert target.text_differences(), "no probe in the target: this test would prove nothing"
    assert quickstart.interrupt() == 0
    assert target.text_differences() == []
    target.run("direct", 1)


def test_where_everything_is_there(tmp_path):
    """On the tree as it was built there is nothing to install and nothing to compile."""
    assert GOHEAPD == TREE / "build" / "goheapd", "quickstart knows one build only"
    built = GOHEAPD.stat().st_mtime_ns
    with Target.of(24, "stripped", profile_rate=1024) as target:
        # The build keeps its tests.
        with Quickstart([DEPLOY / "quickstart"], target.pid, GOHEAPD_CMAKE_ARGS="-DGOHEAPD_TESTS=ON") as quickstart:
            lives_up_to_its_lines(quickstart, target, tmp_path, 120)
        steps = [line for line in quickstart.printed.splitlines() if re.match(r"\d/3 |installing ", line)]
        assert [step.split(" (")[0] for step in steps] == ["1/3 installing what is missing", "2/3 building", "3/3 starting"]
    assert GOHEAPD.stat().st_mtime_ns == built


@pytest.mark.parametrize("bound, asked", [("127.0.0.1", None), ("0.0.0.0", None), ("127.0.0.1", ""), ("::", "[::1]")])
def test_a_port_that_is_taken(bound, asked):
    """Said before minutes of building, with who has it and how to choose another; nothing is promised that will not be."""
    with socket.socket(socket.AF_INET6 if ":" in bound else socket.AF_INET) as taken:
        taken.bind((bound, 0))
        taken.listen()
        port = taken.getsockname()[1]
        address = f"{'127.0.0.1' if asked is None else asked}:{port}"
        result = subprocess.run([DEPLOY / "quickstart", "--pid", "1", "--web.listen-address", address],
                                capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)
    assert result.returncode == 1 and result.stdout == "", result
    comm = pathlib.Path("/proc/self/comm").read_text().strip()
    assert f"port {port} is taken by process {os.getpid()} ({comm})" in result.stderr, result.stderr
    assert f"--web.listen-address {address[:-len(str(port))]}{port + 1}" in result.stderr


def test_another_address_with_that_port_is_no_obstacle(tmp_path):
    with socket.socket() as other, Target.of(24, "stripped", profile_rate=1024) as target:
        other.bind(("127.0.0.2", 0))
        other.listen()
        port = other.getsockname()[1]
        with Quickstart([DEPLOY / "quickstart"], target.pid, port, GOHEAPD_CMAKE_ARGS="-DGOHEAPD_TESTS=ON") as quickstart:
            lives_up_to_its_lines(quickstart, target, tmp_path, 120)


def test_a_flag_that_is_none():
    """Before anything is installed or built; those of other commands are none of serve's."""
    for flag in ("--bogus", "--bogus=1", "--duration", "--web", "--overhead"):
        result = subprocess.run([DEPLOY / "quickstart", "--pid", "1", flag], capture_output=True, text=True,
                                stdin=subprocess.DEVNULL, timeout=60)
        assert result.returncode == 1 and result.stdout == "", result
        assert f"no flag {flag.split('=')[0]};" in result.stderr, result.stderr


def test_every_flag_of_serve_is_known():
    """With a port that is taken, which is looked at after the flags."""
    flags = set(re.findall(r"^ +(?:-\w,)?(--[a-z.-]+)", run(GOHEAPD, "serve", "--help"), re.MULTILINE)) - {"--help"}
    assert {"--redact", "--version", "--kubernetes.pod-selector", "--overhead-budget"} <= flags
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"--web.listen-address=127.0.0.1:{taken.getsockname()[1]}"
        result = subprocess.run([DEPLOY / "quickstart", *sorted(flags), address], capture_output=True, text=True,
                                stdin=subprocess.DEVNULL, timeout=60)
    assert result.returncode == 1 and "is taken by" in result.stderr, result.stderr


def test_a_port_that_is_taken_meanwhile(tmp_path):
    """While it builds: what answers there then is none of ours, and its address is not printed as if it were."""
    slow = tmp_path / "ninja"
    slow.write_text(f"#!/bin/sh\ntouch {tmp_path}/building\nwhile [ ! -e {tmp_path}/taken ]; do sleep 0.1; done\n")
    slow.chmod(0o755)
    port = free_port()
    command = [DEPLOY / "quickstart", "--pid", "1", "--web.listen-address", f"127.0.0.1:{port}"]
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "GOHEAPD_CMAKE_ARGS": "-DGOHEAPD_TESTS=ON"}
    with socket.socket() as other, subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                                    stderr=subprocess.STDOUT, text=True, env=environment) as process:
        try:
            deadline = time.monotonic() + 120
            while not (tmp_path / "building").exists():
                assert process.poll() is None and time.monotonic() < deadline, "it does not build"
                time.sleep(0.05)
            other.bind(("127.0.0.1", port))
            other.listen()
            (tmp_path / "taken").touch()
            printed = process.communicate(timeout=60)[0]
        finally:
            process.kill()
            (tmp_path / "taken").touch()   # ends what stands in for ninja
    assert process.returncode == 1 and "3/3 starting" in printed and "ss -ltnp" in printed, printed
    assert "http://" not in printed, printed


def test_help_does_nothing():
    printed = run(DEPLOY / "quickstart", "--help")
    assert "usage: quickstart [FLAGS OF goheapd serve]" in printed and "installing" not in printed


if LONG:
    @pytest.mark.parametrize("release, archive", [("12", "rootfs.tar"), ("13", "trixie-rootfs.tar")])
    def test_on_a_fresh_debian(release, archive, tmp_path):
        """From apt's first package to a profile, in a root of its own that shares this machine's kernel and processes."""
        root = tmp_path / "root"
        root.mkdir()
        run("tar", "-C", root, "-xf", OPERATIONS / archive)
        assert f'VERSION_ID="{release}"' in (root / "etc/os-release").read_text()
        source_tree.copy(root / "goheapd")
        shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
        entered = ["unshare", "--mount", "--propagation", "private", "bash", "-c", """
            for folder in proc sys dev; do mount --rbind "/$folder" "$1/$folder" || exit 1; done
            root=$1
            shift
            exec chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root /goheapd/deploy/quickstart "$@"
            """, "-", root]
        try:
            with Target.of(24, "stripped", profile_rate=1024) as target, Quickstart(entered, target.pid) as quickstart:
                lives_up_to_its_lines(quickstart, target, tmp_path, 3000)
                quickstart.wait_for(r"^installing .*g\+\+.*cmake", 1)
                assert (root / "goheapd/build/goheapd").exists()
        finally:
            # The mounts went with their namespace.
            with contextlib.suppress(OSError):
                shutil.rmtree(root)
