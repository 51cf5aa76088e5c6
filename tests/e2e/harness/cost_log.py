"""What goheapd's probes take of programs, watched all the time, by goheapd's own figures: hits that the kernel has
counted times what one costs here."""
import os
import pathlib
import threading
import time

TICKS = os.sysconf("SC_CLK_TCK")
LEAST_CPU = 2.0  # seconds of a window, for a share of it to say something


def cpu_seconds(pid):
    """That the process has used."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


class CostLog:
    """Looks about four times a second while it is entered."""

    def __init__(self, daemon, pids):
        self.daemon, self.looks = daemon, {pid: [] for pid in pids}
        self._stop, self._thread = threading.Event(), threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exception):
        self._stop.set()
        self._thread.join()

    def _run(self):
        while not self._stop.wait(0.25):
            try:
                rows = self.daemon.targets()
                for pid, looks in self.looks.items():
                    if rows.get(pid, {}).get("state") == "attached":
                        looks.append((time.monotonic(), rows[pid]["probe_cpu_seconds"], cpu_seconds(pid)))
            except OSError:
                return  # one of the two has ended; too few looks are found out by check()

    def shares(self, pid, seconds, least_cpu=LEAST_CPU):
        """[(share of the CPU time that it used, which probes took, when)] of every window of so many seconds in which it used
        at least so many seconds of CPU time: of next to nothing any share is nothing."""
        looks, windows, first = self.looks[pid], [], 0
        for now, probes, cpu in looks:
            while first + 1 < len(looks) and now - looks[first + 1][0] >= seconds:
                first += 1
            began, probes_before, cpu_before = looks[first]
            if now - began >= seconds and cpu - cpu_before >= least_cpu:
                windows.append(((probes - probes_before) / (cpu - cpu_before), began - looks[0][0]))
        return windows

    def check(self, pid, limit=0.05, seconds=10):
        """In no window more than this share."""
        # A slow machine may leave a program less than that in all.
        windows = self.shares(pid, seconds, min(LEAST_CPU, 0.3 * self.looks[pid][-1][2]))
        assert windows and self.looks[pid][-1][1] > 0, self.looks[pid]
        worst = max(windows)
        assert worst[0] <= limit, (worst, self.daemon.log())
        return worst[0]
