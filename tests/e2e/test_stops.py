"""Times for which all goroutines stood still, against a program that provokes them and the runtime's own counts."""
import pytest

from harness import golang
from harness.child import Child
from harness.daemon import Daemon

COLLECTOR = {"GC sweep termination", "GC mark termination"}
N = 10


class Stopping(Child):
    """The program stops."""

    def __init__(self, minor):
        super().__init__(golang.build(minor, program="stops"))

    def stop(self, times):
        """{reason: how often}, without the collector's."""
        return {reason: int(count) for reason, count in (part.split("=") for part in self.ask(f"stop {times}").split(";"))}

    def counts(self):
        """(for the collector, others) since its start, by runtime/metrics; None before Go 1.22."""
        words = self.ask("count").split()
        return None if words[0] == "-" else tuple(map(int, words))


def seen(daemon, pid):
    gc = daemon.get(f"/api/v1/targets/{pid}/gc").json()
    return gc, {row["reason"]: row for row in gc["seen_stops"]}


def check(mode, minor):
    with Stopping(minor) as program, Daemon(program.pid, arguments=["--mode", mode]) as daemon:
        daemon.wait_for_state(program.pid)
        before = program.counts()
        # From the start, so that a rate over the first one is not missing.
        reasons = {labels["reason"] for labels, _ in daemon.metrics().select("goheapd_stops_total", pid=str(program.pid))}
        assert COLLECTOR < reasons and len(reasons) == 12
        provoked = program.stop(N)
        after = program.counts()
        gc, stops = seen(daemon, program.pid)
        assert {reason: row["stops"] for reason, row in stops.items() if not row["gc"]} == provoked
        assert {reason for reason, row in stops.items() if row["gc"]} == COLLECTOR
        # An attempt to end marking can come too early.
        assert stops["GC sweep termination"]["stops"] == N <= stops["GC mark termination"]["stops"]
        assert len(gc["cycles"]) == N

        listed = [stop["reason"] for stop in gc["other_stops"]]
        assert {reason: listed.count(reason) for reason in provoked} == provoked and len(listed) == sum(provoked.values())
        # In one go of the program's loop, in its order.
        assert listed[:3] == ["read mem stats", "GOMAXPROCS", "GOMAXPROCS"]
        began = [stop["began_at"] for stop in gc["other_stops"]]
        assert began == sorted(began)
        assert all(0 < stop["pause_seconds"] < 10 for stop in gc["other_stops"])

        # The runtime's own counts: the same, and all since the program started.
        if minor < 22:
            assert after is None and gc["runtime_stops"] is None
        else:
            assert gc["runtime_stops"] == {"gc": after[0], "other": after[1]}
            assert after[1] - before[1] == sum(provoked.values())
            assert after[0] - before[0] == sum(stops[reason]["stops"] for reason in COLLECTOR)

        # Metrics are made about once a second.
        def of_metrics(name):
            return {reason: daemon.metrics().sum(name, pid=str(program.pid), reason=reason) for reason in stops}
        daemon.wait_until(lambda: of_metrics("goheapd_stops_total") == {reason: row["stops"] for reason, row in stops.items()},
                          "the metrics do not follow")
        assert of_metrics("goheapd_stop_seconds_total") == pytest.approx({reason: row["pause_seconds"] for reason, row in stops.items()})
        assert not daemon.lost_events()


def test_every_stop_with_its_reason(minor):
    check("sampled", minor)


def test_exact_mode_sees_the_same():
    check("exact", 27)


def test_mode_buckets_sees_none():
    """Nothing is seen without probes, and the answer says so."""
    with Stopping(27) as program, Daemon(program.pid, arguments=["--mode", "buckets"]) as daemon:
        daemon.wait_for_state(program.pid)
        program.stop(1)
        answer = daemon.get(f"/api/v1/targets/{program.pid}/gc")
        assert answer.status == 409 and "buckets" in answer.json()["error"]
