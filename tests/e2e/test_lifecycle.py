"""Whatever happens to the daemon or the target, the target's work is right and its text is as it was."""
import contextlib
import os
import pathlib
import signal
import subprocess
import time

import pytest
from harness import golang
from harness.daemon import Daemon
from harness.target import Target, text_differences

MODES = ["sampled", "exact"]


def rounds_and_errors(target, command="status"):
    rounds, errors = (int(word) for word in target.ask(command))
    return rounds, errors


def assert_works(target):
    """The load goes on, and all that it has computed so far is right."""
    before, errors = rounds_and_errors(target)
    assert errors == 0
    deadline = time.monotonic() + 20
    while rounds_and_errors(target)[0] <= before:
        assert time.monotonic() < deadline, "the load stands still"
        time.sleep(0.01)


def start_daemon(target, mode):
    daemon = Daemon(target.pid, arguments=["--mode", mode])
    daemon.wait_for_state(target.pid)
    return daemon


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL], ids=lambda s: s.name)
def test_the_daemon_ends_under_load(some_minor, mode, how):
    with Target.of(some_minor, "stripped_pie") as target:
        target.ask("load 6")
        with start_daemon(target, mode) as daemon:
            assert_works(target)
            if mode == "exact":
                assert target.text_differences(), "no probe in the target: this test would prove nothing"
            code, seconds = daemon.stop(how)
            if how != signal.SIGKILL:
                assert code == 0 and seconds < 2, f"exit code {code} after {seconds:.1f} s:\n{daemon.log()}"
        # The kernel takes the probes out when the last descriptor of a killed daemon is closed: at once, but later.
        deadline = time.monotonic() + 3
        while target.text_differences() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert target.text_differences() == []
        assert_works(target)
        rounds, errors = rounds_and_errors(target, "stop")
        assert rounds > 0 and errors == 0
        assert target.exit() == 0


@pytest.mark.parametrize("mode", MODES)
def test_the_daemon_restarts(mode):
    with Target.of(24, "pie") as target:
        target.ask("load 4")
        for how in (signal.SIGTERM, signal.SIGKILL, signal.SIGTERM):
            with start_daemon(target, mode) as daemon:
                assert_works(target)
                assert daemon.profile(target.pid).samples
                daemon.stop(how)
            assert_works(target)
        time.sleep(0.1)
        assert target.text_differences() == []
        assert rounds_and_errors(target, "stop")[1] == 0


def test_two_daemons_do_not_disturb_each_other():
    with Target.of(24) as target:
        target.ask("load 4")
        with start_daemon(target, "exact") as first:
            with start_daemon(target, "exact") as second:
                assert_works(target)
                second.stop()
            assert_works(target)
            before = first.profile(target.pid).total("alloc_objects")
            assert_works(target)
            assert first.profile(target.pid).total("alloc_objects") > before
            first.stop()
        assert target.text_differences() == []
        assert rounds_and_errors(target, "stop")[1] == 0


@pytest.mark.parametrize("mode", MODES)
def test_the_target_exits(mode):
    with Target.of(24, profile_rate=1024) as target, start_daemon(target, mode) as daemon:
        target.run("direct", 3000)
        target.settle()
        seen = daemon.profile(target.pid).total("alloc_objects")
        assert seen > 0
        assert target.exit() == 0
        daemon.wait_for_state(target.pid, "exited", timeout=2)
        # Its last profile is still served, with functions and lines, though process and file mapping are gone.
        profile = daemon.profile(target.pid)
        assert profile.total("alloc_objects") >= seen
        assert any("main.direct" in sample.functions() for sample in profile.samples)


def test_an_exited_target_is_served_for_a_while_and_then_gone():
    with Target.of(24) as target, Daemon(target.pid, arguments=["--exited-retention", "3s"]) as daemon:
        daemon.wait_for_state(target.pid)
        assert daemon.profile(target.pid).period > 0   # its records have been read
        path = f"/targets/{target.pid}/debug/pprof/heap"
        assert target.exit() == 0
        daemon.wait_for_state(target.pid, "exited", timeout=2)
        assert daemon.get(path).status == 200
        daemon.wait_until(lambda: daemon.get(path).status == 410, "the profile is never dropped")
        assert "exited" in daemon.get(path).json()["error"]
        assert target.pid not in daemon.targets()


def test_an_exited_target_is_forgotten_in_the_end():
    with Target.of(24) as target:
        with Daemon(target.pid, arguments=["--exited-retention", "2s"]) as daemon:
            daemon.wait_for_state(target.pid)
            assert daemon.profile(target.pid).period > 0
            assert target.exit() == 0
            path = f"/targets/{target.pid}/debug/pprof/heap"
            daemon.wait_until(lambda: daemon.get(path).status == 410, "never forgotten", timeout=10)
            assert "exited" in daemon.get(path).json()["error"]


def test_an_exited_target_is_shown_as_it_was_last():
    """A profile that is of a part of the time says so after its program's end, too."""
    with Target.of(24, "stripped", tags="noprofile") as target, \
            Daemon(target.pid, arguments=["--overhead-budget", "0.01"]) as daemon:
        daemon.wait_for_state(target.pid)
        target.ask("load 4")
        path = f"/targets/{target.pid}/debug/pprof/heap?debug=1"
        daemon.wait_until(lambda: "\n# samples are taken " in daemon.get(path).text, "it is never sampled in slices", 60)
        target.kill()
        row = daemon.wait_for_state(target.pid, "exited", timeout=5)
        comment = "\n# samples are taken " if row["level"] == "slices" else "\n# no samples are taken "
        assert comment in daemon.get(path).text
        assert row["level"] in ("slices", "gc") and row["sample_rate"] > 0 and row["sampled_share"] < 1


def pidfds(pid):
    count = 0
    for link in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):   # closed just now
            count += os.readlink(link) == "anon_inode:[pidfd]"
    return count


@pytest.mark.parametrize("tags", ["", "noprofile"])
def test_exited_targets_hold_nothing_of_their_processes(tags, tmp_path):
    with Daemon.watching(tmp_path, ["--mode", "sampled"]) as daemon, contextlib.ExitStack() as stack:
        before = pidfds(daemon.process.pid)
        binary = golang.own(golang.build(24, "stripped", tags=tags), tmp_path / "program")
        targets = [stack.enter_context(Target(binary, profile_rate=None if tags else 1024)) for _ in range(5)]
        for target in targets:
            assert daemon.wait_for_state(target.pid)["source"] == ("spans" if tags else "runtime")
            target.run("direct", 1000)
            daemon.profile(target.pid)
            assert daemon.get(f"/targets/{target.pid}/metrics").status == 200
        assert pidfds(daemon.process.pid) > before + len(targets)
        for target in targets:
            assert target.exit() == 0
            daemon.wait_for_state(target.pid, "exited")
        daemon.wait_until(lambda: pidfds(daemon.process.pid) <= before, "the processes are still held")
        assert all(daemon.profile(target.pid).samples for target in targets)


def test_of_many_exited_targets_the_latest_are_kept(tmp_path):
    keeps = 256
    with Daemon.watching(tmp_path, ["--mode", "buckets"]) as daemon:
        binary = golang.own(golang.build(24, "stripped"), tmp_path / "program")
        exited = []
        together = 16  # those that are kept are whole such groups: who of one is seen to end first does not matter
        while len(exited) < keeps + together:
            with contextlib.ExitStack() as stack:
                targets = [stack.enter_context(Target(binary, profile_rate=1024)) for _ in range(together)]
                for target in targets:
                    daemon.wait_for_state(target.pid)
                    target.run("direct", 1000)
                    daemon.profile(target.pid)
                for target in targets:
                    assert target.exit() == 0
                pids = {target.pid for target in targets}
                daemon.wait_until(lambda: all(row["state"] == "exited" for pid, row in daemon.targets().items() if pid in pids),
                                  "their ends are not noticed")
                exited.extend(pids)
        # Go programs of others are listed, too, as ignored.
        kept = {pid for pid, row in daemon.targets().items() if row["state"] == "exited"}
        assert kept == set(exited[-keeps:])
        assert daemon.lost_events() == {"profile_dropped": len(exited) - keeps}
        answer = daemon.get(f"/targets/{exited[0]}/debug/pprof/heap")
        assert answer.status == 410 and "no profile of it is kept" in answer.json()["error"]
        assert daemon.profile(exited[-1]).samples


def test_samples_whose_stacks_went_with_the_process_are_counted():
    with Target.of(24, profile_rate=1024) as target, start_daemon(target, "sampled") as daemon:
        assert daemon.profile(target.pid).period > 0
        daemon.process.send_signal(signal.SIGSTOP)   # it cannot read what the records say of new stacks
        target.run("direct", 3000)
        assert target.exit() == 0
        daemon.process.send_signal(signal.SIGCONT)
        daemon.wait_for_state(target.pid, "exited", timeout=5)
        assert not any("main.direct" in sample.functions() for sample in daemon.profile(target.pid).samples)
        daemon.wait_until(lambda: daemon.lost_events().get("record_unread", 0) > 10, "nothing is counted as lost")


@pytest.mark.parametrize("mode", MODES)
def test_the_target_is_killed(mode):
    with Target.of(24) as target, start_daemon(target, mode) as daemon:
        assert daemon.profile(target.pid).period > 0
        target.ask("load 4")
        assert_works(target)
        target.process.kill()
        target.process.wait()
        daemon.wait_for_state(target.pid, "exited", timeout=2)
        assert daemon.get("/-/healthy").status == 200
        assert daemon.stop()[0] == 0


@pytest.mark.parametrize("mode", MODES)
def test_exec_in_the_middle(mode):
    """A process that becomes another Go program of another version is that program from then on."""
    with Target.of(21, profile_rate=1024) as target, start_daemon(target, mode) as daemon:
        target.ask("load 4")
        assert_works(target)
        assert daemon.targets()[target.pid]["go_version"].startswith("go1.21")
        version = target.ask(f"exec {golang.build(26, 'stripped')}")[0]
        assert version.startswith("go1.26")

        def is_followed():
            row = daemon.targets().get(target.pid)
            return row and row["state"] == "attached" and row["go_version"].startswith("go1.26")

        daemon.wait_until(is_followed, "the new program is not noticed", timeout=3)
        target.run("direct", 5000)
        target.settle()
        profile = daemon.profile(target.pid)
        objects = profile.total("alloc_objects", lambda s: s.functions()[0] == "main.direct")
        assert objects == 5000 if mode == "exact" else 3500 < objects < 6500
        # Nothing of the old program is left in it.
        assert not any("main.loadRound" in sample.functions() for sample in profile.samples)
        daemon.stop()
        assert target.text_differences() == []


def test_exec_of_a_program_that_is_not_go():
    with Target.of(24) as target, start_daemon(target, "sampled") as daemon:
        target.process.stdin.write(b"exec /bin/sleep 20\n")
        target.process.stdin.flush()

        def is_let_go():
            row = daemon.targets().get(target.pid)
            return row is None or row["state"] != "attached"

        daemon.wait_until(is_let_go, "still attached to what is /bin/sleep now", timeout=3)
        assert daemon.get("/-/healthy").status == 200


def test_a_target_that_starts_later(tmp_path):
    """One daemon, watching by executable: a program is found within a second of its start."""
    with Target.of(24) as first:
        binary = golang.own(golang.build(23, "pie"), tmp_path)
        # Without --pid, so --include keeps the daemon to our own file.
        daemon = Daemon.watching(binary)
        with daemon:
            assert first.pid not in {pid for pid, row in daemon.targets().items() if row["state"] == "attached"}
            began = time.monotonic()
            with Target(binary) as second:
                daemon.wait_for_state(second.pid, timeout=1.5)
                assert time.monotonic() - began < 1.5
                second.run("direct", 100)
                assert second.exit() == 0
            daemon.wait_for_state(second.pid, "exited", timeout=2)


def test_the_targets_children_are_not_touched():
    """A fork shares the target's text until it executes something else; it must work all the same."""
    with Target.of(24) as target, start_daemon(target, "exact") as daemon:
        result = target.ask("spawn 20")
        assert result == ["20"]
        assert target.mallocs()
        daemon.stop()
        assert target.text_differences() == []


def test_many_processes_of_one_file():
    binary = golang.build(24, "stripped")
    targets = [Target(binary) for _ in range(30)]
    try:
        with Daemon(*[t.pid for t in targets]) as daemon:
            for target in targets:
                daemon.wait_for_state(target.pid)
            for target in targets[::7]:
                target.run("direct", 10)
                assert daemon.profile(target.pid).sample_types
            # One symbol table, not thirty: the whole daemon stays small.
            status = open(f"/proc/{daemon.process.pid}/status").read()
            resident = int(next(l for l in status.splitlines() if l.startswith("VmRSS")).split()[1]) >> 10
            assert resident < 200, f"{resident} MiB"
            assert daemon.stop()[1] < 2
        for target in targets:
            assert target.text_differences() == []
    finally:
        for target in targets:
            target.kill()


def test_text_differences_can_tell():
    """The check of this file must be able to fail: a byte that we change ourselves is found."""
    with subprocess.Popen([golang.build(24)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        assert text_differences(process.pid) == []
        start = next(int(l.split("-")[0], 16) for l in open(f"/proc/{process.pid}/maps") if " r-xp " in l)
        with open(f"/proc/{process.pid}/mem", "r+b") as memory:
            memory.seek(start + 64)
            memory.write(b"\xcc")
        assert [(address, now) for address, _, now in text_differences(process.pid)] == [(hex(start + 64), 0xCC)]
        process.kill()
