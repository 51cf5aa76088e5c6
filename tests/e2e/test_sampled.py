"""Sampled mode serves what the program's own heap profile says, record by record."""
import concurrent.futures
import re
import time

import pytest
from harness import golang
from harness.comparison import compare
from harness.daemon import Daemon
from harness.target import Target

# A rate that samples much and still unsamples: bytes between two samples, on average.
RATE = 1024


def same_moment(daemon, target, directory):
    """(own, ours) with no collection in between."""
    for _ in range(10):
        target.settle()
        cycle = target.mallocs()[2]
        own = target.own_profile(directory)
        ours = daemon.profile(target.pid)
        if target.mallocs()[2] == cycle:
            return own, ours
    raise AssertionError("the target collects all the time")


def test_profile_equals_the_programs_own(minor, variant, tmp_path):
    with Target.of(minor, variant, profile_rate=RATE) as target:
        for scenario in target.scenarios():
            target.run(scenario, 200)
        # All of this was allocated before goheapd came.
        with Daemon(target.pid, arguments=["--mode", "sampled"]) as daemon:
            row = daemon.wait_for_state(target.pid)
            assert (row["mode"], row["source"]) == ("sampled", "runtime")
            assert compare(*same_moment(daemon, target, tmp_path)) >= 10
            for scenario in target.scenarios():
                target.run(scenario, 60)
            assert compare(*same_moment(daemon, target, tmp_path)) >= 10
            target.ask("forget")
            compare(*same_moment(daemon, target, tmp_path))
            assert not daemon.lost_events()


@pytest.mark.parametrize("column", range(4))
@pytest.mark.parametrize("by", [1, -1])
def test_the_comparison_can_fail(column, by, tmp_path):
    """A profile that differs by one in a single value of a single record is not the same."""
    with Target.of(24, profile_rate=RATE) as target:
        target.run("direct", 500)
        target.settle()
        own, changed = target.own_profile(tmp_path), target.own_profile(tmp_path)
    assert compare(own, own)
    sample = next(s for s in changed.samples if "main.direct" in s.functions() and all(s.values))
    sample.values = tuple(v + by * (n == column) for n, v in enumerate(sample.values))
    with pytest.raises(AssertionError):
        compare(own, changed)


def test_buckets_mode_equals_too(minor, tmp_path):
    with Target.of(minor, profile_rate=RATE) as target, Daemon(target.pid, arguments=["--mode", "buckets"]) as daemon:
        assert daemon.wait_for_state(target.pid)["mode"] == "buckets"
        for scenario in target.scenarios():
            target.run(scenario, 200)
        assert compare(*same_moment(daemon, target, tmp_path)) >= 10
        assert daemon.metrics().sum("goheapd_probe_hits_total") == 0
        assert not target.text_differences()


@pytest.mark.parametrize("rate", [1, 4096, 524288])
def test_any_rate(rate, tmp_path):
    with Target.of(24, profile_rate=rate) as target, Daemon(target.pid, arguments=["--mode", "sampled"]) as daemon:
        daemon.wait_for_state(target.pid)
        for scenario in target.scenarios():
            target.run(scenario, 200)
        compare(*same_moment(daemon, target, tmp_path))


def test_deltas():
    """?seconds=N: what was allocated in between; in-use may shrink, but only by what went away."""
    with Target.of(24, profile_rate=RATE) as target, Daemon(target.pid, arguments=["--mode", "sampled"]) as daemon:
        daemon.wait_for_state(target.pid)
        target.run("large", 20)
        target.settle()
        port_answer = []
        import threading
        thread = threading.Thread(target=lambda: port_answer.append(daemon.profile(target.pid, seconds=2)))
        thread.start()
        time.sleep(0.7)
        target.run("garbage", 5000)
        target.ask("forget")
        target.settle()
        thread.join()
        delta = port_answer[0]
        assert 1.5e9 < delta.duration_ns < 4e9
        assert delta.default_sample_type == "inuse_space"

        def at(function):
            return lambda sample: function in sample.functions()

        allocated = delta.total("alloc_space", at("main.garbage"))
        assert 0.9 * 5000 * 4096 < allocated < 1.1 * 5000 * 4096
        assert delta.total("alloc_space", at("main.large")) == 0
        gone = -delta.total("inuse_space", at("main.large"))
        assert 19 << 20 < gone < 21 << 20
        assert all(s.values[0] >= 0 and s.values[1] >= 0 for s in delta.samples), "allocations cannot be taken back"


def test_delta_of_a_process_that_ends():
    """What there was until then, at once."""
    with Target.of(24, profile_rate=RATE) as target, Daemon(target.pid, arguments=["--mode", "sampled"]) as daemon:
        daemon.wait_for_state(target.pid)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            answer = pool.submit(daemon.profile, target.pid, seconds=300)
            time.sleep(1)
            target.run("garbage", 5000)
            target.settle()
            daemon.profile(target.pid)
            target.process.kill()
            delta = answer.result(timeout=60)
        again = daemon.profile(target.pid, seconds=300)
    assert 0.9e9 < delta.duration_ns < 60e9
    allocated = delta.total("alloc_space", lambda sample: "main.garbage" in sample.functions())
    assert 0.9 * 5000 * 4096 < allocated < 1.1 * 5000 * 4096
    for profile in (delta, again):
        assert any(re.fullmatch(rf"ended early, after [0-9.]+ s of 300.0 s: process {target.pid} has ended", comment)
                   for comment in profile.comments), profile.comments
    assert again.total("alloc_space") == 0


def test_sampler_off():
    """Without the runtime's sampler, its runs are sampled; mode buckets has nothing to read, and goheapd says so."""
    with Target.of(24, tags="noprofile") as target, Daemon(target.pid, arguments=["--mode", "sampled"]) as daemon:
        row = daemon.wait_for_state(target.pid)
        assert (row["mode"], row["source"]) == ("sampled", "spans")
        target.run("direct", 200000)
        target.ask("gc")
        profile = daemon.profile(target.pid)
        assert any("source spans" in comment for comment in profile.comments)
        assert profile.total("alloc_space", lambda s: "main.direct" in s.functions()) > 0
    with Target.of(24, tags="noprofile") as target, Daemon(target.pid, arguments=["--mode", "buckets"]) as daemon:
        row = daemon.wait_for_state(target.pid, "unsupported")
        assert "MemProfileRate" in row["reason"]
        answer = daemon.get(f"/targets/{target.pid}/debug/pprof/heap")
        assert answer.status == 409 and row["reason"] in answer.json()["error"]
    with Target.of(24, tags="noprofile") as target, Daemon(target.pid, arguments=["--mode", "exact"]) as daemon:
        daemon.wait_for_state(target.pid)
        target.run("direct", 1000)
        assert daemon.profile(target.pid).total("alloc_objects", lambda s: "main.direct" in s.functions()) >= 1000
