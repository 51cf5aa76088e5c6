"""Garbage collections seen from outside, against what the program itself prints with GODEBUG=gctrace=1."""
import contextlib
import datetime
import re

import pytest
from conftest import LONG
from harness import golang
from harness.child import Child
from harness.daemon import Daemon

# (cycles that the program runs, of which so many lines are compared). What goheapd remembers is 1000.
LONG_RUN = (1100, 1000)
SHORT_RUN = (220, 200)
EXACT_RUN = (90, 80)  # each allocation costs the program a trap
LEAK_CHECKS = 3  # that the program asks for, where its Go can
LEAK_CHECK = "(checking for goroutine leaks)"
FORCED = " (forced)"


class Collecting(Child):
    """The program gc_cycles, which is about to collect."""

    def __init__(self, minor, folder, cycles, experiment=""):
        self.trace = folder / "stderr"
        self.cycles = cycles
        binary = golang.build(minor, program="gc_cycles", experiment=experiment)
        with open(self.trace, "wb") as stderr:
            super().__init__(binary, cycles, stderr=stderr, greets=False, GODEBUG="gctrace=1", GOMAXPROCS="4")

    def run(self):
        assert self.ask("go") == "done"

    def printed(self):
        return [line for line in self.trace.read_text().splitlines() if line.startswith("gc ")]


def number(line):
    return int(line.split()[1])


def same_moment(daemon, program):
    """(our lines, the program's): a cycle may be ending when it says that it is done, and is printed a moment later."""
    def both():
        ours = daemon.get(f"/targets/{program.pid}/gctrace").text.splitlines()
        theirs = program.printed()
        return (ours, theirs) if ours and number(ours[-1]) == number(theirs[-1]) >= program.cycles else None
    return daemon.wait_until(both, "the last cycle is not seen")


def as_we_saw_it(ours, theirs):
    """Up to Go 1.20 a goroutine that waits to begin the next cycle says whether it forces that before the present one is
    printed, which then takes the word for its own."""
    wrong = [i for i, (our, their) in enumerate(zip(ours, theirs))
             if our != their and our.removesuffix(FORCED) == their.removesuffix(FORCED)]
    assert len(wrong) <= len(ours) // 100, wrong
    return [our if i in wrong else their for i, (our, their) in enumerate(zip(ours, theirs))]


def compare(daemon, program, minor, compared, experiment=""):
    ours, theirs = same_moment(daemon, program)
    assert compared <= len(ours) <= LONG_RUN[1]
    assert ours == (as_we_saw_it(ours, theirs[-len(ours):]) if minor == 19 else theirs[-len(ours):])
    # Here and there the heap grows enough between two of the forced ones.
    assert sum(line.endswith(FORCED) for line in ours) >= program.cycles // 10
    checks_for_leaks = minor >= 27 or "goroutineleakprofile" in experiment
    assert sum(LEAK_CHECK in line for line in ours) == (LEAK_CHECKS if checks_for_leaks else 0)
    metrics = daemon.metrics()
    pid = str(program.pid)
    assert metrics.sum("goheapd_gc_missed_cycles_total", pid=pid) == 0
    assert metrics.sum("goheapd_gc_cycles_total", pid=pid) >= number(ours[-1])
    assert metrics.sum("goheapd_gc_cpu_seconds_total", pid=pid, kind="dedicated") > 0
    assert metrics.sum("goheapd_heap_bytes", pid=pid, kind="marked") > 1 << 20
    # Each cycle stops the program twice, or more often; of the first ones only the sum may be known.
    assert metrics.sum("goheapd_gc_pause_seconds_count", pid=pid) >= 2 * compared


def check(mode, minor, folder, run, experiment=""):
    cycles, compared = run
    with Collecting(minor, folder, cycles, experiment) as program, Daemon(program.pid, arguments=["--mode", mode]) as daemon:
        daemon.wait_for_state(program.pid)
        program.run()
        compare(daemon, program, minor, compared, experiment)


@pytest.fixture(scope="module")
def all_versions(tmp_path_factory):
    """(a daemon, {minor: program}): side by side, under one daemon, each collects as often as is remembered of it."""
    with contextlib.ExitStack() as stack:
        programs = {minor: stack.enter_context(Collecting(minor, tmp_path_factory.mktemp(f"go1.{minor}"), LONG_RUN[0]))
                    for minor in golang.VERSIONS}
        daemon = stack.enter_context(Daemon(*(program.pid for program in programs.values()), arguments=["--mode", "sampled"]))
        for program in programs.values():
            daemon.wait_for_state(program.pid)
        for program in programs.values():
            program.tell("go")
        for program in programs.values():
            assert program.line(timeout=300) == "done"
        yield daemon, programs


def test_every_line_is_what_the_program_prints(all_versions, minor):
    """A thousand cycles of each version, of every kind: the heap has grown, forced, by a memory limit, to look for leaks."""
    daemon, programs = all_versions
    compare(daemon, programs[minor], minor, LONG_RUN[1])


def test_the_experiment_that_looks_for_leaks(tmp_path):
    check("sampled", 26, tmp_path, SHORT_RUN, "goroutineleakprofile")


def test_exact_mode_sees_the_same(tmp_path):
    check("exact", 27, tmp_path, LONG_RUN if LONG else EXACT_RUN)


def test_json_and_profile_tell_of_the_same_cycle(tmp_path):
    with Collecting(27, tmp_path, SHORT_RUN[0]) as program, Daemon(program.pid) as daemon:
        daemon.wait_for_state(program.pid)
        program.run()
        same_moment(daemon, program)

        def told_at_once():
            def cycles():
                return daemon.get(f"/api/v1/targets/{program.pid}/gc").json()["cycles"]
            before, profile, after = cycles(), daemon.profile(program.pid), cycles()
            return (after, profile) if before[-1]["cycle"] == after[-1]["cycle"] else None

        cycles, profile = daemon.wait_until(told_at_once, "the program collects all the time")
        assert [cycle["cycle"] for cycle in cycles] == list(range(cycles[0]["cycle"], cycles[0]["cycle"] + len(cycles)))
        assert len(cycles) >= SHORT_RUN[1]
        for cycle in cycles:
            began, ended = (datetime.datetime.fromisoformat(cycle[moment].rstrip("Z")) for moment in ("started_at", "ended_at"))
            parts = sum(cycle[f"{part}_seconds"] for part in ("sweep_termination_pause", "mark", "mark_termination_pause"))
            # Both are turned into times of day by two readings of clocks, between which goheapd may have to wait for a CPU.
            assert abs((ended - began).total_seconds() - parts) < 1
        ends = {cycle["cycle"]: cycle["ended_at"] for cycle in cycles}
        [comment] = [c for c in profile.comments if "GC cycle" in c]
        cycle, end = re.fullmatch(r"inuse as of GC cycle (\d+), which ended at (\S+)", comment).groups()
        # What a cycle frees is published by the end of the next.
        assert int(cycle) == cycles[-1]["cycle"] - 1
        assert end[:22] == ends[int(cycle)][:22]


def test_mode_buckets_sees_no_single_cycles(tmp_path):
    with Collecting(27, tmp_path, SHORT_RUN[0]) as program, Daemon(program.pid, arguments=["--mode", "buckets"]) as daemon:
        daemon.wait_for_state(program.pid)
        answer = daemon.get(f"/targets/{program.pid}/gctrace")
        assert answer.status == 409 and "buckets" in answer.json()["error"]
