"""Many processes of few files, which start at once: one symbol table for each file, each process accounted for, and an end
that does not take as many waits as there are targets."""
import concurrent.futures
import contextlib

from conftest import LONG
from harness import golang, usage
from harness.daemon import Daemon
from harness.target import Target

COUNT = 500 if LONG else 200


def test_many_processes_of_two_files_start_at_once(tmp_path):
    """Every second one has no sampler of its own."""
    binaries = [golang.own(golang.build(24, "stripped", tags=tags), tmp_path / (tags or "plain")) for tags in ("", "noprofile")]
    with contextlib.ExitStack() as stack:
        daemon = stack.enter_context(Daemon.watching(tmp_path, ["--mode", "sampled"]))
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            targets = list(pool.map(lambda i: stack.enter_context(Target(binaries[i % 2])), range(COUNT)))
        ours = {target.pid for target in targets}

        def all_attached():
            rows = [row for row in daemon.targets().values() if row["pid"] in ours]
            # What is not attached yet says why.
            assert all(row["reason"] for row in rows if row["state"] != "attached"), rows
            return sum(row["state"] == "attached" for row in rows) == COUNT

        daemon.wait_until(all_attached, "not all are attached", timeout=60 + COUNT / 2)
        for target in targets:
            target.run("direct", 100)
            target.settle()
        for target in targets[:2] + targets[-2:]:
            assert daemon.profile(target.pid).samples

        cycles = {target.pid: target.mallocs()[2] for target in targets}
        daemon.wait_until(lambda: cycles == {pid: row["gc_cycles"] for pid, row in daemon.targets().items() if pid in ours},
                          "collections are missing", timeout=30)
        rows, metrics = daemon.targets(), daemon.metrics()
        for state in ("attached", "unsupported", "failed", "exited"):
            assert metrics.sum("goheapd_targets", state=state) == sum(row["state"] == state for row in rows.values()), state
        assert metrics.sum("goheapd_gc_cycles_total") == sum(cycles.values())
        # On a busy machine one cycle may follow the other before it was looked at, which is counted.
        assert not daemon.lost_events().keys() - {"verdict_missed"}
        # A symbol table for each would be megabytes for each.
        print(f"{COUNT} targets: {usage.resident_bytes(daemon.process.pid) >> 20} MiB resident,",
              f"{usage.kernel_bytes(daemon.process.pid) >> 20} MiB in the kernel")
        assert usage.resident_bytes(daemon.process.pid) < 150 << 20
        assert usage.memory(daemon.process.pid) < usage.memory_limit() / 2
        code, seconds = daemon.stop()
        print(f"from SIGTERM to the end: {seconds:.1f} s")
        assert code == 0
        # Alone on a machine it is half a second for 200. One wait for the kernel after the other would be 30 ms for each
        # group of probes of each target, 12 s. Of 500 the kernel has to look at each of a file for each that goes.
        assert seconds < (30 if LONG else 6)
        for target in targets:
            assert target.text_differences() == []
            target.run("direct", 1)
