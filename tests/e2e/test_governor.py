"""Mode auto: slow allocators are counted, storms are not, and the values stay right across the moves."""
import json
import time

import pytest
from conftest import LONG
from harness import golang
from harness.daemon import Daemon
from harness.phases import Phases

# Per second, on a CPU that is kept busy: counting them takes a tenth of the budget.
SLOW = 500


def row_of(daemon, program):
    return daemon.targets()[program.pid]


def wait_for_mode(daemon, program, mode, timeout=90):
    return daemon.wait_until(lambda: (row := row_of(daemon, program))["mode"] == mode and row,
                             f"not in mode {mode}", timeout)


def counted(daemon, program):
    return daemon.metrics().sum("goheapd_alloc_objects_total", pid=str(program.pid))


# A level is held for at least 10 s, so each version takes its time.
@pytest.mark.parametrize("version", golang.VERSIONS if LONG else [golang.VERSIONS[0], golang.VERSIONS[-1]])
def test_slow_allocators_are_counted_and_storms_are_not(version):
    with Phases(version) as program:
        program.ask(f"compute {SLOW}")
        with Daemon(program.pid) as daemon:
            assert daemon.wait_for_state(program.pid)["mode"] == "sampled"
            row = wait_for_mode(daemon, program, "exact")
            assert row["source"] == "runtime" and row["mode_changes"] == 1 and "0." in row["reason"], row
            # From here on every object counts. What is between two answers can be on either side.
            before = program.objects(), counted(daemon, program), program.objects()
            time.sleep(2)
            after = program.objects(), counted(daemon, program), program.objects()
            # The runtime and the commands that we give allocate a little, too.
            assert after[0] - before[2] <= after[1] - before[1] <= after[2] - before[0] + 500
            assert row_of(daemon, program)["mode"] == "exact"
            # The live heap goes on, and counted allocations stand in the profile under their function.
            heap = daemon.profile(program.pid)
            assert heap.total("inuse_space") > 0
            assert heap.total("alloc_objects", lambda s: "main.allocate" in s.functions()) >= after[0] - before[0]
            assert any("every allocation was counted" in comment for comment in heap.comments), heap.comments

            program.ask("storm")
            row = wait_for_mode(daemon, program, "sampled", 10)
            assert row["mode_changes"] == 2 and "the budget is 1.00 %" in row["reason"], row
            assert daemon.metrics().sum("goheapd_mode_changes_total", pid=str(program.pid)) == 2
            assert row["reason"] in daemon.log()
            first, estimate = program.objects(), counted(daemon, program)
            time.sleep(3)
            own, ours = program.objects() - first, counted(daemon, program) - estimate
            # 64-byte objects at one sample per 512 KiB: the standard error of n objects is sqrt(8192 n).
            assert abs(ours - own) < 6 * (8192 * own) ** 0.5 + 0.05 * own, (ours, own)
            assert not daemon.lost_events()
            assert daemon.stop()[0] == 0
        assert program.ask("idle") == "done"


def test_the_whole_is_right_across_moves():
    """Counted and sampled periods add up to what the program allocated."""
    with Phases(golang.VERSIONS[-1]) as program:
        with Daemon(program.pid, arguments=["--overhead-budget", "3"]) as daemon:
            daemon.wait_for_state(program.pid)
            program.ask("storm")
            time.sleep(2)
            program.ask(f"compute {SLOW}")
            wait_for_mode(daemon, program, "exact")
            program.ask("storm")
            wait_for_mode(daemon, program, "sampled", 10)
            time.sleep(2)
            program.ask("idle")
            time.sleep(0.3)
            own, ours = program.objects(), daemon.profile(program.pid, "allocs").total(
                "alloc_objects", lambda s: "main.allocate" in s.functions())
            assert abs(ours - own) < 6 * (8192 * own) ** 0.5 + 0.01 * own, (ours, own)


@pytest.mark.parametrize("mode", ["sampled", "exact"])
def test_other_modes_stay_what_they_are(mode):
    with Phases(24) as program:
        program.ask("storm" if mode == "sampled" else f"compute {SLOW}")
        with Daemon(program.pid, arguments=["--mode", mode]) as daemon:
            daemon.wait_for_state(program.pid)
            time.sleep(2.5)
            row = row_of(daemon, program)
            assert row["mode"] == mode and row["mode_changes"] == 0
            assert row["overhead_ratio"] > 0, json.dumps(row)
            if mode == "exact":
                # Told, not throttled.
                program.ask("storm")
                daemon.wait_until(lambda: "--overhead-budget 1 allows" in daemon.log(), "no warning")
                assert row_of(daemon, program)["mode"] == "exact"


def test_a_storm_without_the_runtimes_sampler():
    """Every refill of a span is a hit: where that is too much, sampling thins out, and then comes in slices."""
    with Phases(golang.VERSIONS[-1], tags="noprofile") as program:
        program.ask(f"compute {SLOW}")
        with Daemon(program.pid) as daemon:
            row = daemon.wait_for_state(program.pid)
            assert row["mode"] == "sampled" and row["source"] == "spans"
            program.ask("storm")
            row = daemon.wait_until(lambda: (row := row_of(daemon, program))["mode_changes"] >= 2 and row, "no move", 20)
            assert row["mode"] == "sampled" and " to slices: " in row["reason"], row
            assert "sampled to sparse" in daemon.log() and "the budget is 1.00 %" in row["reason"]
            # Slices go on for as long as the storm does: what allocates now is found, and told from what did before.
            program.ask("other")

            def found():
                profile = daemon.profile(program.pid)
                return profile if profile.total("alloc_space", lambda s: "main.allocateElsewhere" in s.functions()) else None
            profile = daemon.wait_until(found, "no slice", 120)
            assert any("% of the time, in slices of 0.1 s" in comment for comment in profile.comments), profile.comments
            assert row_of(daemon, program)["mode_changes"] == 2
            # In a storm the collector may be done before a verdict on all objects is read, which is counted.
            assert not daemon.lost_events().keys() - {"verdict_missed"}
            assert daemon.stop()[0] == 0
