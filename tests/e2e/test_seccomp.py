"""What the daemon may still ask of the kernel once it serves. That it can do all it must, the other tests show."""
import pathlib
import re
import signal

from harness.daemon import Daemon
from harness.target import Target


def threads(daemon):
    """Seccomp mode and no_new_privs of each thread; 2 is a filter."""
    def of(status):
        return tuple(int(re.search(rf"^{name}:\s+(\d+)$", status, re.MULTILINE)[1]) for name in ("Seccomp", "NoNewPrivs"))
    return {of(task.read_text()) for task in pathlib.Path(f"/proc/{daemon.process.pid}/task").glob("*/status")}


def test_every_thread_is_filtered_and_all_goes_on(tmp_path):
    config = tmp_path / "goheapd.yml"
    config.write_text("mode: sampled\n")
    with Target.of(24, profile_rate=1024) as first, Target.of(22, profile_rate=1024) as second, \
            Daemon(first.pid, second.pid, arguments=["--config", config]) as daemon:
        daemon.wait_for_state(first.pid)
        assert threads(daemon) == {(2, 1)}
        # Loading another program's probes, another mode's programs, threads for requests.
        config.write_text("mode: exact\n")
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_until(lambda: daemon.targets()[second.pid]["mode"] == "exact", "not reloaded")
        daemon.wait_for_state(second.pid)
        assert daemon.profile(second.pid, seconds=1)
        assert threads(daemon) == {(2, 1)}
        assert daemon.stop()[0] == 0


def test_it_can_be_left_out_for_a_reason():
    with Target.of(24) as target, Daemon(target.pid, arguments=["--seccomp.off", "looking for a bug"]) as daemon:
        assert threads(daemon) == {(0, 0)}
        assert "not filtered: looking for a bug" in daemon.log()
