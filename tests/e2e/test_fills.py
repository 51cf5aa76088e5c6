"""Mode auto: what a program allocates once, between two slices, is given to nobody who has not allocated it."""
import time

from harness import golang
from harness.child import Answering
from harness.daemon import Daemon
from harness.keepers import of_sites
from harness.pprof import UNSAMPLED

FILL = 200_000
FILLED = FILL * 256  # bytes
RATE = 2000  # objects per second that are dropped: half a MB
SECONDS = 120
NAMES = ("main.dropSome", "main.fillCache", UNSAMPLED)


def test_cache_that_no_slice_has_seen_is_nobody_elses():
    with Answering(golang.build(golang.VERSIONS[-1], program="fills"), GOGC="400") as program, \
            Daemon(program.pid, arguments=("--overhead-budget", "4")) as daemon:
        assert daemon.wait_for_state(program.pid)["source"] == "spans"
        daemon.wait_until(lambda: daemon.targets()[program.pid]["level"] in ("slices", "gc"), "slices", 60)
        program.ask(f"fill {FILL}")
        program.ask(f"trickle {RATE}")
        begin = time.monotonic()
        while of_sites(daemon.profile(program.pid), "alloc_space", NAMES)["main.dropSome"] == 0:
            assert time.monotonic() - begin < SECONDS, daemon.log()
            difference = daemon.profile(program.pid, seconds=3)
            column = difference.column("alloc_space")
            # What gets its stack in between was allocated before.
            assert min((sample.values[column] for sample in difference.samples), default=0) >= 0
        program.ask("gc")
        program.ask("gc")
        profile = daemon.profile(program.pid)
        [[dropped]] = program.numbers("allocated")
        alloc, inuse = (of_sites(profile, column, NAMES) for column in ("alloc_space", "inuse_space"))
        told = {name: (alloc[name], inuse[name]) for name in NAMES}
        allocated, held = told["main.dropSome"]
        # Of the cache it may get what chance allows.
        assert 0 < allocated <= 4 * dropped + FILLED / 5, (told, dropped)
        assert held <= FILLED / 10, told
        assert told["main.fillCache"][1] + told[UNSAMPLED][1] >= 0.9 * FILLED, told
        for name, (allocated, held) in told.items():
            assert held <= allocated * 1.001, (name, told)
