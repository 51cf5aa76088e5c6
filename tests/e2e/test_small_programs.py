"""Mode auto: of a program that uses little of a CPU the share that probes take is large, and the amount is not. It gets enough
samples nevertheless to tell the functions of one size class from each other, and to see a small leak."""
import math
import time

from harness import golang
from harness.daemon import Daemon
from harness.keepers import Keepers, of_sites

# 1.4 MB/s of a runtime that does not sample, in two percent of a CPU: a run is opened 170 times a second.
CHUNK = "run 7000 14000"
WARM_UP = 10  # seconds, in which the governor finds a level
SAMPLES = 300  # 30 seconds at 10 a second, which is what a trap of 10 us leaves of 170
SECONDS = 50
# Where samples are taken in slices, those of short ones weigh more than those of long ones: as if they were a quarter of them.
EVENNESS = 0.25
CLASSES = (64, 208, 512)


def class_of(site):
    return next(size for name, size in zip(("Small", "Medium", "Larger"), CLASSES) if site.endswith(name))


def samples(daemon):
    return daemon.metrics().sum("goheapd_events_total", kind="span_run_opened")


def bounds(truth, taken):
    """{site: how far off it may be}: five standard deviations of how many of its class's samples are its own."""
    total, errors = sum(truth.values()), {}
    for site, size in truth.items():
        of_class = sum(other for name, other in truth.items() if class_of(name) == class_of(site))
        share, seen = size / of_class, EVENNESS * taken * of_class / total
        errors[site] = 5 * math.sqrt(share * (1 - share) / seen) * of_class
    return errors


def test_functions_of_a_small_program_are_told_apart():
    with Keepers(golang.VERSIONS[-1]) as program, Daemon(program.pid) as daemon:
        assert daemon.wait_for_state(program.pid)["source"] == "spans"
        daemon.profile(program.pid)  # the books are open
        begin = time.monotonic()
        while time.monotonic() - begin < WARM_UP:
            program.ask(CHUNK)
        before = samples(daemon)
        while samples(daemon) - before < SAMPLES:
            row = daemon.targets()[program.pid]
            assert time.monotonic() - begin < SECONDS, (samples(daemon) - before, row, daemon.log())
            program.ask(CHUNK)
        taken, row = samples(daemon) - before, daemon.targets()[program.pid]
        # Told as it is, and within what the program may be asked for: of one CPU it is next to nothing.
        assert 0.01 < row["overhead_limit"] <= 0.04, row
        assert row["overhead_ratio"] < 0.05 and row["level"] in ("slices", "sampled"), row
        for _ in range(2):
            program.ask("gc")
            profile = daemon.profile(program.pid)
        sites = program.sites()
        truth = {site: allocated for site, (allocated, _) in sites.items()}
        ours, errors = of_sites(profile, "alloc_space", sites), bounds(truth, taken)
        wrong = {site: (ours[site], size, errors[site]) for site, size in truth.items() if abs(ours[site] - size) > errors[site]}
        assert not wrong, (wrong, taken, row, profile.comments)
        # What keeps a fiftieth of all objects, and all of them, is seen.
        leak, held = of_sites(profile, "inuse_space", sites)["main.leaksMedium"], sites["main.leaksMedium"][1]
        assert 0 < leak < held + errors["main.leaksMedium"], (leak, held, errors, row, profile.comments)
