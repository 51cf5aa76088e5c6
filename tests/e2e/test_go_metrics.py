"""What a program's own Go collector would say, served from outside: in every mode, and of programs that are not profiled."""
import contextlib
import pathlib

import pytest
from harness import golang
from harness.child import Answering
from harness.daemon import Daemon, Metrics
from harness.target import Target


def go_metrics(daemon, pid):
    answer = daemon.get(f"/targets/{pid}/metrics")
    assert answer.status == 200, answer.text
    return Metrics.parse(answer.text)


def value(metrics, name, **labels):
    [(_, result)] = metrics.select(name, **labels)
    return result


def check(daemon, target):
    """Mallocs, Frees and NumGC of the program itself are asked before and after: it allocates while it answers."""
    for _ in range(3):
        target.run("appends", 1000)
        target.settle()
        before = target.mallocs()
        metrics = go_metrics(daemon, target.pid)
        after = target.mallocs()
        assert before[0] <= value(metrics, "go_memstats_mallocs_total") <= after[0]
        assert before[1] <= value(metrics, "go_memstats_frees_total") <= after[1]
        assert before[2] <= value(metrics, "go_gc_duration_seconds_count") <= after[2]
    assert value(metrics, "go_info", version=target.version) == 1
    assert value(metrics, "go_sched_gomaxprocs_threads") == 4
    assert value(metrics, "go_memstats_heap_alloc_bytes") > 0
    assert value(metrics, "go_threads") == len(list(pathlib.Path(f"/proc/{target.pid}/task").iterdir()))
    assert value(metrics, "process_open_fds") == len(list(pathlib.Path(f"/proc/{target.pid}/fd").iterdir()))
    quantiles = [value(metrics, "go_gc_duration_seconds", quantile=q) for q in ("0", "0.25", "0.5", "0.75", "1")]
    assert 0 < quantiles[0] and quantiles == sorted(quantiles)


class Collector(Answering):
    """The program go_collector, which knows what Prometheus' own collector would export of it."""

    def __init__(self, minor):
        super().__init__(golang.build(minor, program="go_collector"), GOMAXPROCS="4")

    def values(self):
        """{(name, labels): value}; durations and times in nanoseconds."""
        rows = self.ask("values")
        named = {(row[0], ()): int(row[1]) for row in rows if len(row) == 2 and row[0] != "version"}
        quantiles = {("go_gc_duration_seconds", (("quantile", row[1]),)): int(row[2]) for row in rows if len(row) == 3}
        [version] = [row[1] for row in rows if row[0] == "version"]
        return named | quantiles | {("go_info", (("version", version),)): 1}


# Values are exported with 16 digits: below 2^49 that is exact, and what is beyond are limits. Of these in seconds, the time since 1970 these are good to a microsecond.
SECONDS = {"go_gc_duration_seconds": 1, "go_gc_duration_seconds_sum": 1, "go_memstats_last_gc_time_seconds": 1000}


def differences(daemon, program):
    """{series: (ours, the program's)}. We look first: what the program allocates is for its answer, when it has looked."""
    ours = {(name, tuple(labels)): value for (name, labels), value in go_metrics(daemon, program.pid).items()
            if name.startswith("go_")}
    theirs = program.values()
    assert ours.keys() == theirs.keys()
    return {series: (ours[series], value) for series, value in theirs.items()
            if (abs(ours[series] * 1e9 - value) > SECONDS[series[0]] if series[0] in SECONDS else abs(ours[series] - value) > 1e-15 * value)}


@pytest.fixture(scope="module")
def collectors():
    with contextlib.ExitStack() as stack:
        programs = {minor: stack.enter_context(Collector(minor)) for minor in golang.VERSIONS}
        daemon = stack.enter_context(Daemon(*(program.pid for program in programs.values())))
        for program in programs.values():
            daemon.wait_for_state(program.pid)
        yield daemon, programs


def test_every_series_is_what_its_own_collector_exports(collectors, minor):
    """All of them at once, exactly. Between the two looks the runtime of a program that rests may give pages back or let
    a thread go to sleep; so there may be moments that differ, but there must be one that does not."""
    daemon, programs = collectors
    program = programs[minor]
    for commands in ([], ["work 30000", "gc"], ["work 5000"], ["park 100"], ["percent 40", "work 100000", "gc"],
                     [f"limit {20 << 20}", "percent -1", "work 500000", "gc"], ["limit 0", "percent 100"]):
        for command in commands:
            program.ask(command)
        for _ in range(20):
            if not (wrong := differences(daemon, program)):
                break
        assert not wrong, f"after {commands}"


@pytest.mark.parametrize("mode", ["sampled", "exact", "buckets"])
def test_in_every_mode(mode, some_minor):
    with Target.of(some_minor) as target, Daemon(target.pid, arguments=["--mode", mode]) as daemon:
        daemon.wait_for_state(target.pid)
        check(daemon, target)


def test_of_a_program_whose_sampler_is_off(some_minor):
    with Target.of(some_minor, tags="noprofile") as target, Daemon(target.pid) as daemon:
        daemon.wait_until(lambda: target.pid in daemon.targets(), "the target is not seen")
        daemon.wait_until(lambda: any(group["labels"]["pid"] == str(target.pid) for group in daemon.get("/api/v1/sd").json()),
                          "the target is not offered to scrapers")
        check(daemon, target)


def test_counters_of_a_busy_program_never_fall():
    counters = ("go_memstats_alloc_bytes_total", "go_memstats_mallocs_total", "go_memstats_frees_total",
                "go_gc_duration_seconds_count", "go_gc_duration_seconds_sum")
    with Target.of(27) as target, Daemon(target.pid, arguments=["--mode", "buckets"]) as daemon:
        daemon.wait_for_state(target.pid)
        target.ask("load 8")
        first = last = go_metrics(daemon, target.pid)
        for _ in range(300):
            now = go_metrics(daemon, target.pid)
            fallen = {name: (value(last, name), value(now, name)) for name in counters if value(now, name) < value(last, name)}
            assert not fallen, fallen
            last = now
        assert all(value(last, name) > value(first, name) for name in counters), "it was not busy"


def test_of_a_program_that_has_gone():
    with Target.of(27) as target, Daemon(target.pid) as daemon:
        daemon.wait_for_state(target.pid)
        go_metrics(daemon, target.pid)
        daemon.profile(target.pid)  # of a program that was never read nothing is kept
        target.kill()
        daemon.wait_for_state(target.pid, "exited")
        answer = daemon.get(f"/targets/{target.pid}/metrics")
        assert answer.status == 410 and "error" in answer.json()
        assert daemon.get("/api/v1/sd").json() == []
