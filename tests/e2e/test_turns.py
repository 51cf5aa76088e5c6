"""Source spans where places take turns in one size class: who takes a span from the allocator is not who uses it."""
import collections
import math
import re

import pytest

from conftest import LONG
from harness import golang
from harness.child import Answering
from harness.daemon import Daemon

PLACES = ("main.takeFirst", "main.takeSecond", "main.fillFirst", "main.fillSecond")
RATE = 500  # objects per millisecond
COUNTED = re.compile(r"a window of .*, [1-9][0-9]* stacks")
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


UNKNOWN = "no window has lately shown"


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
    """The profile, once windows have counted enough; on a busy machine one may find the program waiting for its turn."""
    for _ in range(60):
        program.ask(run)
        profile = collected(daemon, program)
        check_allocated(profile, program)
        if COUNTED.search(daemon.log()) and any("short windows" in text for text in profile.comments) and \
                not any(UNKNOWN in text for text in profile.comments):
            return profile
    raise AssertionError((profile.comments, daemon.log()))


# Of the two places: how many of its last objects each holds.
HELD = {"ab": (500_000, 500_000), "ab_one_holds": (500_000, 0), "abbb": (300_000, 900_000), "maps": (50_000, 150_000)}
CASES = [(19, "ab_one_holds"), (19, "maps"), (24, "abbb"), (24, "ab_one_holds"), (27, "ab"), (27, "maps")]
if LONG:
    CASES = [(minor, case) for minor in golang.VERSIONS for case in HELD]


def check_allocated(profile, program):
    """What each place allocates is right, or it is said that nobody knows."""
    if not any(UNKNOWN in text for text in profile.comments):
        check(shares(profile, "alloc_space"), program.shares()[0])


def check_in_use(profile, program, kept):
    """It is right, as far as samples are many, or flagged. True: it is not flagged."""
    is_flagged = bool(flagged(profile))
    if not is_flagged:
        ours = shares(profile, "inuse_space")
        for place, share in program.shares()[1].items():
            # Five standard deviations of its own samples.
            samples = max(1, share * 32 * kept / profile.period)
            check(ours, {place: share}, max(0.15, 5 / math.sqrt(samples)))
    return not is_flagged


def collected(daemon, program):
    for _ in range(3):
        program.ask("gc")
        profile = daemon.profile(program.pid)
    return profile


def id_of(value):
    return f"go1.{value}" if isinstance(value, int) else value


@pytest.mark.parametrize("version,case", CASES, ids=id_of)
def test_each_place_has_what_it_allocates(version, case):
    kind, kept = case.split("_")[0], HELD[case]
    with Turns(version) as program, Daemon(program.pid, arguments=WINDOWS) as daemon:
        assert daemon.wait_for_state(program.pid)["source"] == "spans"
        daemon.profile(program.pid)
        program.ask(f"keep {kept[0]} {kept[1]}")
        profile = until_divided(daemon, program, f"run {kind} {RATE} 1")
        check(shares(profile, "alloc_space"), program.shares()[0])
        if check_in_use(profile, program, sum(kept)):
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


EXACT = [(19, "abbb"), (22, "ab_one_holds"), (24, "ab"), (27, "abbb"), (27, "maps")]
if LONG:
    EXACT = [(minor, case) for minor in golang.VERSIONS for case in HELD]


@pytest.mark.parametrize("version,case", EXACT, ids=id_of)
def test_counts_divide_what_is_in_use(version, case):
    """Mode exact knows who allocates how much, so it also knows how much of a sampled run is whose."""
    kind, kept = case.split("_")[0], [objects // 2 for objects in HELD[case]]  # a third of what it allocates
    with Turns(version) as program, Daemon(program.pid, arguments=["--mode", "exact", "--live-heap"]) as daemon:
        row = daemon.wait_for_state(program.pid)
        assert (row["mode"], row["source"]) == ("exact", "spans"), row
        program.ask(f"keep {kept[0]} {kept[1]}")
        for _ in range(2):
            for _ in range(4):
                program.ask(f"run {kind} 200 1")
            profile = collected(daemon, program)
            check(shares(profile, "alloc_objects"), program.shares()[0], 1e-6)
            is_resolved = check_in_use(profile, program, sum(kept))
        row = daemon.targets()[program.pid]
        assert is_resolved == (not set(row["uncertain_sites"]) & set(PLACES)), row
        # What metrics count is what the profile has. The program does nothing meanwhile, but what it answered is still coming.
        daemon.wait_until(lambda: daemon.metrics().sum("goheapd_alloc_objects_total", pid=str(program.pid)) ==
                          daemon.profile(program.pid).total("alloc_objects"), "the metrics count otherwise")


@pytest.mark.parametrize("mode", ["exact", "sampled"])
def test_phases(mode):
    """The places work at different times and each holds its own last objects; then they take turns, and it changes who holds."""
    arguments = ["--mode", "exact", "--live-heap"] if mode == "exact" else WINDOWS
    with Turns(24) as program, Daemon(program.pid, arguments=arguments) as daemon:
        assert daemon.wait_for_state(program.pid)["source"] == "spans"
        daemon.profile(program.pid)
        program.ask("keep 80000 40000")
        for kinds in (("alone", "other"), ("alone", "other", "alone")):
            for kind in kinds:
                program.ask(f"run {kind} 200 1")
            profile = collected(daemon, program)
            check_allocated(profile, program)
            check_in_use(profile, program, 120_000)
        for kept in ("0 80000", "80000 0"):
            program.ask(f"keep {kept}")
            program.ask("run ab 200 1")
            profile = collected(daemon, program)
            check_allocated(profile, program)
            check_in_use(profile, program, 80_000)


@pytest.mark.parametrize("version,kind", [(24, "abbb"), (27, "ab")], ids=id_of)
def test_at_the_default_budget(version, kind):
    """A program that does more than allocate earns its windows within seconds, and until then it is said what is missing."""
    kept = [objects // 40 for objects in HELD[kind]]
    with Turns(version) as program, Daemon(program.pid, arguments=["--mode", "sampled", "--log.level", "debug"]) as daemon:
        assert daemon.wait_for_state(program.pid)["source"] == "spans"
        daemon.profile(program.pid)
        program.ask(f"keep {kept[0]} {kept[1]}")

        def resolved():
            program.ask(f"work {kind} 5 2")
            profile = collected(daemon, program)
            check_allocated(profile, program)
            return profile if check_in_use(profile, program, sum(kept)) else None
        profile = daemon.wait_until(resolved, "no windows, or none that say the same", 240)
        check(shares(profile, "alloc_space"), program.shares()[0])
        assert daemon.metrics().sum("goheapd_overhead_budget_ratio") == pytest.approx(0.01)
