"""What a service manager is told of a daemon that does not do its work any more."""
from harness.daemon import Daemon
from harness.stopped_thread import stopped_thread
from harness.target import Target

HEALTH = ("/-/healthy", "/healthz", "/-/ready", "/readyz")


def test_a_main_loop_that_hangs_is_told():
    with Target.of(24, "stripped", profile_rate=1024) as target, Daemon(target.pid, arguments=["--mode", "sampled"]) as daemon:
        daemon.wait_for_state(target.pid)
        assert daemon.metrics().sum("goheapd_main_loop_age_seconds") < 15
        with stopped_thread(daemon.process.pid):
            # Nobody waits for the thread that stands still: the answer comes at once, whatever it is.
            daemon.wait_until(lambda: daemon.get("/healthz", timeout=10).status == 503, "a daemon that hangs is healthy", timeout=60)
            for path in HEALTH + ("/api/v1/targets", "/api/v1/sd"):
                answer = daemon.get(path, timeout=10)
                assert answer.status == 503 and "main loop has hung" in answer.json()["error"], path
            metrics = daemon.metrics()
            assert metrics.sum("goheapd_main_loop_age_seconds") >= 15
            # What it knew of its targets is not true any more.
            assert not metrics.select("goheapd_targets") and not metrics.select("goheapd_live_bytes")
            assert metrics.sum("process_resident_memory_bytes") > 0
        daemon.wait_until(lambda: all(daemon.get(path).status == 200 for path in HEALTH), "does not recover")
        assert daemon.targets()[target.pid]["state"] == "attached"
        assert daemon.metrics().select("goheapd_live_bytes", pid=str(target.pid))
        assert daemon.stop()[0] == 0
