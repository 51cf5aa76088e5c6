"""Real Go servers as Debian ships them, under load, against what their own /debug/pprof/heap says."""
import contextlib
import pathlib
import subprocess
import tempfile
import time
import urllib.error

import pytest
from harness import golang, pprof
from harness.daemon import GOHEAPD, Daemon, Metrics, fetch, free_port
from harness.target import text_differences

PROGRAMS = golang.CACHE / "programs"


class Server:
    """One real server: how to start it, what to load it with, where its own profile is."""

    def __init__(self, name, binary, go, arguments, ready, own_heap, load, files=()):
        self.name, self.go, self.ready, self.own_heap, self.load = name, go, ready, own_heap, load
        self.binary = PROGRAMS / name / "usr" / "bin" / binary
        self.arguments, self.files = arguments, dict(files)

    @contextlib.contextmanager
    def running(self, **environment):
        with tempfile.TemporaryDirectory() as directory, tempfile.TemporaryFile("w+") as log:
            names = {"dir": directory, "port": free_port(), "port2": free_port()}
            for file, text in self.files.items():
                (pathlib.Path(directory) / file).write_text(text.replace("PORT2", str(names["port2"])).replace("PORT", str(names["port"])))
            process = subprocess.Popen(
                [self.binary, *(argument.format(**names) for argument in self.arguments)], cwd=directory,
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                env={"PATH": "/usr/bin:/bin", "HOME": directory, "XDG_DATA_HOME": directory, "XDG_CONFIG_HOME": directory, **environment})
            base = f"http://127.0.0.1:{names['port']}"
            self.own_url = "http://127.0.0.1:" + self.own_heap.format(**names)
            try:
                deadline = time.monotonic() + 20
                while True:
                    try:
                        if fetch(base + self.ready).status == 200:
                            break
                    except (urllib.error.URLError, ConnectionError):
                        pass
                    if process.poll() is not None or time.monotonic() > deadline:
                        log.seek(0)
                        raise AssertionError(f"{self.name} does not start:\n{log.read()}")
                    time.sleep(0.05)
                yield process, base
            finally:
                process.kill()
                process.wait()

    def own_profile(self):
        return pprof.decode(fetch(self.own_url).body)

    def put_under_load(self, base, seconds):
        return subprocess.Popen(["wrk", "-t1", "-c8", f"-d{seconds}s", base + self.load], stdout=subprocess.PIPE, text=True)


PROMETHEUS = dict(
    binary="prometheus", ready="/-/ready", own_heap="{port}/debug/pprof/heap", load="/api/v1/query?query=count({{__name__=~\".%2b\"}})"
    .replace("{{", "{").replace("}}", "}"),
    arguments=["--config.file=prometheus.yml", "--storage.tsdb.path={dir}/data", "--web.listen-address=127.0.0.1:{port}"],
    files={"prometheus.yml": "scrape_configs:\n- job_name: self\n  scrape_interval: 1s\n  static_configs:\n"
                             "  - targets: ['127.0.0.1:PORT']\n"})
SERVERS = [
    Server("prometheus-bookworm", go=19, **PROMETHEUS),
    Server("etcd-server-trixie", "etcd", 24, ["--data-dir={dir}/data", "--enable-pprof", "--log-level=error",
                                              "--listen-client-urls=http://127.0.0.1:{port}",
                                              "--advertise-client-urls=http://127.0.0.1:{port}",
                                              "--listen-peer-urls=http://127.0.0.1:{port2}",
                                              "--initial-advertise-peer-urls=http://127.0.0.1:{port2}",
                                              "--initial-cluster=default=http://127.0.0.1:{port2}"],
           "/health", "{port}/debug/pprof/heap", "/metrics"),
    Server("caddy-sid", "caddy", 26, ["run", "--config", "Caddyfile", "--adapter", "caddyfile"], "/hello",
           "{port2}/debug/pprof/heap", "/hello",
           {"Caddyfile": "{\n admin 127.0.0.1:PORT2\n}\nhttp://127.0.0.1:PORT {\n templates\n header X-Of {http.request.uuid}\n"
                         " respond /hello \"{time.now} {http.request.uuid} {http.request.remote}\"\n}\n"}),
    Server("prometheus-sid", go=27, **PROMETHEUS),
]


def by_stack(profile, column):
    """{stack of (function, line): value}: objects of several sizes at one stack added up.

    Without files: Go's encoder knows one file per function name, and gives all of a package's initialisers, which come from
    many files, the first one's."""
    result = {}
    at = profile.column(column)
    for sample in profile.samples:
        if sample.values[at]:
            key = tuple((function, line) for function, _, line in sample.frames())
            result[key] = result.get(key, 0) + sample.values[at]
    return result


def by_function(profile, column):
    """{function: flat value}, as `go tool pprof -top` adds up."""
    result = {}
    for stack, value in by_stack(profile, column).items():
        assert stack, (value, profile.comments)
        result[stack[0][0]] = result.get(stack[0][0], 0) + value
    return result


def top(table, n=10):
    return sorted(table, key=lambda name: (-table[name], name))[:n]


@pytest.mark.parametrize("server", SERVERS, ids=lambda s: s.name)
def test_same_as_its_own_profile(server):
    """Attached to a server that has long been running and working, the profile is the server's own."""
    with server.running() as (process, base):
        before = server.put_under_load(base, 3)
        before.wait()
        # Mode auto would count what an idle server allocates, which its own profile does not have yet.
        with Daemon(process.pid, arguments=["--mode", "sampled"]) as daemon:
            row = daemon.wait_for_state(process.pid)
            assert row["go_version"].startswith(f"go1.{server.go}") and row["stripped"]
            load = server.put_under_load(base, 4)
            time.sleep(2)
            assert text_differences(process.pid), "sampled mode without a probe"
            under_load = daemon.profile(process.pid)
            assert under_load.samples
            report = load.communicate()[0]
            assert load.returncode == 0 and "Non-2xx" not in report, report
            check_same(daemon, process.pid, server)
            assert not daemon.lost_events(), daemon.lost_events()
            code, seconds = daemon.stop()
            assert code == 0 and seconds < 2
        assert text_differences(process.pid) == []
        assert fetch(base + server.ready).status == 200


@pytest.mark.parametrize("server", [SERVERS[1], SERVERS[2]], ids=lambda s: s.name)
def test_the_same_without_its_sampler(server):
    """A real server's sampler switched off by its environment: source spans finds what the sampler would have found."""
    shares = {}
    for source, rate in (("runtime", 64 << 10), ("spans", 0)):
        with server.running(GODEBUG=f"memprofilerate={rate}") as (process, base), \
                Daemon(process.pid, arguments=["--mode", "sampled"]) as daemon:
            assert daemon.wait_for_state(process.pid)["source"] == source
            server.put_under_load(base, 1).wait()  # what starting costs is over
            before = by_function(daemon.profile(process.pid, kind="allocs"), "alloc_space")

            def allocated():
                flat = by_function(daemon.profile(process.pid, kind="allocs"), "alloc_space")
                since = {function: value - before.get(function, 0) for function, value in flat.items()}
                total = sum(since.values())
                return total > 200 << 20 and {function: value / total for function, value in since.items()}

            with server.put_under_load(base, 60) as load:
                shares[source] = daemon.wait_until(allocated, "it hardly allocates", timeout=60)
                load.kill()
    large = [function for function, share in shares["runtime"].items() if share > 0.02]
    assert len(large) >= 3
    # A share of 2 % is 32 of our samples: a quarter and a hundredth are four standard deviations of it.
    wrong = {function: (shares["runtime"][function], shares["spans"].get(function, 0)) for function in large
             if abs(shares["runtime"][function] - shares["spans"].get(function, 0)) > 0.01 + 0.25 * shares["runtime"][function]}
    assert not wrong, wrong


def own_counters(base):
    """(bytes allocated since it started, bytes allocated and not freed), by the server's own Go collector."""
    metrics = Metrics.parse(fetch(base + "/metrics").text)
    return metrics.sum("go_memstats_alloc_bytes_total"), metrics.sum("go_memstats_alloc_bytes")


@pytest.mark.parametrize("rate", [512 << 10, 0], ids=["runtime", "spans"])
def test_recorded_exactly_with_the_live_heap(rate, tmp_path):
    """A window in which every allocation of a server at work is counted, and at its end what it holds."""
    server, output = SERVERS[1], tmp_path / "heap.pb.gz"
    with server.running(GODEBUG=f"memprofilerate={rate}") as (process, base):
        server.put_under_load(base, 1).wait()
        outer = own_counters(base)[0]
        with subprocess.Popen([GOHEAPD, "record", "--pid", str(process.pid), "--mode", "exact", "--live-heap", "--duration", "8s",
                               "-o", output], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as recording:
            deadline = time.monotonic() + 20
            while not text_differences(process.pid):
                assert time.monotonic() < deadline and recording.poll() is None, "no probe comes"
            time.sleep(0.7)
            inner = own_counters(base)[0]
            server.put_under_load(base, 2).wait()
            inner = own_counters(base)[0] - inner
            for _ in range(2):  # what is dead is collected, and counted by the next
                fetch(server.own_url + "?gc=1")
            own, held = server.own_profile(), own_counters(base)[1]
            text = recording.communicate(timeout=60)[0]
        assert recording.returncode == 0, text
        outer = own_counters(base)[0] - outer
        profile = pprof.decode(output.read_bytes())
        allocated, in_use = profile.total("alloc_space"), profile.total("inuse_space")
        # Pointer-free objects below 16 bytes count with the bytes asked for, not with the slots that they share.
        assert inner > 1 << 20 and 0.97 * inner <= allocated <= 1.01 * outer, (inner, allocated, outer)
        if rate:
            assert by_stack(profile, "inuse_space") == by_stack(own, "inuse_space")
        else:
            # What it has allocated since its last collection is held, too, but not in use before the next.
            assert 0.4 * held < in_use < 1.05 * held, (in_use, held, profile.comments)


def check_same(daemon, pid, server):
    """The server still does things of its own between two requests, so a moment is looked for in which it did not."""
    for attempt in range(10):
        own = server.own_profile()
        ours = daemon.profile(pid)
        again = server.own_profile()
        same = by_stack(own, "inuse_space") == by_stack(again, "inuse_space")
        if same or attempt == 9:
            break
        time.sleep(0.5)
    assert same, f"{server.name} never rests"
    theirs, mine = by_stack(own, "inuse_space"), by_stack(ours, "inuse_space")
    differ = {stack for stack in theirs.keys() | mine.keys() if theirs.get(stack) != mine.get(stack)}
    assert not differ, [(theirs.get(s), mine.get(s), [f[0] for f in s[:4]]) for s in list(differ)[:5]]
    assert top(by_function(own, "inuse_space")) == top(by_function(ours, "inuse_space"))
    # Ours are up to now, the server's up to its last collection.
    theirs, mine, later = (by_stack(p, "alloc_space") for p in (own, ours, again))
    less = {stack for stack in theirs if mine.get(stack, 0) < theirs[stack]}
    assert not less, [(theirs[s], mine.get(s), [f[0] for f in s[:4]]) for s in list(less)[:5]]
    a, b = sum(theirs.values()), sum(mine.values())
    assert a <= b < 1.5 * a + (64 << 20), (a, b)
    wanted = top(by_function(own, "alloc_space"), 5)
    assert set(wanted) <= set(top(by_function(ours, "alloc_space"), 15)), (wanted, top(by_function(ours, "alloc_space"), 15))
