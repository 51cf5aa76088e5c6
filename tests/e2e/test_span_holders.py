"""Source spans where places that keep memory allocate in the same size classes, in random order, as places that let go of it:
who holds what can only be known from what the collector finds alive."""
import math

import pytest

from harness.daemon import Daemon
from harness.keepers import Keepers, of_sites

OBJECTS = 300_000
# Bytes of a run of small objects: a place's share is known no better than from how many runs it has opened.
RUN = 8192


def wrong_ones(ours, truth, total):
    """Of the places that have more than 5 % of the total: those further off than 15 %, or than four standard deviations of
    the runs that a place has opened."""
    return {site: (ours[site], size) for site, size in truth.items()
            if size >= 0.05 * total and abs(ours[site] - size) > max(0.15, 4 / math.sqrt(size / RUN)) * size}


@pytest.mark.parametrize("environment", [{}, {"GOGC": "30"}], ids=["gogc100", "gogc30"])
def test_who_keeps_and_who_drops(some_minor, environment):
    with Keepers(some_minor, **environment) as program, Daemon(program.pid, arguments=["--mode", "sampled"]) as daemon:
        assert daemon.wait_for_state(program.pid)["source"] == "spans"
        daemon.profile(program.pid)
        program.ask(f"run {OBJECTS} 500")
        for _ in range(3):
            program.ask("gc")
            profile = daemon.profile(program.pid)
        sites = program.sites()
        allocated = {site: values[0] for site, values in sites.items()}
        held = {site: values[1] for site, values in sites.items()}
        ours = of_sites(profile, "alloc_space", sites)
        assert not wrong_ones(ours, allocated, sum(allocated.values())), (ours, allocated, profile.comments)
        ours = of_sites(profile, "inuse_space", sites)
        assert not wrong_ones(ours, held, sum(held.values())), (ours, held, profile.comments)
        # Were the verdicts of the collector's mark bits turned round, or all the same, this would be seen.
        for wrong in (lambda site: allocated[site] - ours[site], lambda site: 0,
                      lambda site: allocated[site] * sum(ours.values()) // sum(allocated.values())):
            assert wrong_ones({site: wrong(site) for site in sites}, held, sum(held.values())), held
        # Those that keep nothing have at most the runs whose first object was marked when it was about to die.
        kept_nothing = sum(ours[site] for site, size in held.items() if size == 0)
        assert kept_nothing < 0.01 * sum(held.values()), (ours, held, profile.comments)
        program.ask("drop")
        for _ in range(3):
            program.ask("gc")
            profile = daemon.profile(program.pid)
        left = sum(of_sites(profile, "inuse_space", sites).values())
        assert left < 0.01 * sum(held.values()), profile.comments
