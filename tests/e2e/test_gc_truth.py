"""What goheapd says of garbage collections, against what the program's own runtime says: triggers, pauses, their number."""
import contextlib
import statistics

import pytest
from harness import golang
from harness.child import Answering
from harness.daemon import Daemon

CYCLES = 12
LIMIT = 24 << 20
PAUSES = "goheapd_gc_pause_seconds"


@pytest.fixture(scope="module")
def watched():
    """(a daemon, {minor: program}): one daemon for all."""
    with contextlib.ExitStack() as stack:
        programs = {minor: stack.enter_context(Answering(golang.build(minor, program="gc_truth"), GOMAXPROCS="4"))
                    for minor in golang.VERSIONS}
        daemon = stack.enter_context(Daemon(*(program.pid for program in programs.values()), arguments=["--mode", "sampled"]))
        for program in programs.values():
            daemon.wait_for_state(program.pid)
        yield daemon, programs


def collector(daemon, program):
    """All that the API has, once the last cycle of the program has arrived."""
    [(last, _), *_] = program.numbers("pauses")

    def arrived():
        answer = daemon.get(f"/api/v1/targets/{program.pid}/gc").json()
        return answer if answer["cycles"] and answer["cycles"][-1]["cycle"] == last else None
    return daemon.wait_until(arrived, f"cycle {last} is not seen")


def test_triggers_are_those_of_the_runtime(watched, minor):
    daemon, programs = watched
    program = programs[minor]
    program.ask("percent 100")
    expected = {number: first for number, first, *_ in program.numbers(f"grow {CYCLES}")}
    early = set(expected)
    program.ask("percent 30")  # after the cycle before has ended: what was fixed then is not what counts
    expected |= {number: first for number, first, *_ in program.numbers(f"grow {CYCLES}")}
    program.ask("force 1")
    program.ask("percent -1")
    program.ask(f"limit {LIMIT}")
    limited = {number: limits for number, _, *limits in program.numbers("grow 4")}
    program.ask(f"limit {2 ** 63 - 1}")
    cycles = {row["cycle"]: row for row in collector(daemon, program)["cycles"]}
    assert len(expected) == 2 * CYCLES and len(limited) == 4

    heaps = {number: cycles[number]["heap_bytes"] for number in expected}
    assert {number: heap["trigger"] for number, heap in heaps.items()} == expected
    assert len(set(expected.values())) > CYCLES
    # Nothing that it depends on changes between a cycle's end and the next one's begin.
    foretold = {number: cycles[number - 1]["heap_bytes"]["next_trigger"] for number in early if number - 1 in early}
    assert foretold == {number: expected[number] for number in foretold} and len(foretold) == CYCLES - 1
    # The program asks once in 2000 objects of 64 bytes, and the runtime when a span is used up.
    assert all(heap["trigger"] <= heap["before"] <= heap["trigger"] + (1 << 20) for heap in heaps.values()), heaps
    assert all(heap["trigger"] < heap["goal"] for heap in heaps.values()), heaps
    # A forced one began earlier than it would have.
    [forced] = [row["heap_bytes"] for row in cycles.values() if row["forced"]]
    assert forced["before"] < forced["trigger"]
    # With a limit it depends on what else the runtime has mapped, which changes while the program allocates.
    wrong = {number: (cycles[number]["heap_bytes"], least, most) for number, (least, most) in limited.items()
             if not least - LIMIT / 16 <= cycles[number]["heap_bytes"]["trigger"] <= most + LIMIT / 16}
    assert not wrong, wrong


def test_settings_are_those_of_the_runtime(watched, minor):
    """Each cycle tells with which GOGC and GOMEMLIMIT it ended."""
    daemon, programs = watched
    program = programs[minor]
    for percent, limit in ((100, 2 ** 63 - 1), (37, 2 ** 63 - 1), (400, 1 << 30), (-1, LIMIT), (100, 2 ** 63 - 1)):
        program.ask(f"percent {percent}")
        program.ask(f"limit {limit}")
        program.ask("force 1")
        assert program.numbers("settings") == [[percent, limit]]
        last = collector(daemon, program)["cycles"][-1]
        assert (last["gogc_percent"], last["memory_limit_bytes"]) == (percent, None if limit == 2 ** 63 - 1 else limit), last


def bucket_counts(values, bounds):
    return [sum(value <= bound for value in values) for bound in bounds]


def test_pauses_are_those_of_the_runtime(watched, minor):
    daemon, programs = watched
    program = programs[minor]
    program.ask("percent 100")
    program.ask(f"grow {CYCLES}")
    program.ask("force 3")
    truth = dict(program.numbers("pauses"))
    [[stops]] = program.numbers("histogram")
    answer = collector(daemon, program)
    cycles = {row["cycle"]: row for row in answer["cycles"]}

    # Each cycle since the program started, to the nanosecond.
    assert {number: round(row["pause_seconds"] * 1e9) for number, row in cycles.items()} == truth
    # Its two stops together: from Go 1.22 on the runtime reads the clock a second time where it adds them up, a function
    # call later than for the moments of the cycle, and a probe may lie in between. A thread may lose its CPU there, so not
    # every cycle can be judged.
    first, last = "sweep_termination_pause_seconds", "mark_termination_pause_seconds"
    more = [round((row[first] + row[last] - row["pause_seconds"]) * 1e9) for row in cycles.values()]
    assert statistics.median(more) == 0 if minor < 22 else 0 <= statistics.median(more) < 200_000, more

    # As many as runtime/metrics has counted. An attempt to end marking that came too early is one more.
    seen = {row["reason"]: row["stops"] for row in answer["seen_stops"] if row["gc"]}
    assert seen["GC sweep termination"] == len(cycles) and sum(seen.values()) == stops
    early = stops - 2 * len(cycles)
    assert 0 <= early < len(cycles)

    # The histogram of /metrics, which is made about once a second, has the same pauses.
    pid = str(program.pid)

    def published():
        metrics = daemon.metrics()
        return metrics if metrics.sum("goheapd_gc_cycles_total", pid=pid) == len(cycles) else None
    metrics = daemon.wait_until(published, "the metrics do not follow")
    assert 2 * len(cycles) <= metrics.sum(f"{PAUSES}_count", pid=pid) <= stops
    spent = sum(max(row[first] + row[last], row["pause_seconds"]) for row in cycles.values())
    assert metrics.sum(f"{PAUSES}_sum", pid=pid) == pytest.approx(spent, abs=1e-5 * len(cycles))
    buckets = sorted((float(labels["le"]), value) for labels, value in metrics.select(f"{PAUSES}_bucket", pid=pid))
    counts = bucket_counts([row[name] for row in cycles.values() for name in (first, last)], [bound for bound, _ in buckets])
    assert all(0 <= value - count <= early for (_, value), count in zip(buckets, counts)), (buckets, counts)
