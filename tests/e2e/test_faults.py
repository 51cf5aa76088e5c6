"""What goes wrong on real hosts: killed daemons, dying targets, bursts of processes, full disks, files that change.

After each: the target's work was right, no trap is left in its code, and what is lost is counted.
"""
import concurrent.futures
import contextlib
import os
import pathlib
import random
import resource
import shutil
import signal
import subprocess
import time

import pytest
from conftest import LONG
from harness import golang, usage
from harness.daemon import GOHEAPD, Daemon
from harness.target import Target
from harness.waiting import wait_for


def assert_unharmed(target):
    wait_for(lambda: not target.text_differences(), "a trap is left in the target's code", 10)
    rounds = int(target.ask("status")[0])
    wait_for(lambda: int(target.ask("status")[0]) > rounds, "the load stands still", 30)
    assert target.ask("status")[1] == "0", "the target computed something wrong"


@pytest.mark.parametrize("mode", ["sampled", "exact"])
def test_the_daemon_is_killed_again_and_again(mode):
    """At any moment: while it loads, attaches, reads, or sits still."""
    rounds = 100 if LONG else 5
    delays = random.Random(4711)
    with Target.of(24, "stripped", profile_rate=4096) as target:
        target.ask("load 4")
        for _ in range(rounds):
            command = [GOHEAPD, "serve", "--web.listen-address", "127.0.0.1:0", "--mode", mode, "--pid", str(target.pid)]
            with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL) as daemon:
                time.sleep(delays.uniform(0, 1.5))
                daemon.kill()
            assert_unharmed(target)


def test_targets_die_while_they_are_read(tmp_path):
    """Every reading of memory and every answer may find that its process has just gone."""
    binary = golang.own(golang.build(24, "stripped"), tmp_path)
    delays = random.Random(42)
    with Daemon.watching(binary) as daemon, concurrent.futures.ThreadPoolExecutor(4) as pool:
        for _ in range(20 if LONG else 6):
            with Target(binary, profile_rate=64) as target:
                daemon.wait_for_state(target.pid)
                target.ask("load 4")
                paths = [f"/targets/{target.pid}/debug/pprof/heap", f"/targets/{target.pid}/metrics", "/metrics",
                         f"/targets/{target.pid}/debug/pprof/allocs?debug=1"]
                answers = [pool.submit(daemon.get, path) for path in paths * 5]
                time.sleep(delays.uniform(0, 0.3))
                target.process.kill()
                target.process.wait()
                for answer in answers:
                    # Served, as its last profile; or refused with the reason.
                    assert answer.result().status in (200, 404, 409, 410, 503), answer.result().text
            daemon.wait_until(lambda: daemon.targets().get(target.pid, {}).get("state") != "attached",
                              "the target is not noticed to be gone")
        assert daemon.get("/-/healthy").status == 200
        assert daemon.stop()[0] == 0


def test_five_hundred_processes_in_a_burst(tmp_path):
    """They live shorter than it takes to attach them. Others are watched all the while."""
    binary = golang.own(golang.build(24, "stripped"), tmp_path)
    with Target(binary, profile_rate=1024) as steady, Daemon.watching(binary) as daemon:
        daemon.wait_for_state(steady.pid)
        for _ in range(10):
            # At the end of its input it exits.
            burst = [subprocess.Popen([binary], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) for _ in range(50)]
            assert [process.wait() for process in burst] == [0] * len(burst)
        steady.run("direct", 2000)
        steady.settle()
        profile = daemon.profile(steady.pid)
        objects = profile.total("alloc_objects", lambda s: s.functions()[0] == "main.direct")
        assert 1000 < objects < 3000   # 2000 of 64 bytes at one sample per KiB: 125 +- 11 samples, each for 16 objects

        def all_gone():
            return {pid for pid, row in daemon.targets().items() if row["state"] not in ("exited", "ignored")} == {steady.pid}

        # Nobody was refused, and the kernel's side has its room for 1024 at once back.
        daemon.wait_until(all_gone, "processes that are gone stay", timeout=60)
        # That some were gone before their file could be looked at is no verdict on the file.
        with Target(binary) as late:
            daemon.wait_for_state(late.pid)
        assert daemon.stop()[0] == 0
        assert steady.text_differences() == []


def test_hundreds_that_run_at_once_exit_together(tmp_path):
    """Waiting for the kernel to let go of each, one after the other, would take many seconds."""
    binary = golang.own(golang.build(24, "stripped"), tmp_path)
    count = 100
    with contextlib.ExitStack() as stack:
        targets = [stack.enter_context(Target(binary)) for _ in range(count)]
        daemon = stack.enter_context(Daemon.watching(binary))

        def attached():
            return sum(row["state"] == "attached" for row in daemon.targets().values())

        daemon.wait_until(lambda: attached() == count, "not all are attached", timeout=90)
        for target in targets[::10]:
            target.run("direct", 1000)
            daemon.profile(target.pid)
        daemon.metrics()
        assert usage.memory(daemon.process.pid) < usage.memory_limit() / 2
        for target in targets:
            target.process.kill()
        for target in targets:
            target.process.wait()
        daemon.wait_until(lambda: attached() == 0, "not all are let go", timeout=30)
        assert daemon.get("/-/healthy").status == 200


def test_record_on_a_full_disk(tmp_path):
    """It fails, says so in one line, and leaves neither half a profile nor a trap."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8k", "none", disk], check=True)
    try:
        (disk / "filler").write_bytes(bytes(8192))
        with Target.of(24, profile_rate=512) as target:
            for scenario in target.scenarios():
                target.run(scenario, 200)
            old = disk / "heap.pb.gz"
            result = subprocess.run([GOHEAPD, "record", "--pid", str(target.pid), "--duration", "1s", "-o", old],
                                    capture_output=True, text=True, timeout=60, check=False)
            assert result.returncode == 1
            assert "cannot write the profile" in result.stderr.splitlines()[-1] and "No space left" in result.stderr
            assert sorted(path.name for path in disk.iterdir()) == ["filler"]
            assert target.text_differences() == []
    finally:
        subprocess.run(["umount", disk], check=True)


def test_no_descriptors_left(tmp_path):
    """Without room for more files, what is attached goes on and the daemon says what it misses."""
    binary = golang.own(golang.build(24), tmp_path)
    with contextlib.ExitStack() as stack:
        targets = [stack.enter_context(Target(binary)) for _ in range(30)]
        daemon = stack.enter_context(Daemon.watching(binary))
        daemon.wait_until(lambda: any(row["state"] == "attached" for row in daemon.targets().values()), "none attached")
        soft, hard = resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE)
        assert soft == hard   # hundreds of targets need more than what services start with
        used = len(os.listdir(f"/proc/{daemon.process.pid}/fd"))
        resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, (used + 12, hard))
        late = [stack.enter_context(Target(binary)) for _ in range(10)]
        daemon.wait_until(lambda: any("LimitNOFILE" in (row["reason"] or "") for row in daemon.targets().values()),
                          "no reason says what to raise")
        resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, (soft, hard))

        def all_attached():
            rows = daemon.targets()
            return {t.pid for t in targets + late} <= {pid for pid, row in rows.items() if row["state"] == "attached"}

        # What failed for want of descriptors is tried again.
        daemon.wait_until(all_attached, "not tried again", timeout=60)
        assert daemon.stop()[0] == 0
        for target in targets + late:
            assert target.text_differences() == []


def profile_is_right(daemon, target):
    daemon.wait_for_state(target.pid)
    target.run("direct", 300)
    profile = daemon.profile(target.pid, "allocs")
    return profile.total("alloc_objects",
                         lambda s: s.functions()[0] == "main.direct" and s.labels["bytes"] == 64) == 300


@pytest.mark.parametrize("how", ["deleted", "replaced", "rebuilt"])
def test_the_executable_changes_under_the_program(how, tmp_path):
    """As a package upgrade does it. The process goes on with the old file, and so do we."""
    path = tmp_path / "program"
    shutil.copy(golang.build(24), path)
    with Target(path) as target:
        if how == "deleted":
            path.unlink()
        elif how == "replaced":
            shutil.copy(golang.build(22, "stripped"), tmp_path / "new")
            (tmp_path / "new").rename(path)
        else:
            path.unlink()
            shutil.copy(golang.build(27), path)
        with Daemon(target.pid, arguments=["--mode", "exact"]) as daemon:
            assert profile_is_right(daemon, target)
            assert daemon.stop()[0] == 0
        # The file that the process runs has no path any more, so it is compared through /proc.
        file = pathlib.Path(f"/proc/{target.pid}/exe").read_bytes()
        assert file == golang.build(24).read_bytes()
        target.run("direct", 1)


def test_copied_up_in_an_overlay(tmp_path):
    """In a container, chmod copies a file of the image to the upper layer: the process runs the lower one still."""
    folders = {name: tmp_path / name for name in ("lower", "upper", "work", "merged")}
    for folder in folders.values():
        folder.mkdir()
    shutil.copy(golang.build(24), folders["lower"] / "program")
    # Overlays do not stack on every file system; a tmpfs can always be the upper one.
    subprocess.run(["mount", "-t", "tmpfs", "none", tmp_path / "upper"], check=True)
    mounts = [tmp_path / "upper"]
    try:
        for name in ("upper", "work"):
            (tmp_path / "upper" / name).mkdir()
        options = f"lowerdir={folders['lower']},upperdir={tmp_path}/upper/upper,workdir={tmp_path}/upper/work"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, folders["merged"]], check=True)
        mounts.append(folders["merged"])
        program = folders["merged"] / "program"
        with Target(program) as target:
            program.chmod(0o711)
            with Daemon(target.pid, arguments=["--mode", "exact"]) as daemon:
                # A path leads to the upper copy now, by /proc/PID/exe as well, and probes in that would never fire. So
                # they are refused, with what to do; an attached target without a single event would be the worse answer.
                row = daemon.wait_for_state(target.pid, "failed")
                assert "restart" in row["reason"] and "copied up" in row["reason"], row
                target.run("direct", 10)
                assert daemon.stop()[0] == 0
            assert target.exit() == 0
    finally:
        for mount in reversed(mounts):
            subprocess.run(["umount", mount], check=True)


def test_the_daemon_is_stopped_and_goes_on():
    """Nobody empties the ring for a while: what did not fit is counted, and the books settle with the runtime's own."""
    with Target.of(24, profile_rate=1) as target, Daemon(target.pid, arguments=["--mode", "sampled"]) as daemon:
        daemon.wait_for_state(target.pid)
        daemon.process.send_signal(signal.SIGSTOP)
        for _ in range(20):
            target.run("garbage", 20000)   # a birth and a death of 56 bytes each: more than the ring of 16 MiB holds
        target.settle()
        daemon.process.send_signal(signal.SIGCONT)
        objects = daemon.profile(target.pid, "allocs").total(
            "alloc_objects", lambda s: s.functions()[0] == "main.garbage" and s.labels["bytes"] == 4096)
        assert objects == 400000
        assert daemon.lost_events().keys() == {"ring_full"}
        target.ask("forget")
        assert daemon.stop()[0] == 0
        assert target.text_differences() == []
