"""Mode auto: what a program allocates once, between two slices, is given to nobody who has not allocated it."""
import time

from harness import golang
from harness.child import Child
from harness.daemon import Daemon

FILL = 200_000
FILLED = FILL * 256  # bytes
RATE = 2000  # objects per second that are dropped: half a MB
SECONDS = 120
REMAINDER = "[goheapd: allocated while nothing of this size was sampled]"


def ask(program, command):
    program.tell(command)
    word, *values = program.line().split()
    assert word == "ok", word
    return values


def of(profile, column, name):
    return profile.total(column, lambda sample: any(function == name for function in sample.functions()))


def test_cache_that_no_slice_has_seen_is_nobody_elses():
    with Child(golang.build(golang.VERSIONS[-1], program="fills"), GOGC="400") as program, \
            Daemon(program.pid, arguments=("--overhead-budget", "4")) as daemon:
        assert daemon.wait_for_state(program.pid)["source"] == "spans"
        daemon.wait_until(lambda: daemon.targets()[program.pid]["level"] in ("slices", "gc"), "slices", 60)
        ask(program, f"fill {FILL}")
        ask(program, f"trickle {RATE}")
        begin = time.monotonic()
        while of(daemon.profile(program.pid), "alloc_space", "main.dropSome") == 0:
            assert time.monotonic() - begin < SECONDS, daemon.log()
            difference = daemon.profile(program.pid, seconds=3)
            column = difference.column("alloc_space")
            # What gets its stack in between was allocated before.
            assert min((sample.values[column] for sample in difference.samples), default=0) >= 0
        ask(program, "gc")
        ask(program, "gc")
        profile = daemon.profile(program.pid)
        dropped = int(ask(program, "allocated")[0])
        told = {name: (of(profile, "alloc_space", name), of(profile, "inuse_space", name))
                for name in ("main.dropSome", "main.fillCache", REMAINDER)}
        allocated, held = told["main.dropSome"]
        # Of the cache it may get what chance allows.
        assert 0 < allocated <= 4 * dropped + FILLED / 5, (told, dropped)
        assert held <= FILLED / 10, told
        assert told["main.fillCache"][1] + told[REMAINDER][1] >= 0.9 * FILLED, told
        for name, (allocated, held) in told.items():
            assert held <= allocated * 1.001, (name, told)
