"""A running `goheapd serve`, asked over HTTP like anybody would."""
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

from . import pprof
from .golang import TREE

GOHEAPD = pathlib.Path(os.environ.get("GOHEAPD_BINARY") or TREE / "build" / "goheapd")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)

    @property
    def text(self):
        return self.body.decode()


def fetch(url, timeout=60, headers=None):
    """GET; an error status is an answer like any other."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers or {}), timeout=timeout) as response:
            return Answer(response.status, response.headers, response.read())
    except urllib.error.HTTPError as error:
        return Answer(error.code, error.headers, error.read())


class Metrics(dict):
    """{(name, frozenset of label pairs): value} of a Prometheus text."""

    LINE = re.compile(r'^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$')
    LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"(?:,|$)')

    @classmethod
    def parse(cls, text):
        metrics = cls()
        for line in text.splitlines():
            if not line or line.startswith("#"):
                continue
            match = cls.LINE.match(line)
            assert match, f"not a sample: {line!r}"
            labels = frozenset(cls.LABEL.findall(match[2] or ""))
            assert (match[1], labels) not in metrics, f"twice: {line!r}"
            metrics[match[1], labels] = float(match[3])
        return metrics

    def select(self, name, **labels):
        """[(labels as dict, value)] of the series that have these labels."""
        return [(dict(own), value) for (own_name, own), value in self.items()
                if own_name == name and labels.items() <= dict(own).items()]

    def sum(self, name, **labels):
        return sum(value for _, value in self.select(name, **labels))


class Daemon:
    """Always restricted to the given pids: other people's programs on this machine are none of our business."""

    def __init__(self, *pids, arguments=()):
        self._start(pids, arguments)
        try:
            self.wait_until(self._is_ready, "goheapd does not become ready", timeout=45)
        except BaseException:
            self.kill()
            raise

    @classmethod
    def starting(cls, *arguments):
        """Without waiting until it answers, which not everybody may ask: TLS, passwords."""
        daemon = cls.__new__(cls)
        daemon._start((), arguments)
        return daemon

    def _start(self, pids, arguments):
        assert pids or "--include" in arguments, "name the targets"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = tempfile.TemporaryFile("w+")
        command = [GOHEAPD, "serve", "--web.listen-address", f"127.0.0.1:{self.port}", *arguments]
        for pid in pids:
            command += ["--pid", str(pid)]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self._log, stderr=subprocess.STDOUT)

    @classmethod
    def watching(cls, place, arguments=()):
        """Watches for processes of this one file, or of the files in this folder."""
        return cls(arguments=["--include", f"^{re.escape(str(place))}(/|$)", *arguments])

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.kill()
        if exception[0]:
            print(self.log())
        self._log.close()

    def log(self):
        self._log.seek(0)
        return self._log.read()

    def wait_until(self, condition, what, timeout=15.0):
        deadline = time.monotonic() + timeout
        while True:
            assert self.process.poll() is None, f"goheapd has ended with {self.process.returncode}:\n{self.log()}"
            result = condition()
            if result:
                return result
            assert time.monotonic() < deadline, f"{what}:\n{self.log()}"
            time.sleep(0.01)

    def _is_ready(self):
        try:
            return self.get("/-/ready").status == 200
        except (urllib.error.URLError, ConnectionError):
            return False

    def get(self, path, timeout=60, headers=None):
        return fetch(self.url + path, timeout, headers)

    def targets(self):
        return {target["pid"]: target for target in self.get("/api/v1/targets").json()["targets"]}

    def wait_for_state(self, pid, state="attached", timeout=15.0):
        def in_state():
            target = self.targets().get(pid)
            assert not (target and state == "attached" and target["state"] in ("failed", "unsupported")), target
            return target if target and target["state"] == state else None
        return self.wait_until(in_state, f"target {pid} does not become {state}", timeout)

    def profile(self, pid, kind="heap", **parameters):
        query = "&".join(f"{name}={value}" for name, value in parameters.items())
        answer = self.get(f"/targets/{pid}/debug/pprof/{kind}" + (f"?{query}" if query else ""))
        assert answer.status == 200, f"{answer.status}: {answer.text}"
        return pprof.decode(answer.body)

    def metrics(self):
        return Metrics.parse(self.get("/metrics").text)

    def lost_events(self):
        """{reason: count} of what was lost, by the daemon's own account."""
        return {labels["reason"]: value for labels, value in self.metrics().select("goheapd_lost_events_total") if value}

    def stop(self, how=signal.SIGTERM):
        """Ends the daemon; gives (exit code, seconds that it took)."""
        began = time.monotonic()
        self.process.send_signal(how)
        code = self.process.wait(30)
        return code, time.monotonic() - began

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
