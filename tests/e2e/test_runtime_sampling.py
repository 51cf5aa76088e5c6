"""--allow-runtime-sampling: the runtime's sampler is switched on in programs that have it off, and always off again."""
import json
import re
import signal
import subprocess

from harness.daemon import Daemon
from harness.target import Target

RATE = 512 * 1024


def rate_of(target):
    """runtime.MemProfileRate, read by its symbol."""
    symbols = subprocess.run(["nm", target.binary], capture_output=True, text=True, check=True).stdout
    address = re.search(r"^([0-9a-f]+) \w runtime\.MemProfileRate$", symbols, re.M)[1]
    with open(f"/proc/{target.pid}/mem", "rb") as memory:
        memory.seek(int(address, 16))
        return int.from_bytes(memory.read(8), "little")


def arguments(target, data):
    return ["--mode", "sampled", "--data-dir", str(data), "--allow-runtime-sampling", f"^{re.escape(str(target.binary))}$"]


def journal(data):
    return json.loads((data / "runtime-sampling.json").read_text())["enabled"]


def test_switched_on_and_back(minor, tmp_path):
    with Target.of(minor, tags="noprofile") as target:
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
            assert "which an earlier goheapd had set, is 0 again" in daemon.log()
            assert rate_of(target) == 0
            assert journal(tmp_path) == []


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
