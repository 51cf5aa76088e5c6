"""Large programs, each with symbols of its own: the daemon stays below what deploy/ allows it."""
import contextlib
import re
import shutil
import subprocess

from conftest import LONG
from harness import golang, usage
from harness.daemon import Daemon

PROGRAMS = golang.CACHE / "programs"
# Each waits for its standard input: (folder, program, arguments, how many copies).
WAITING = [
    ("prometheus-sid", "prometheus", ["--config.file=/dev/stdin", "--storage.tsdb.path={dir}", "--web.listen-address=127.0.0.1:0"], 6),
    ("prometheus-bookworm", "promtool", ["check", "metrics"], 8),
    ("caddy-sid", "caddy", ["fmt", "-"], 8),
    ("restic-trixie", "restic", ["init", "--repo", "{dir}/repository"], 8),
]
SHARE = 1 if LONG else 0.5   # of the copies
# Of the note that the Go linker leaves in an executable: sizes of name and content, type, name, and the build id.
GO_BUILD_ID = re.compile(rb"\x04\0\0\0[\x20-\x7f]\0\0\0\x04\0\0\0Go\0\0([\w-]{20})")


def copy_with_another_build_id(program, path, number):
    """As if it had been built from other sources."""
    shutil.copy(program, path)
    with path.open("r+b") as file:
        found = GO_BUILD_ID.search(file.read(1 << 16))
        assert found, f"{program} has no Go build id"
        file.seek(found.start(1))
        file.write(f"goheapd-test-{number:07}".encode())


def test_many_large_programs(tmp_path):
    with contextlib.ExitStack() as stack:
        daemon = stack.enter_context(Daemon.watching(tmp_path, ["--mode", "sampled"]))
        before = usage.memory(daemon.process.pid)
        pids = []
        for folder, program, arguments, count in WAITING:
            for _ in range(int(count * SHARE)):
                directory = tmp_path / str(len(pids))
                directory.mkdir()
                copy = directory / program
                copy_with_another_build_id(PROGRAMS / folder / "usr" / "bin" / program, copy, len(pids))
                process = stack.enter_context(subprocess.Popen(
                    [copy, *(argument.format(dir=directory) for argument in arguments)], cwd=directory, stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                    env={"PATH": "/usr/bin:/bin", "HOME": str(directory)}))
                stack.callback(process.kill)
                pids.append(process.pid)

        def attached():
            rows = daemon.targets()
            assert not [rows[pid] for pid in pids if pid in rows and rows[pid]["state"] in ("unsupported", "exited")]
            return all(rows.get(pid, {}).get("state") == "attached" for pid in pids)

        daemon.wait_until(attached, "not all are attached", timeout=120)
        # Symbols are looked up when somebody asks; and once more, for what is kept of that.
        for _ in range(2):
            for pid in pids:
                assert daemon.profile(pid).samples
            daemon.metrics()
        used = usage.memory(daemon.process.pid)
        print(f"{len(pids)} programs: {used >> 20} MiB, {before >> 20} without them")
        assert used > before + (len(pids) << 20), "they share symbols: this test would prove nothing"
        assert used < usage.memory_limit() * 3 // 4
        assert daemon.stop()[0] == 0
