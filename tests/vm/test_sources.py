"""What tests/vm/sources.sh brings from each kernel: source spans, collections, the runtime's figures, and mode auto."""
import datetime
import json

import pytest
from harness import pprof
from harness.daemon import Metrics
from harness.life_ledger import SITES, Answered
from harness.span_books import by_site, check_allocations, check_in_use


@pytest.fixture
def files(booted):
    return booted[1].files


@pytest.fixture
def ledger(files):
    """As it answered before goheapd's last answer, and after."""
    return [Answered(files["ledger-held"].decode(), files[name].decode()) for name in ("heap-before", "heap-after")]


def rows(content):
    return json.loads(content)["targets"]


def test_the_sources_are_what_the_programs_need(files):
    assert {row["comm"]: row["source"] for row in rows(files["sources.json"])} == {
        "life_ledger": "spans", "gc_cycles": "runtime"}


def test_spans_are_the_programs_own_heap(files, ledger):
    profile = pprof.decode(files["spans.pb.gz"])
    assert profile.period > 1
    check_in_use(profile, ledger[0])
    check_allocations(profile, ledger[0])


def test_spans_that_are_let_go_of_are_gone(files):
    profile = pprof.decode(files["dropped.pb.gz"])
    sums = by_site(profile, "inuse_space")
    assert sum(size for site, size in sums.items() if site in SITES) < 200_000, (sums, profile.comments)


def test_metrics_of_the_program_are_its_own(files, ledger):
    metrics = Metrics.parse(files["go-metrics"].decode())
    before, after = (answered.heap()[0] for answered in ledger)
    for name, own in (("go_memstats_alloc_bytes_total", "total_alloc"), ("go_memstats_mallocs_total", "mallocs"),
                      ("go_memstats_frees_total", "frees"), ("go_gc_duration_seconds_count", "gc_cycles")):
        [(_, value)] = metrics.select(name)
        assert before[own] <= value <= after[own], (name, value, before, after)


def test_every_gctrace_line_is_what_the_program_prints(files):
    own, served = (files[name].decode().splitlines() for name in ("gctrace-own", "gctrace-served"))
    assert len(own) >= 40 and own[0].startswith("gc 1 @")
    assert served == own


def test_a_clock_that_is_set_under_a_running_program(files):
    """Ten days ahead: how long something took or is ago does not follow, what it is called does."""
    now = int(files["jump-now"])

    def age(text):
        return now - datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()

    delta, heap = (pprof.decode(files[name]) for name in ("jump-delta.pb.gz", "jump-heap.pb.gz"))
    assert 2.9 < delta.duration_ns / 1e9 < 60, delta.duration_ns
    assert 3 < heap.duration_ns / 1e9 < 900, heap.duration_ns
    for profile in (delta, heap):
        assert abs(now - profile.time_ns / 1e9) < 120, (now, profile.time_ns)
    check_in_use(heap, Answered(files["jump-held"].decode(), files["jump-own"].decode()))
    before = {row["comm"]: row for row in rows(files["before-jump.json"])}
    for row in rows(files["jump.json"]):
        assert row["state"] == "attached" and row["level"] == before[row["comm"]]["level"], row
        # The machine's own clock was asked for whole seconds.
        assert -1 <= age(row["attached_at"]) <= age(row["started_at"]) + 1 < 900, (row, now)
        assert 0 <= row["alloc_bytes_per_second"] < 1e9 and row["overhead_ratio"] < 1, row
    cycles = json.loads(files["jump-gc.json"])["cycles"]
    assert len(cycles) >= 5
    for cycle in cycles:
        assert -1 <= age(cycle["ended_at"]) <= age(cycle["started_at"]) < 900, (cycle, now)
    metrics = Metrics.parse(files["jump-metrics"].decode())
    assert 0 <= metrics.sum("goheapd_main_loop_age_seconds") < 15
    assert metrics.sum("goheapd_gc_pause_seconds_sum") < 900 and metrics.sum("goheapd_probe_cpu_seconds_total") < 900


def test_auto_counts_slow_allocators_and_lets_go_of_storms(files):
    [counted], [throttled] = (rows(files[name]) for name in ("counted.json", "throttled.json"))
    assert (counted["comm"], counted["mode"], counted["mode_changes"]) == ("phases", "exact", 1)
    assert (throttled["comm"], throttled["mode"]) == ("target", "buckets")
    assert "the budget is 1.00 %" in throttled["reason"]
