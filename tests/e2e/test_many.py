"""Many processes of one file: one symbol table, and an end that does not take as many waits as there are targets."""
import contextlib

from harness import golang
from harness.daemon import Daemon
from harness.target import Target

COUNT = 60


def resident_mib(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:")) / 1024


def test_many_processes_of_one_file():
    binary = golang.build(24, "stripped")
    with contextlib.ExitStack() as stack:
        targets = [stack.enter_context(Target(binary)) for _ in range(COUNT)]
        daemon = stack.enter_context(Daemon.watching(binary))
        ours = {target.pid for target in targets}

        def all_attached():
            rows = daemon.targets()
            return ours <= {pid for pid, row in rows.items() if row["state"] == "attached"}

        daemon.wait_until(all_attached, "not all are attached", timeout=60)
        for target in targets:
            target.run("direct", 100)
            target.settle()
        assert daemon.profile(targets[0].pid).samples
        assert daemon.profile(targets[-1].pid).samples
        # A symbol table for each would be megabytes for each.
        assert resident_mib(daemon.process.pid) < 150
        assert not daemon.lost_events()
        code, seconds = daemon.stop()
        assert code == 0
        assert seconds < 30, "one wait after another"
        for target in targets:
            assert target.text_differences() == []
            target.run("direct", 1)
