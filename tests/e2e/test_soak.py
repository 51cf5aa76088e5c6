"""Hours of real hosts in little: programs come, grow, shrink and go, and the daemon stays as big as it was."""
import contextlib
import random
import statistics
import time

from conftest import LONG
from harness import golang, usage
from harness.daemon import Daemon
from harness.target import Target

SECONDS = 20 * 60 if LONG else 20
# What a round may hold; the first third of the time shows how much that takes.
SLOTS = 6
# So that as many exited programs are kept in the last third as in the one before, however fast the machine is just then.
ROUND_SECONDS = 0.5
# In the short form a file may be seen for the first time in the last third, which costs some MiB for each.
MEMORY_SLACK_KIB = (12 if LONG else 48) * 1024


def one_round(daemon, stack, slots, chance, binaries):
    """Every slot gets a new program, more load, less load, or is asked something."""
    for number in range(SLOTS):
        target = slots[number]
        if target is None or chance.random() < 0.3:
            if target is not None:
                target.kill()
            # A third have no sampler of their own.
            tags = chance.choice(("", "", "noprofile"))
            binary = binaries[chance.choice((22, 24, 27)), chance.choice(("plain", "stripped_pie")), tags]
            slots[number] = stack.enter_context(Target(binary, profile_rate=None if tags else 4096))
            continue
        scenario = chance.choice(target.scenarios())
        target.run(scenario, 10)
        if chance.random() < 0.3:
            target.ask("forget")
            target.ask("gc")
        daemon.get(f"/targets/{target.pid}/debug/pprof/{chance.choice(('heap', 'allocs'))}")
    daemon.get("/metrics")
    daemon.targets()


def test_nothing_grows(tmp_path):
    chance = random.Random(1)
    binaries = {(minor, variant, tags): golang.own(golang.build(minor, variant, tags=tags), tmp_path / f"{minor}{variant}{tags}")
                for minor in (22, 24, 27) for variant in ("plain", "stripped_pie") for tags in ("", "noprofile")}
    with contextlib.ExitStack() as stack:
        # What has exited is dropped soon, so that all that grows is a leak.
        daemon = stack.enter_context(Daemon.watching(tmp_path, ["--exited-retention", "5s"]))
        slots = [None] * SLOTS
        samples = []
        began = time.monotonic()
        while time.monotonic() - began < SECONDS:
            ends = time.monotonic() + ROUND_SECONDS
            one_round(daemon, stack, slots, chance, binaries)
            time.sleep(max(0, ends - time.monotonic()))
            pid = daemon.process.pid
            samples.append((usage.resident_bytes(pid) >> 10, usage.descriptors(pid), usage.threads(pid), usage.kernel_bytes(pid)))
        for target in slots:
            if target is not None:
                target.kill()

        def ours():
            return [row for row in daemon.targets().values() if row["state"] != "ignored"]

        daemon.wait_until(lambda: not ours(), "exited targets are never dropped", timeout=60)
        # The middle third has seen everything; the last third must not be above it by more than its own noise.
        third = len(samples) // 3
        assert third >= 3, f"only {len(samples)} rounds"
        middle, last = samples[third:2 * third], samples[2 * third:]
        # Memory that was taken once stays; the others have peaks, when many are let go at once, by threads made for that.
        for column, slack, what, of in ((0, MEMORY_SLACK_KIB, "resident KiB", max), (1, 2 * SLOTS, "descriptors", statistics.median),
                                        (2, 4, "threads", statistics.median),
                                        (3, 256 << 10, "bytes in the kernel", statistics.median)):
            before, after = of(s[column] for s in middle), of(s[column] for s in last)
            print(f"{what}: {before} in the middle third, {after} in the last, of {len(samples)} rounds")
            assert after <= before + slack, f"{what}: {before} in the middle, {after} at the end"
        assert min(s[3] for s in samples) > 0, "no map is seen"
        # All of the targets' descriptors have been given back.
        assert usage.descriptors(daemon.process.pid) <= min(s[1] for s in samples) + 2 * SLOTS
        # Programs that are killed in the middle of what they do leave something unread; but nothing is ever full.
        assert not [reason for reason in daemon.lost_events() if reason.endswith("_full")]
        assert daemon.stop()[0] == 0
