"""Source spans where places take turns in one size class: who takes a span from the allocator is not who uses it."""
import collections
import math

import pytest

from conftest import LONG
from harness import golang
from harness.child import Answering
from harness.daemon import Daemon

PLACES = ("main.takeFirst", "main.takeSecond", "main.fillFirst", "main.fillSecond")
RATE = 500  # objects per millisecond
# The program does little but allocate for some milliseconds at a time; it would have to wait for its next window.
WINDOWS = ["--mode", "sampled", "--log.level", "debug", "--overhead-budget", "50"]


class Turns(Answering):
    """tests/go_programs/turns, running, with so much ballast that it collects garbage seldom."""

    def __init__(self, minor):
        super().__init__(golang.build(minor, program="turns"), 64 << 20, GOMAXPROCS="2")

    def shares(self):
        """({function: share of all objects}, {function: share of those held})"""
        sites = {function: (int(objects), int(held)) for function, objects, held in self.ask("sites")}
        return tuple({function: values[i] / max(1, sum(v[i] for v in sites.values())) for function, values in sites.items()}
                     for i in (0, 1))


def shares(profile, column):
    index = profile.column(column)
    sums = collections.Counter()
    for sample in profile.samples:
        place = next((name for name in sample.functions() if name in PLACES), None)
        if place:
            sums[place] += sample.values[index]
    return {place: sums[place] / max(1, sums.total()) for place in PLACES}


def flagged(profile):
    return {name for sample in profile.samples if sample.labels.get("size_class") == "shared"
            for name in sample.functions() if name in PLACES}


def check(ours, truth, tolerance=0.15):
    wrong = {place: (ours[place], share) for place, share in truth.items() if abs(ours[place] - share) > tolerance * share}
    assert not wrong, wrong


def until_divided(daemon, program, run):
    """Runs until a window has counted."""
    for _ in range(30):
        program.ask(run)
        profile = daemon.profile(program.pid)
        if any("short windows" in text for text in profile.comments):
            return
    raise AssertionError((profile.comments, daemon.log()))


# Of the two places: how many of its last objects each holds.
HELD = {"ab": (500_000, 500_000), "ab_one_holds": (500_000, 0), "abbb": (300_000, 900_000), "maps": (50_000, 150_000)}
CASES = [(19, "ab_one_holds"), (19, "maps"), (24, "abbb"), (24, "ab_one_holds"), (27, "ab"), (27, "maps")]
if LONG:
    CASES = [(minor, case) for minor in golang.VERSIONS for case in HELD]


@pytest.mark.parametrize("version,case", CASES, ids=lambda value: f"go1.{value}" if isinstance(value, int) else value)
def test_each_place_has_what_it_allocates(version, case):
    kind, kept = case.split("_")[0], HELD[case]
    with Turns(version) as program, Daemon(program.pid, arguments=WINDOWS) as daemon:
        assert daemon.wait_for_state(program.pid)["source"] == "spans"
        daemon.profile(program.pid)
        program.ask(f"keep {kept[0]} {kept[1]}")
        until_divided(daemon, program, f"run {kind} {RATE} 1")
        program.ask(f"run {kind} {RATE} 1")
        for _ in range(3):
            program.ask("gc")
            profile = daemon.profile(program.pid)
        allocated, held = program.shares()
        check(shares(profile, "alloc_space"), allocated)
        # What is in use is right, as far as samples are many, or flagged.
        if not flagged(profile):
            samples = 32 * sum(kept) / profile.period
            check(shares(profile, "inuse_space"), held, max(0.15, 5 / math.sqrt(samples)))
            assert not set(daemon.targets()[program.pid]["uncertain_sites"]) & set(PLACES)
        # On a busy machine one cycle may follow the other before it was looked at, which is counted.
        assert not daemon.lost_events().keys() - {"stack_unreadable", "verdict_missed"}, daemon.lost_events()


def test_without_windows_it_is_said():
    """A window would take more of the program's time than it may: so the division is a guess, which nobody may miss."""
    with Turns(24) as program, \
            Daemon(program.pid, arguments=["--mode", "sampled", "--overhead-budget", "0.001"]) as daemon:
        assert daemon.wait_for_state(program.pid)["source"] == "spans"
        daemon.profile(program.pid)
        program.ask(f"run alone {RATE} 1")
        program.ask(f"run other {RATE} 1")
        profile = daemon.profile(program.pid)
        assert {"main.takeFirst", "main.takeSecond"} <= flagged(profile)
        assert any("no window has lately shown" in text for text in profile.comments), profile.comments
        assert {"main.takeFirst", "main.takeSecond"} <= set(daemon.targets()[program.pid]["uncertain_sites"])
