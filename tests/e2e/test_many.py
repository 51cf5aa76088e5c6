"""Many processes of few files: one symbol table for each file, and an end that does not take as many waits as there are
targets."""
import contextlib

from conftest import LONG
from harness import golang, usage
from harness.daemon import Daemon
from harness.target import Target

COUNT = 500 if LONG else 60


def test_many_processes_of_two_files(tmp_path):
    """Every second one has no sampler of its own."""
    binaries = [golang.own(golang.build(24, "stripped", tags=tags), tmp_path / (tags or "plain")) for tags in ("", "noprofile")]
    with contextlib.ExitStack() as stack:
        targets = [stack.enter_context(Target(binaries[i % 2])) for i in range(COUNT)]
        daemon = stack.enter_context(Daemon.watching(tmp_path, ["--mode", "sampled"]))
        ours = {target.pid for target in targets}

        def all_attached():
            rows = daemon.targets()
            return ours <= {pid for pid, row in rows.items() if row["state"] == "attached"}

        daemon.wait_until(all_attached, "not all are attached", timeout=60 + COUNT / 2)
        for target in targets:
            target.run("direct", 100)
            target.settle()
        for target in targets[:2] + targets[-2:]:
            assert daemon.profile(target.pid).samples
        daemon.metrics()
        # A symbol table for each would be megabytes for each.
        print(f"{COUNT} targets: {usage.resident_bytes(daemon.process.pid) >> 20} MiB resident,",
              f"{usage.kernel_bytes(daemon.process.pid) >> 20} MiB in the kernel")
        assert usage.resident_bytes(daemon.process.pid) < 150 << 20
        assert usage.memory(daemon.process.pid) < usage.memory_limit() / 2
        # On a busy machine one cycle may follow the other before it was looked at, which is counted.
        assert not daemon.lost_events().keys() - {"verdict_missed"}
        code, seconds = daemon.stop()
        print(f"from SIGTERM to the end: {seconds:.1f} s")
        assert code == 0
        # Alone on a machine it is one second for 200. One wait for the kernel after the other would be 30 ms for each group
        # of probes of each target.
        assert seconds < 10 + COUNT / 50
        for target in targets:
            assert target.text_differences() == []
            target.run("direct", 1)
