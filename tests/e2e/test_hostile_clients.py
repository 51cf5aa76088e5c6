"""Clients that are slow, greedy or many cost neither targets nor memory, and others are served when they are gone."""
import contextlib
import pathlib
import re
import select
import socket
import time
import urllib.error

import pytest
from harness import golang, usage
from harness.child import Child
from harness.daemon import Daemon
from harness.target import Target

MIB = 1 << 20
# What a health probe waits, generously: deploy/kubernetes gives it 5 seconds, and three of them.
PROBE_SECONDS = 15
CONNECTIONS = 128
HELD = 64 * MIB   # of answers that are being sent


@pytest.fixture(scope="module")
def world():
    with Target.of(24, profile_rate=1024) as target, Daemon(target.pid) as daemon:
        daemon.wait_for_state(target.pid)
        target.ask("load 2")
        daemon.profile(target.pid)
        yield daemon, target
        rounds, errors = (int(word) for word in target.ask("stop"))
        assert rounds > 0 and errors == 0


def resident(daemon):
    status = pathlib.Path(f"/proc/{daemon.process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024


def rounds(target):
    return int(target.ask("status")[0])


def answers(daemon):
    with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
        return daemon.get("/-/healthy", timeout=5).status == 200


def connect(daemon):
    with contextlib.suppress(OSError):
        return socket.create_connection(("127.0.0.1", daemon.port), timeout=10)


def probe(daemon):
    """Is it healthy, as a service manager asks while others attack? One wait that is too long, and a pod is restarted."""
    began = time.monotonic()
    answer = daemon.get("/healthz", timeout=PROBE_SECONDS)
    assert answer.status == 200, answer.text
    return time.monotonic() - began


def hurt_nobody(daemon, target, before, worked):
    assert resident(daemon) - before < 48 * MIB
    daemon.wait_until(lambda: rounds(target) > worked, "the target stands still")
    daemon.wait_until(lambda: answers(daemon), "nobody is served any more", timeout=60)
    assert daemon.targets()[target.pid]["state"] == "attached"


def test_a_thousand_connections(world):
    daemon, target = world
    before, worked = resident(daemon), rounds(target)
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(s) for s in (connect(daemon) for _ in range(1000)) if s]
        assert len(sockets) > 128
        for s in sockets:
            with contextlib.suppress(OSError):
                s.send(b"GET /metrics HT")   # a request that never ends
        # They have all the connections, and who asks for something gets one of theirs, again and again.
        for _ in range(5):
            probe(daemon)
        assert resident(daemon) - before < 48 * MIB
    hurt_nobody(daemon, target, before, worked)


def test_heads_without_end(world):
    daemon, target = world
    before, worked = resident(daemon), rounds(target)
    for _ in range(5):
        with connect(daemon) as s, contextlib.suppress(OSError):
            s.send(b"GET / HTTP/1.1\r\n")
            for _ in range(1000):
                s.send(b"X-Long: " + b"y" * 65536 + b"\r\n")
            pytest.fail("64 megabytes of headers were taken")
    hurt_nobody(daemon, target, before, worked)


def test_bodies_are_not_read(world):
    daemon, target = world
    before, worked = resident(daemon), rounds(target)
    with connect(daemon) as s, contextlib.suppress(OSError):
        s.send(b"POST /debug/pprof/symbol HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n")
        for _ in range(4000):
            s.send(b"z" * 65536)
        pytest.fail("a quarter of a gigabyte was taken")
    hurt_nobody(daemon, target, before, worked)


def test_profiles_that_nobody_reads(world):
    daemon, target = world
    before, worked = resident(daemon), rounds(target)
    with contextlib.ExitStack() as stack:
        for _ in range(60):
            s = connect(daemon)
            if s:
                stack.enter_context(s)
                s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
                s.send(f"GET /targets/{target.pid}/debug/pprof/heap?debug=1 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        hurt_nobody(daemon, target, before, worked)


@contextlib.contextmanager
def deaf_readers(daemon, path):
    """As many clients as there may be ask for this and do not read."""
    with contextlib.ExitStack() as stack:
        for _ in range(CONNECTIONS):
            s = stack.enter_context(socket.socket())
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            s.settimeout(10)
            s.connect(("127.0.0.1", daemon.port))
            s.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        yield


def test_large_answers_that_nobody_reads():
    """Megabytes for each connection are hundreds for all of them; they are held up to a limit, and others are served."""
    with Child(golang.build(24, program="bench"), "stacks", "1200", greets=False) as program:
        with Daemon(program.pid, arguments=["--mode", "buckets"]) as daemon:
            daemon.wait_for_state(program.pid)
            path = f"/targets/{program.pid}/debug/pprof/heap?debug=1"
            daemon.wait_until(lambda: len(daemon.get(path).body) > 2 * MIB, "no large profile")
            size = len(daemon.get(path).body)
            assert CONNECTIONS * size > 3 * HELD
            before, highest, waits = usage.resident_bytes(daemon.process.pid), 0, []
            with deaf_readers(daemon, path):
                end = time.monotonic() + 12
                while time.monotonic() < end:
                    waits.append(probe(daemon))
                    highest = max(highest, usage.resident_bytes(daemon.process.pid))
                    time.sleep(0.1)
                # Whoever reads gets its answer, sooner or later: nobody keeps the memory for good.
                daemon.wait_until(lambda: daemon.get("/metrics").status == 200, "no metrics", timeout=60)
                daemon.wait_until(lambda: daemon.get(path).status == 200, "no profile", timeout=90)
            print(f"answers of {size / MIB:.1f} MiB: {(highest - before) >> 20} MiB more at most; /healthz after {max(waits):.1f} s at most")
            # Beside what is held: four in the making, each as a snapshot, as text and as a text that has just grown.
            assert highest - before < HELD + 4 * 4 * size + 32 * MIB
            assert daemon.stop()[0] == 0


def test_differences_are_limited(world):
    """64 at once, all of which go on while the others are turned away."""
    daemon, target = world
    deadline = time.monotonic() + 90
    with contextlib.ExitStack() as stack:
        running = []
        while True:
            assert time.monotonic() < deadline, f"{len(running)} differences are under way"
            while len(running) < 80:
                connection = connect(daemon)
                if connection is None:
                    time.sleep(0.1)
                    continue
                running.append(stack.enter_context(connection))
                connection.send(f"GET /targets/{target.pid}/debug/pprof/heap?seconds=300 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            # Whoever is one too many is told so at once. On a busy machine others, too, may be asked to try again.
            while len(running) > 64 and time.monotonic() < deadline:
                for s in select.select(running, [], [], 1)[0]:
                    assert s.recv(4096).split(b" ", 2)[1] == b"503"
                    running.remove(s)
            if len(running) == 64 and daemon.get(f"/targets/{target.pid}/debug/pprof/heap?seconds=1").status == 503:
                break
        # A profile as of now is not refused, and the 64 go on.
        daemon.wait_until(lambda: daemon.get(f"/targets/{target.pid}/debug/pprof/heap").status == 200, "no profile as of now")
        assert select.select(running, [], [], 0)[0] == []


def test_the_rate_limit_of_the_web_config(tmp_path):
    (tmp_path / "web.yml").write_text("rate_limit: {interval: 1h, burst: 30}\n")
    arguments = ("--mode", "buckets", "--include", "^/nowhere$", "--web.config.file", tmp_path / "web.yml")
    with Daemon.starting(*arguments) as daemon:
        daemon.wait_until(lambda: " serves http" in daemon.log(), "does not serve")
        # Every request counts, that of a probe too, as in the exporter-toolkit.
        statuses = [daemon.get("/-/healthy").status for _ in range(31)]
        assert statuses == [200] * 30 + [429]
        assert daemon.get("/metrics").headers["Retry-After"]
        (tmp_path / "web.yml").write_text("rate_limit: {interval: 0}\n")
        daemon.wait_until(lambda: daemon.get("/-/healthy").status == 200, "the file is not read again")
