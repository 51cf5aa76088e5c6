"""--allow-runtime-sampling: the runtime's sampler is switched on in programs that have it off, and always off again."""
import contextlib
import json
import os
import re
import signal
import stat
import subprocess

import pytest

from conftest import LONG
from harness import golang
from harness.daemon import Daemon
from harness.life_ledger import LifeLedger
from harness.target import Target

RATE = 512 * 1024


def rate_of(target):
    """runtime.MemProfileRate, read by its symbol."""
    symbols = subprocess.run(["nm", target.binary], capture_output=True, text=True, check=True).stdout
    address = re.search(r"^([0-9a-f]+) \w runtime\.MemProfileRate$", symbols, re.M)[1]
    with open(f"/proc/{target.pid}/mem", "rb") as memory:
        memory.seek(int(address, 16))
        return int.from_bytes(memory.read(8), "little")


def arguments(target, data, *more):
    return ["--mode", "sampled", "--data-dir", str(data), "--allow-runtime-sampling", f"^{re.escape(str(target.binary))}$", *more]


def refused(daemon, reason):
    """Metrics are made about once a second."""
    return daemon.wait_until(lambda: daemon.metrics().sum("goheapd_runtime_sampling_refused_total", reason=reason),
                             f"no refusal because of {reason} is counted")


@contextlib.contextmanager
def small_disk(folder, *options):
    """A file system of its own."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", ",".join(["size=64k", "mode=700", *options]), "goheapd-test", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(folder):
    """Leaves not a byte."""
    with open(folder / "filler", "wb", buffering=0) as file:
        with pytest.raises(OSError, match="No space left"):
            while True:
                file.write(bytes(4096))


def journal(data):
    return json.loads((data / "runtime-sampling.json").read_text())["enabled"]


def test_switched_on_and_back(some_minor, tmp_path):
    with Target.of(some_minor, tags="noprofile") as target:
        assert rate_of(target) == 0
        with Daemon(target.pid, arguments=arguments(target, tmp_path)) as daemon:
            row = daemon.wait_for_state(target.pid)
            assert row["source"] == "enabled" and row["sample_rate"] == RATE, row
            assert rate_of(target) == RATE
            assert [entry["pid"] for entry in journal(tmp_path)] == [target.pid]
            # 128 MB in objects of 64 bytes: 244 samples, a standard error of 6 %.
            target.run("direct", 2_000_000)
            target.settle()
            profile = daemon.profile(target.pid, "allocs")
            allocated = profile.total("alloc_space", lambda s: s.labels["bytes"] == 64)
            assert 0.6 * 128e6 < allocated < 1.4 * 128e6
            assert any("--allow-runtime-sampling" in comment for comment in profile.comments), profile.comments
            assert "MemProfileRate" in daemon.log()
            assert daemon.metrics().sum("goheapd_target_writes_total") == 1
            assert daemon.stop()[0] == 0
        assert rate_of(target) == 0
        assert journal(tmp_path) == []
        target.run("direct", 100)


def test_set_back_after_a_crash(tmp_path):
    with Target.of(24, tags="noprofile") as target:
        with Daemon(target.pid, arguments=arguments(target, tmp_path)) as daemon:
            daemon.wait_for_state(target.pid)
            daemon.stop(signal.SIGKILL)
        assert rate_of(target) == RATE
        # The next daemon does not want it any more.
        with Daemon(target.pid, arguments=["--data-dir", str(tmp_path)]) as daemon:
            assert "which goheapd had set, is 0 again" in daemon.log()
            assert rate_of(target) == 0
            assert journal(tmp_path) == []


@pytest.mark.parametrize("change,state,source", [("exclude: ['.*']", "ignored", None), ("", "attached", "spans")],
                         ids=["excluded", "not_allowed"])
def test_set_back_when_the_configuration_says_so(change, state, source, tmp_path):
    """A reload that leaves the program out, or does not allow it any more."""
    config = tmp_path / "goheapd.yml"
    with Target.of(24, tags="noprofile") as target:
        allowed = f"allow-runtime-sampling: ['^{re.escape(str(target.binary))}$']\n"
        config.write_text("mode: sampled\n" + allowed)
        with Daemon(target.pid, arguments=["--config", config, "--data-dir", tmp_path]) as daemon:
            assert daemon.wait_for_state(target.pid)["source"] == "enabled"
            assert rate_of(target) == RATE
            config.write_text(f"mode: sampled\n{change}\n")
            daemon.process.send_signal(signal.SIGHUP)
            row = daemon.wait_until(lambda: (row := daemon.targets()[target.pid])["state"] == state and row["source"] == source and row,
                                    "the reload changes nothing")
            assert rate_of(target) == 0, row
            assert journal(tmp_path) == []
            assert daemon.metrics().sum("goheapd_target_writes_total") == 2  # on, and off
            assert daemon.stop()[0] == 0
        assert rate_of(target) == 0


@pytest.mark.parametrize("mode", [["--mode", "sampled"], ["--mode", "exact", "--live-heap"]], ids=["sampled", "exact"])
def test_switched_on_when_the_configuration_comes_to_allow_it(mode, tmp_path):
    """A reload that allows it in one program more; the other's books go on. The next reload takes it back."""
    config, data = tmp_path / "goheapd.yml", tmp_path / "data"
    with Target.of(24, tags="noprofile") as target, Target.of(27, tags="noprofile") as other:
        programs = (target, other)
        nobody = "allow-runtime-sampling: ['^/not/these$']\n"  # without this flag at its start goheapd cannot write at all
        allowed = f"allow-runtime-sampling: ['^/not/these$', '^{re.escape(str(target.binary))}$']\n"
        config.write_text(nobody)
        with Daemon(target.pid, other.pid, arguments=["--config", config, "--data-dir", data, *mode]) as daemon:
            def after_reload(text, *sources):
                config.write_text(text)
                daemon.process.send_signal(signal.SIGHUP)

                def rows():
                    found = [daemon.targets()[program.pid] for program in programs]
                    return [(row["state"], row["source"]) for row in found] == [("attached", source) for source in sources] and found
                return daemon.wait_until(rows, f"not {sources} after the reload")

            assert [daemon.wait_for_state(program.pid)["source"] for program in programs] == ["spans", "spans"]
            for program in programs:
                program.run("direct", 100)
            after_reload(allowed, "enabled", "spans")
            assert [rate_of(program) for program in programs] == [RATE, 0]
            assert [entry["pid"] for entry in journal(data)] == [target.pid]
            assert "wrote MemProfileRate" in daemon.log()
            # 32 MB in objects of 64 bytes: 61 samples, a standard error of 13 %.
            target.run("direct", 500_000)
            target.settle()
            assert daemon.profile(target.pid).total("inuse_space", lambda s: s.labels["bytes"] == 64) > 0.4 * 32e6
            after_reload(allowed + "overhead-budget: 2\n", "enabled", "spans")
            assert daemon.metrics().sum("goheapd_target_writes_total") == 1
            after_reload(nobody, "spans", "spans")
            assert [rate_of(program) for program in programs] == [0, 0]
            assert journal(data) == []
            assert daemon.metrics().sum("goheapd_target_writes_total") == 2
            assert daemon.log().count(f"pid {other.pid} (") == 1, "attached again"
            assert daemon.stop()[0] == 0
        assert [rate_of(program) for program in programs] == [0, 0]


def test_not_where_it_is_not_allowed(tmp_path):
    with Target.of(24, tags="noprofile") as target, Target.of(27, tags="noprofile") as other:
        with Daemon(target.pid, other.pid, arguments=arguments(other, tmp_path)) as daemon:
            daemon.wait_for_state(other.pid)
            assert rate_of(target) == 0 and rate_of(other) == RATE
    with Target.of(24, profile_rate=4096) as target:  # on already: nothing to switch
        with Daemon(target.pid, arguments=arguments(target, tmp_path)) as daemon:
            assert daemon.wait_for_state(target.pid)["source"] == "runtime"
            assert daemon.metrics().sum("goheapd_target_writes_total") == 0
        assert rate_of(target) == 4096


def test_a_value_that_somebody_else_set_is_left_alone(tmp_path):
    with Target.of(24, tags="noprofile") as target:
        with Daemon(target.pid, arguments=arguments(target, tmp_path)) as daemon:
            daemon.wait_for_state(target.pid)
            target.ask("rate 8192")
            daemon.stop()
            assert "somebody else has set it" in daemon.log()
        assert rate_of(target) == 8192


@pytest.mark.parametrize("version", golang.VERSIONS if LONG else [golang.VERSIONS[0], golang.VERSIONS[-1]])
def test_switched_off_when_its_records_take_too_much(version, tmp_path):
    """The runtime's table of records takes 1.4 MiB, and each of these stacks 400 bytes more, of which two thirds are sampled."""
    with LifeLedger(version, 1000) as program, \
            Daemon(program.pid, arguments=arguments(program, tmp_path, "--runtime-sampling-memory", "2")) as daemon:
        assert daemon.wait_for_state(program.pid)["source"] == "enabled"
        program.ask("stacks 300")
        daemon.profile(program.pid)
        assert rate_of(program) == RATE  # not yet
        program.ask("stacks 4096")
        row = daemon.wait_until(lambda: (row := daemon.targets()[program.pid])["source"] == "spans" and row, "not switched off")
        assert rate_of(program) == 0
        assert "more than the 2 MiB of --runtime-sampling-memory" in row["reason"], row
        assert row["state"] == "attached" and row["mode"] == "sampled"
        assert refused(daemon, "memory") == 1
        assert journal(tmp_path) == []
        # And stays off, even if the configuration is read again, while the profile goes on without it.
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_until(lambda: "configuration reloaded" in daemon.log(), "not reloaded")
        assert daemon.profile(program.pid).total("alloc_space") > 0
        assert rate_of(program) == 0
        assert daemon.metrics().sum("goheapd_target_writes_total") == 2


def check_not_switched_on(target, daemon, why):
    row = daemon.wait_for_state(target.pid)
    assert row["source"] == "spans" and "the runtime's sampler is not switched on" in row["reason"], row
    assert "journal" in row["reason"] and why in row["reason"], row
    assert rate_of(target) == 0
    assert refused(daemon, "journal") >= 1
    assert daemon.metrics().sum("goheapd_target_writes_total") == 0


def test_not_where_it_cannot_be_noted(tmp_path):
    with Target.of(27, tags="noprofile") as target:
        with small_disk(tmp_path / "read-only", "ro") as folder, Daemon(target.pid, arguments=arguments(target, folder)) as daemon:
            check_not_switched_on(target, daemon, "Read-only file system")
        with small_disk(tmp_path / "full") as folder:
            fill(folder)
            with Daemon(target.pid, arguments=arguments(target, folder)) as daemon:
                check_not_switched_on(target, daemon, "No space left on device")
            assert [file.name for file in folder.iterdir()] == ["filler"]
        # A directory that never was one cannot be a mistake of the moment.
        (tmp_path / "file").touch()
        with Daemon.starting(*arguments(target, tmp_path / "file"), "--include", "^$") as daemon:
            assert daemon.process.wait(30) == 1
            assert "data directory" in daemon.log()


def test_a_disk_that_is_full_when_it_is_switched_off(tmp_path):
    """What the journal says last is not true any more; nobody may act on it."""
    with Target.of(24, tags="noprofile") as target, small_disk(tmp_path / "disk") as folder:
        with Daemon(target.pid, arguments=arguments(target, folder)) as daemon:
            assert daemon.wait_for_state(target.pid)["source"] == "enabled"
            fill(folder)
            assert daemon.stop()[0] == 0
            assert "No space left on device" in daemon.log()
        assert rate_of(target) == 0
        target.ask(f"rate {RATE}")  # its own wish now
        (folder / "filler").unlink()
        with Daemon(target.pid, arguments=arguments(target, folder)) as daemon:
            assert daemon.wait_for_state(target.pid)["source"] == "runtime"
        assert rate_of(target) == RATE


def test_two_daemons(tmp_path):
    """Who comes second finds a runtime that samples, and claims nothing; when the first has gone, it is its turn."""
    with Target.of(24, tags="noprofile") as target, \
            Daemon(target.pid, arguments=arguments(target, tmp_path / "first")) as first:
        assert first.wait_for_state(target.pid)["source"] == "enabled"
        with Daemon(target.pid, arguments=arguments(target, tmp_path / "second")) as second:
            row = second.wait_for_state(target.pid)
            assert row["source"] == "runtime" and row["sample_rate"] == RATE, row
            assert journal(tmp_path / "second") == []
            assert second.metrics().sum("goheapd_target_writes_total") == 0
            assert second.stop()[0] == 0
        assert rate_of(target) == RATE
        with Daemon(target.pid, arguments=arguments(target, tmp_path / "second")) as second:
            assert second.wait_for_state(target.pid)["source"] == "runtime"
            assert first.stop()[0] == 0
            second.wait_until(lambda: second.targets()[target.pid]["source"] == "enabled", "not switched on again")
            assert rate_of(target) == RATE and [entry["pid"] for entry in journal(tmp_path / "second")] == [target.pid]
            assert second.stop()[0] == 0
        assert rate_of(target) == 0


def test_two_daemons_at_the_same_moment(tmp_path):
    """Both may have switched it on; it is off when both have gone, and both journals say so."""
    with Target.of(24, tags="noprofile") as target:
        folders = [tmp_path / "first", tmp_path / "second"]
        with contextlib.ExitStack() as stack:
            daemons = [stack.enter_context(Daemon.starting(*arguments(target, folder), "--pid", str(target.pid), "--include", ".*"))
                       for folder in folders]
            for daemon in daemons:
                daemon.wait_until(lambda: "attached in mode" in daemon.log(), "not attached", 45)
            assert rate_of(target) == RATE
            for daemon in daemons:
                daemon.process.send_signal(signal.SIGTERM)
            assert [daemon.process.wait(30) for daemon in daemons] == [0, 0]
        assert rate_of(target) == 0
        assert [journal(folder) for folder in folders] == [[], []]


def test_nobody_else_may_write_the_journal(tmp_path):
    """What is in it is written into programs."""
    with Target.of(24, tags="noprofile") as target:
        def refused_start(data, why):
            with Daemon.starting(*arguments(target, data), "--pid", str(target.pid), "--include", ".*") as daemon:
                assert daemon.process.wait(30) == 1
                assert why in daemon.log()
            assert rate_of(target) == 0

        before = os.umask(0)
        try:
            made = tmp_path / "made" / "by-goheapd"
            with Daemon(target.pid, arguments=arguments(target, made)) as daemon:
                daemon.wait_for_state(target.pid)
                assert journal(made) and daemon.stop()[0] == 0
        finally:
            os.umask(before)
        assert [stat.S_IMODE(path.stat().st_mode) for path in (made.parent, made, made / "runtime-sampling.json")] == [
            0o700, 0o700, 0o600]
        (made / "runtime-sampling.json").chmod(0o622)
        refused_start(made, "others may write the journal")
        (made / "runtime-sampling.json").chmod(0o600)
        for mode in (0o720, 0o702, 0o1777):
            made.chmod(mode)
            refused_start(made, "others may write the data directory")
        made.chmod(0o700)
        os.chown(made, 12345, 12345)
        refused_start(made, "belongs to another user")


def test_one_journal_is_not_for_two(tmp_path):
    """The second would take what the first has switched on for the rest of a crash."""
    with Target.of(24, tags="noprofile") as target:
        with Daemon(target.pid, arguments=arguments(target, tmp_path)) as first:
            first.wait_for_state(target.pid)
            with Daemon.starting(*arguments(target, tmp_path), "--pid", str(target.pid), "--include", ".*") as second:
                assert second.process.wait(30) == 1
                assert "another goheapd uses this data directory" in second.log()
            # One that may not write at all works beside it.
            with Daemon(target.pid, arguments=["--data-dir", str(tmp_path)]) as third:
                third.wait_for_state(target.pid)
                # A program that has just started may be about to set its rate to 0, so it is looked at again.
                third.wait_until(lambda: third.targets()[target.pid]["source"] == "runtime", "the sampler is not found")
            assert rate_of(target) == RATE
            assert [entry["pid"] for entry in journal(tmp_path)] == [target.pid]
        assert rate_of(target) == RATE  # `first` was killed
        with Daemon(target.pid, arguments=["--data-dir", str(tmp_path)]):
            assert rate_of(target) == 0
