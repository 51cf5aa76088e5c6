"""Exact mode counts every allocation once, and puts it where the Go runtime would."""
import re

import pytest
from harness.daemon import Daemon
from harness.target import Target

# Enough of each to make stacks grow, goroutines be preempted and the collector run; tens of thousands of allocations.
SIZES = {"stacks": 60, "goroutines": 1500, "preempted": 3000, "large": 3, "deep": 20}
# Frames that the kernel side walks at least.
MINIMUM_DEPTH = 64


def quiet_counts(daemon, target):
    """(Mallocs of the runtime, objects of goheapd's profile, that profile) while the target does nothing.

    The runtime itself may allocate a little after a command (a new thread's m): then the counts are asked again.
    """
    for _ in range(20):
        before = target.mallocs()[0]
        profile = daemon.profile(target.pid, "allocs")
        if target.mallocs()[0] == before:
            return before, profile.total("alloc_objects"), profile
    raise AssertionError("the target never comes to rest")


def as_callers_frames(name):
    """runtime.CallersFrames prints [...] for type arguments (Go 1.21 and later), a profile has them in full."""
    return re.sub(r"\[.*\]", "[...]", name)


def stack_of(sample):
    return [(as_callers_frames(function), file, line) for function, file, line in sample.frames()]


def test_counts_equal_mallocs(minor, variant):
    with Target.of(minor, variant) as target:
        with Daemon(target.pid, arguments=["--mode", "exact"]) as daemon:
            assert daemon.wait_for_state(target.pid)["mode"] == "exact"
            mallocs, counted, _ = quiet_counts(daemon, target)
            wrong = {}
            for scenario in target.scenarios():
                before = mallocs, counted
                target.run(scenario, SIZES.get(scenario, 200))
                mallocs, counted, profile = quiet_counts(daemon, target)
                if mallocs - before[0] != counted - before[1]:
                    wrong[scenario] = (mallocs - before[0], counted - before[1])
            assert not wrong, f"scenario: (runtime, goheapd): {wrong}; lost: {daemon.lost_events()}"
            check_losses(daemon.lost_events(), counted)
            check_sites(target.sites(), profile)


def check_losses(lost, counted):
    """No allocation is lost. The outer part of a stack may be: where the frame pointer leads into C, or a page is just
    being moved by the kernel; such stacks are rare, and counted."""
    assert lost.keys() <= {"stack_unreadable"} and sum(lost.values()) <= counted / 1000, lost


def check_sites(sites, profile):
    """Every site that the program knows has its objects, bytes and frames in the profile."""
    objects, size = profile.column("alloc_objects"), profile.column("alloc_space")
    assert len(sites) >= 13
    for name, site in sites.items():
        leaf = site["frames"][0]
        # An allocation that starts a collection has the runtime make workers below it, which are not the site's own.
        samples = [s for s in profile.samples if s.frames() and stack_of(s)[0] == leaf
                   and (not site["size"] or s.labels["bytes"] == site["size"])]
        assert sum(s.values[objects] for s in samples) == site["count"], f"objects of {name}: {site['frames'][:3]}"
        if site["size"]:
            assert sum(s.values[size] for s in samples) == site["count"] * site["size"], f"bytes of {name}"
        want = site["frames"]
        if want[-1][0] == "runtime.goexit":
            want = want[:-1]
        assert any(same_stack(stack_of(s), want) for s in samples), \
            f"frames of {name}:\n{want}\ngoheapd has:\n" + "\n".join(map(str, (stack_of(s) for s in samples)))


def same_stack(have, want):
    """The same frames; a stack deeper than the limit is cut at its outer end."""
    if have and have[-1][0] == "runtime.goexit":
        have = have[:-1]
    if "runtime.cgocallback" in [frame[0] for frame in want]:
        # Behind the callback the frames are C's; what is called back is what matters.
        want = want[:[frame[0] for frame in want].index("_cgoexp") if "_cgoexp" in want else 1]
        return have[:len(want)] == want
    return have == want or (len(have) >= MINIMUM_DEPTH and len(want) > len(have) and have == want[:len(have)])


def test_deep_stacks_say_that_they_are_cut():
    with Target.of(24) as target, Daemon(target.pid, arguments=["--mode", "exact"]) as daemon:
        daemon.wait_for_state(target.pid)
        target.run("deep", 10)
        profile = daemon.profile(target.pid)
        assert any("truncat" in comment for comment in profile.comments), profile.comments


def test_inuse_is_not_claimed():
    """Nothing tells exact mode what was freed: it must not pretend."""
    with Target.of(24) as target, Daemon(target.pid, arguments=["--mode", "exact"]) as daemon:
        daemon.wait_for_state(target.pid)
        target.run("direct", 100)
        profile = daemon.profile(target.pid)
        assert profile.total("inuse_objects") == 0 and profile.total("inuse_space") == 0
        assert any("inuse" in comment for comment in profile.comments), profile.comments


def test_inlined_frames_share_a_location():
    with Target.of(24) as target, Daemon(target.pid, arguments=["--mode", "exact"]) as daemon:
        daemon.wait_for_state(target.pid)
        target.run("inlined", 10)
        names = [[line.function for line in location.lines]
                 for sample in daemon.profile(target.pid).samples for location in sample.locations]
        assert ["main.inlinedInner", "main.inlinedOuter", "main.inlined"] in names


@pytest.mark.parametrize("tags", ["", "noprofile"], ids=["runtime", "spans"])
def test_with_the_live_heap(some_minor, tags):
    """Counts are exact as ever, and what is held is sampled beside them, by whatever can sample."""
    rate = 4096 if not tags else None
    with Target.of(some_minor, profile_rate=rate, tags=tags) as target:
        with Daemon(target.pid, arguments=["--mode", "exact", "--live-heap"]) as daemon:
            row = daemon.wait_for_state(target.pid)
            assert row["mode"] == "exact" and row["source"] == ("spans" if tags else "runtime"), row
            assert "attached in mode exact with its live heap sampled by" in daemon.log()
            mallocs, counted, _ = quiet_counts(daemon, target)
            target.run("direct", 100_000)
            later, counted_later, _ = quiet_counts(daemon, target)
            assert later - mallocs == counted_later - counted
            target.settle()
            profile = daemon.profile(target.pid)
            held = profile.total("inuse_space", lambda s: "main.direct" in s.functions())
            # 6.4 MB in objects of 64 bytes and the list that keeps them, of which a part may have been replaced by a longer.
            assert 0.5 * 6.4e6 < held < 2.5 * 6.4e6, held
            target.ask("forget")
            target.settle()
            profile = daemon.profile(target.pid)
            assert profile.total("inuse_space", lambda s: "main.direct" in s.functions()) < 0.2 * held
            assert profile.total("alloc_objects", lambda s: "main.direct" in s.functions()) >= 100_000
            # settle() collects twice in a row, so one cycle may follow the other before it was looked at, which is counted.
            assert not daemon.lost_events().keys() - {"stack_unreadable", "verdict_missed"}
