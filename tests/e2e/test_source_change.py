"""A program that switches its runtime's sampler off and on again while it is watched."""
import math
import signal
import threading
import time

from harness import golang, pprof
from harness.comparison import compare
from harness.daemon import Daemon
from harness.target import Target

GO_RATE = 512 << 10  # what the runtime begins with
LARGE = 1 << 20      # of each object of the scenario "large"


class Counters:
    """What goheapd counts of one process; nothing of it may ever fall."""

    def __init__(self, daemon, pid):
        self.daemon, self.pid, self.last = daemon, pid, {}

    def look(self):
        names = ("goheapd_alloc_bytes_total", "goheapd_alloc_objects_total", "goheapd_site_alloc_bytes_total",
                 "goheapd_mode_changes_total", "goheapd_probe_hits_total", "goheapd_probe_cpu_seconds_total",
                 "goheapd_settled_objects_total")
        now = {(name, tuple(sorted(labels.items()))): value for name in names
               for labels, value in self.daemon.metrics().select(name, pid=str(self.pid))}
        fallen = {key: (self.last[key], value) for key, value in now.items() if value < self.last.get(key, 0)}
        assert not fallen, fallen
        self.last = {**self.last, **now}
        return sum(value for (name, _), value in now.items() if name == "goheapd_alloc_bytes_total")


    def settled(self):
        """look(), when all that an idle program did before is in the metrics, which are made about once a second."""
        def unchanged():
            before = self.look()
            time.sleep(1.5)
            return self.look() == before and (before,)
        return self.daemon.wait_until(unchanged, "the counters never rest", 30)[0]


def wait_for_source(daemon, pid, source, counters):
    def has_source():
        counters.look()
        row = daemon.targets()[pid]
        return row if row["state"] == "attached" and row["source"] == source else None
    return daemon.wait_until(has_source, f"the source does not become {source}", 30)


def of_large(sample):
    return "main.large" in sample.functions()


def is_large(sample):
    """And not the slice that holds them."""
    return of_large(sample) and sample.labels["bytes"] == LARGE


def test_sampler_off_and_on_again(some_minor, tmp_path):
    with Target.of(some_minor, profile_rate=GO_RATE) as target, \
            Daemon(target.pid, arguments=["--mode", "sampled"]) as daemon:
        counters = Counters(daemon, target.pid)
        assert daemon.wait_for_state(target.pid)["source"] == "runtime"
        daemon.profile(target.pid)  # counters count from the first reading on
        target.run("large", 60)
        target.settle()
        compare(target.own_profile(tmp_path), daemon.profile(target.pid))
        counted = counters.settled()

        target.ask("rate 0")
        row = wait_for_source(daemon, target.pid, "spans", counters)
        assert row["mode"] == "sampled" and row["samples"] > 0, row
        assert "has switched its runtime's sampler off" in daemon.log()
        daemon.profile(target.pid)  # the books are open
        began = counters.settled()
        assert began >= counted > 0
        target.run("large", 40)
        target.settle()
        profile = daemon.profile(target.pid)
        assert any("source spans" in comment for comment in profile.comments), profile.comments
        # Each object is larger than several sampling distances, and the class is scaled to the runtime's counters.
        assert abs(profile.total("inuse_space", of_large) - 40 * LARGE) < 0.05 * 40 * LARGE, profile.comments
        assert profile.total("inuse_space", lambda s: not of_large(s)) > 55 * LARGE, "what was there before goes on to be"
        # The counter goes on where it was, and does not wait until the new books have more than the old ones.
        grown = counters.settled() - began
        assert 0.9 * 40 * LARGE < grown < 1.1 * 40 * LARGE + (1 << 20), (began, grown)

        target.ask(f"rate {GO_RATE}")
        row = wait_for_source(daemon, target.pid, "runtime", counters)
        assert row["mode"] == "sampled", row
        assert "has switched its runtime's sampler on" in daemon.log()
        target.run("large", 60)
        target.settle()
        # As the program's own profile: what was allocated while its sampler was off is in neither.
        own, ours = target.own_profile(tmp_path), daemon.profile(target.pid)
        assert compare(own, ours) >= 1
        # 1 MiB at a rate of 512 KiB: all but exp(-2) of the objects are sampled.
        error = 6 * math.sqrt(120 * math.exp(-2) / (1 - math.exp(-2))) * LARGE
        assert abs(ours.total("inuse_space", of_large) - 120 * LARGE) < error
        counters.look()
        assert not daemon.lost_events().keys() - {"stale_session"}, daemon.lost_events()
        assert daemon.stop()[0] == 0


def test_a_difference_across_a_switch_is_to_be_asked_for_again():
    with Target.of(golang.VERSIONS[-1], profile_rate=GO_RATE) as target, \
            Daemon(target.pid, arguments=["--mode", "sampled"]) as daemon:
        daemon.wait_for_state(target.pid)
        daemon.profile(target.pid)
        answers = []
        path = f"/targets/{target.pid}/debug/pprof/heap?seconds=8"
        thread = threading.Thread(target=lambda: answers.append(daemon.get(path)))
        thread.start()
        time.sleep(1)   # it has begun
        target.ask("rate 0")
        thread.join()
        assert daemon.targets()[target.pid]["source"] == "spans"
        [answer] = answers
        assert answer.status == 503 and "try again" in answer.json()["error"], answer.text


def test_a_difference_across_a_new_attachment(tmp_path):
    """Books of goheapd's own begin anew, and what they had before is no part of any difference; the runtime's records go on."""
    config = tmp_path / "goheapd.yml"
    config.write_text("mode: sampled\n")
    with Target.of(golang.VERSIONS[-1], profile_rate=GO_RATE) as recorded, \
            Target.of(golang.VERSIONS[-1], tags="noprofile") as followed, \
            Daemon(recorded.pid, followed.pid, arguments=["--config", config]) as daemon:
        targets, sources = (recorded, followed), ("runtime", "spans")
        attached = [daemon.wait_for_state(target.pid)["attached_at"] for target in targets]
        for target, source in zip(targets, sources):
            assert daemon.targets()[target.pid]["source"] == source
            target.run("large", 20)
            daemon.profile(target.pid)
        answers = {}

        def ask(pid):
            answers[pid] = daemon.get(f"/targets/{pid}/debug/pprof/heap?seconds=5")
        threads = [threading.Thread(target=ask, args=(target.pid,)) for target in targets]
        for thread in threads:
            thread.start()
        time.sleep(1)   # they have begun
        config.write_text("mode: auto\n")
        daemon.process.send_signal(signal.SIGHUP)
        for target, before in zip(targets, attached):
            daemon.wait_until(lambda: daemon.wait_for_state(target.pid)["attached_at"] != before, "it is not attached anew")
            target.run("large", 30)
        for thread in threads:
            thread.join()
        own, refused = (answers[target.pid] for target in targets)
        assert own.status == 200, own.text
        error = 6 * math.sqrt(30 * math.exp(-2) / (1 - math.exp(-2)))
        assert abs(pprof.decode(own.body).total("alloc_objects", is_large) - 30) < error
        assert refused.status == 503 and "anew" in refused.json()["error"], refused.text


def test_a_switch_is_followed_while_everything_is_counted():
    """Mode exact with the live heap beside it, which comes from the sampler or from spans."""
    with Target.of(golang.VERSIONS[-1], profile_rate=GO_RATE) as target, \
            Daemon(target.pid, arguments=["--mode", "exact", "--live-heap"]) as daemon:
        counters = Counters(daemon, target.pid)
        row = daemon.wait_for_state(target.pid)
        assert (row["mode"], row["source"]) == ("exact", "runtime")
        target.run("large", 20)
        for rate, source in (0, "spans"), (GO_RATE, "runtime"):
            target.ask(f"rate {rate}")
            row = wait_for_source(daemon, target.pid, source, counters)
            assert row["mode"] == "exact", row
            before = daemon.profile(target.pid).total("alloc_objects", is_large)
            target.run("large", 30)
            target.settle()
            profile = daemon.profile(target.pid)
            assert profile.total("alloc_objects", is_large) - before == 30, profile.comments
            # 1 MiB at a rate of 512 KiB: all but exp(-2) of the objects are sampled.
            assert profile.total("inuse_space", of_large) > 15 * LARGE, profile.comments
        counters.look()
        assert daemon.stop()[0] == 0
