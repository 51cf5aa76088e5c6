"""Programs that become other programs at any moment while goheapd looks at them: none gets a probe that was meant for
another."""
import contextlib
import datetime
import random
import time

import pytest
from harness import golang
from harness.daemon import Daemon
from harness.target import Target

PROCESSES = 3
EXECS = 25


def assert_is_followed(daemon, target, since):
    """It is profiled as what it has become at the latest then."""
    def is_attached():
        row = daemon.targets().get(target.pid)
        return (row and row["state"] == "attached" and row["go_version"] == target.version
                and datetime.datetime.fromisoformat(row["attached_at"]).timestamp() >= since)

    daemon.wait_until(is_attached, f"pid {target.pid} is not followed as {target.version}")
    target.run("direct", 2000)
    target.settle()
    profile = daemon.profile(target.pid)
    assert profile.total("alloc_objects", lambda s: s.functions()[0] == "main.direct") > 0


@pytest.mark.parametrize("mode", ["auto", "exact"])
def test_programs_become_others_again_and_again(mode, tmp_path):
    """Neither is position independent: what is a place for a probe in the one is the middle of an instruction in the other."""
    binaries = [golang.own(golang.build(21), tmp_path), golang.own(golang.build(26, "stripped"), tmp_path)]
    moments = random.Random(6)
    with contextlib.ExitStack() as stack:
        daemon = stack.enter_context(Daemon.watching(tmp_path, arguments=["--mode", mode]))
        targets = [stack.enter_context(Target(binaries[0], profile_rate=1024)) for _ in range(PROCESSES)]
        for i in range(1, EXECS + 1):
            executed = time.time() - 0.002   # what goheapd says is cut to milliseconds
            for target in targets:
                target.version = target.ask(f"exec {binaries[i % 2]}")[0]
            # From "nobody has looked yet" to "attached and read".
            time.sleep(moments.choice([0, 0, 0.002, 0.005, 0.01, 0.02, 0.05, 0.15]))
            for target in targets:
                target.run("direct", 50)
        for target in targets:
            assert_is_followed(daemon, target, executed)
        assert daemon.stop()[0] == 0
        for target in targets:
            assert target.text_differences() == []
            target.run("direct", 50)
            assert target.exit() == 0
