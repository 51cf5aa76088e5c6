"""The HTTP contract: statuses, headers, JSON, aliases."""
import gzip
import re
import time

import pytest
from harness import golang, pprof
from harness.daemon import Daemon
from harness.target import Target


@pytest.fixture(scope="module")
def world():
    with Target.of(24, "stripped", profile_rate=1024) as target, Daemon(target.pid, arguments=["--mode", "sampled"]) as daemon:
        daemon.wait_for_state(target.pid)
        for scenario in target.scenarios():
            target.run(scenario, 100)
        target.settle()
        # Statuses and metrics are made about once a second; these tests may be through before the first one with a reading.
        daemon.wait_until(lambda: daemon.targets()[target.pid]["live_bytes"] > 0, "no reading is published")
        yield daemon, target


@pytest.fixture
def daemon(world):
    return world[0]


@pytest.fixture
def target(world):
    return world[1]


@pytest.mark.parametrize("path", ["/-/healthy", "/-/ready", "/healthz", "/readyz"])
def test_health(daemon, path):
    assert daemon.get(path).status == 200


def test_profile_headers(daemon, target):
    for kind in ("heap", "allocs"):
        answer = daemon.get(f"/targets/{target.pid}/debug/pprof/{kind}")
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert answer.headers["Content-Disposition"] == f'attachment; filename="{kind}"'
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.body[:2] == b"\x1f\x8b"
        gzip.decompress(answer.body)


def test_profile_contents(daemon, target):
    heap, allocs = daemon.profile(target.pid), daemon.profile(target.pid, "allocs")
    for profile, default in ((heap, "inuse_space"), (allocs, "alloc_space")):
        assert profile.sample_types == [("alloc_objects", "count"), ("alloc_space", "bytes"),
                                        ("inuse_objects", "count"), ("inuse_space", "bytes")]
        assert profile.default_sample_type == default
        assert profile.period_type == ("space", "bytes") and profile.period == 1024
        assert profile.time_ns > 1.7e18
    main = heap.mappings[0]
    assert main.file.endswith(target.binary.name) and main.build_id and main.start < main.limit
    for sample in heap.samples:
        assert not sample.functions()[0].startswith("runtime.") or all(f.startswith("runtime.") for f in sample.functions())
        for location in sample.locations:
            assert main.start <= location.address < main.limit and location.mapping == 1 and location.lines


def test_aliases(daemon, target):
    for kind in ("heap", "allocs"):
        alias = pprof.decode(daemon.get(f"/debug/pprof/{kind}?pid={target.pid}").body)
        direct = daemon.profile(target.pid, kind)
        assert alias.default_sample_type == direct.default_sample_type
        assert alias.total("inuse_space") == direct.total("inuse_space")


def test_text_form(daemon, target):
    answer = daemon.get(f"/targets/{target.pid}/debug/pprof/heap?debug=1")
    assert answer.status == 200 and answer.headers["Content-Type"].startswith("text/plain")
    head = re.match(r"heap profile: (\d+): (\d+) \[(\d+): (\d+)\] @ heap/(\d+)\n", answer.text)
    assert head, answer.text[:100]
    assert int(head[5]) == 2 * 1024
    # A frame as Go prints it: address, function and the offset in it, file and line.
    assert re.search(r"^#\t0x[0-9a-f]+\t+main\.direct\+0x[0-9a-f]+\t+\S+\.go:\d+$", answer.text, re.M), answer.text[:2000]


def test_text_form_ends_as_go_ends_it(daemon, target):
    """With what the runtime counts, under the names that Go prints."""
    text = daemon.get(f"/targets/{target.pid}/debug/pprof/heap?debug=1").text
    assert "\n\n# runtime.MemStats\n# Alloc = " in text
    block = dict(re.findall(r"^# (\w+) = (.*)$", text.split("# runtime.MemStats\n")[1], re.M))
    mallocs, frees, cycles = target.mallocs()
    # The program allocates a little when it is asked.
    assert mallocs - 2000 < int(block["Mallocs"]) <= mallocs and frees - 2000 < int(block["Frees"]) <= frees
    assert int(block["NumGC"]) == cycles and block["Alloc"] == block["HeapAlloc"]
    assert re.fullmatch(r"\d+ / \d+", block["Stack"]) and 0 <= float(block["GCCPUFraction"]) < 1
    assert int(block["HeapObjects"]) == int(block["Mallocs"]) - int(block["Frees"])
    assert not {"PauseNs", "PauseEnd", "Lookups", "DebugGC", "MaxRSS"} & block.keys()


@pytest.mark.parametrize("mode", ["sampled", "exact"])
def test_text_form_has_the_end_of_each_stack(mode):
    """Go prints the address in runtime.goexit after the others, and no frame for it."""
    with Target.of(24, profile_rate=1) as target, Daemon(target.pid, arguments=["--mode", mode]) as daemon:
        symbols = golang.go(24, "tool", "nm", target.binary)
        goexit = int(re.search(r"^ *([0-9a-f]+) T runtime\.goexit\.abi0$", symbols, re.M)[1], 16)
        daemon.wait_for_state(target.pid)
        target.run("direct", 100)
        target.settle()
        text = daemon.get(f"/targets/{target.pid}/debug/pprof/heap?debug=1").text
        records = [record for record in text.split("\n\n") if "main.direct+" in record]
        assert records
        for record in records:
            head = next(line for line in record.splitlines() if "] @" in line and "heap/" not in line)
            last = int(head.split()[-1], 16)
            assert last == goexit + 1, head
            assert "goexit" not in record


@pytest.mark.parametrize("path,status,says", [
    ("/targets/{pid}/debug/pprof/heap?seconds=x", 400, "seconds"),
    ("/targets/{pid}/debug/pprof/heap?seconds=-1", 400, "seconds"),
    ("/targets/{pid}/debug/pprof/heap?debug=x", 400, "debug"),
    ("/targets/{pid}/debug/pprof/heap?gc=1", 501, "gc"),
    ("/targets/{pid}/debug/pprof/heap?second=1", 400, "there are: seconds, debug, gc"),
    ("/targets/{pid}/gctrace?cycles=1", 400, "cycles"),
    ("/api/v1/targets?state=attached", 400, "state"),
    ("/targets/nonsense/debug/pprof/heap", 400, "pid"),
    ("/targets/1/debug/pprof/heap", 404, "1"),
    *((path, 404, "no Go process with pid 4194304; /api/v1/targets lists those there are")
      for path in ("/targets/4194304", "/targets/4194304/debug/pprof/heap", "/targets/4194304/metrics",
                   "/targets/4194304/gctrace", "/api/v1/targets/4194304/gc")),
    ("/debug/pprof/heap", 400, "pid"),
    ("/debug/pprof/heap?pid=x", 400, "pid"),
    ("/nowhere", 404, ""),
])
def test_errors(daemon, target, path, status, says):
    answer = daemon.get(path.format(pid=target.pid))
    assert answer.status == status, answer.text
    assert answer.headers["Content-Type"].startswith("application/json")
    message = answer.json()["error"]
    assert message and says in message


def test_targets(daemon, target):
    row = daemon.targets()[target.pid]
    assert row["state"] == "attached" and row["mode"] == "sampled" and row["source"] == "runtime"
    assert row["go_version"] == target.version
    assert row["exe"] == str(target.binary) and row["comm"] == target.binary.name[:15]
    assert row["module"] == "goheapd.test/target"
    assert row["stripped"] is True and row["pie"] is False
    assert row["live_bytes"] > 0 and 0 <= row["overhead_ratio"] < 1
    assert row["started_at"] and row["attached_at"]
    for field in ("reason", "pod", "namespace", "container", "samples", "alloc_bytes_per_second"):
        assert field in row


def test_service_discovery(daemon, target):
    groups = daemon.get("/api/v1/sd").json()
    [group] = [g for g in groups if g["labels"].get("__meta_goheapd_pid") == str(target.pid)
               or str(target.pid) in str(g["labels"])]
    assert group["targets"] == [f"127.0.0.1:{daemon.port}"]
    assert group["labels"]["__metrics_path__"] == f"/targets/{target.pid}/metrics"
    for path in (group["labels"]["__metrics_path__"], group["labels"]["__meta_goheapd_heap_path"]):
        assert daemon.get(path).status == 200


def test_landing_page(daemon, target):
    answer = daemon.get("/")
    assert answer.status == 200 and answer.headers["Content-Type"].startswith("text/html")
    for link in ("/metrics", "/api/v1/targets"):
        assert f'href="{link}"' in answer.text or f'href="{link.lstrip("/")}"' in answer.text


def test_page_of_a_target(daemon, target):
    answer = daemon.get(f"/targets/{target.pid}")
    assert answer.status == 200 and answer.headers["Content-Type"].startswith("text/html")
    links = re.findall(r'href="([^"]+)"', answer.text)
    for name in ("debug/pprof/heap", "debug/pprof/allocs", "gctrace", "metrics"):
        assert f"/targets/{target.pid}/{name}" in links
    for link in links:
        assert daemon.get(link).status == 200, link


def test_metrics(daemon, target):
    metrics = daemon.metrics()
    pid = str(target.pid)
    assert [value for _, value in metrics.select("goheapd_build_info")] == [1]
    assert metrics.sum("goheapd_targets", state="attached") == 1
    [(info, value)] = metrics.select("goheapd_target_info", pid=pid)
    assert value == 1 and info["go_version"] == target.version and info["mode"] == "sampled"
    assert metrics.sum("goheapd_live_bytes", pid=pid) > 0
    assert metrics.sum("goheapd_live_objects", pid=pid) > 0
    # What only a reading tells follows a collection within a moment.
    daemon.wait_until(lambda: daemon.metrics().sum("goheapd_gc_cycles_total", pid=pid) >= 2, "no GC cycles")
    # Each of the two stopped the program twice.
    metrics = daemon.wait_until(lambda: (m := daemon.metrics()).sum("goheapd_gc_pause_seconds_count", pid=pid) >= 4 and m,
                                "no pauses")
    assert 0 < metrics.sum("goheapd_gc_pause_seconds_sum", pid=pid) < 60
    # Every reason and kind is there from the start, so that a rate over it is never missing.
    lost = {labels["reason"] for labels, _ in metrics.select("goheapd_lost_events_total")}
    assert len(lost) >= 10
    readme = (golang.TREE / "README.md").read_text()
    assert not [reason for reason in lost if f"`{reason}`" not in readme], "a reason that README does not explain"
    assert len(metrics.select("goheapd_events_total")) >= 3
    assert len(metrics.select("goheapd_alloc_bytes_total", pid=pid)) == 11
    assert len(metrics.select("goheapd_site_live_bytes", pid=pid)) <= 21
    assert 0 <= metrics.sum("goheapd_overhead_ratio", pid=pid) < 1


def test_metrics_follow_the_target(daemon, target):
    target.settle()
    time.sleep(1)  # what earlier tests allocated is counted by now
    before = daemon.metrics()
    target.run("garbage", 5000)
    target.settle()

    def has_grown():
        now = daemon.metrics()
        grown = now.sum("goheapd_alloc_bytes_total", pid=str(target.pid)) - before.sum("goheapd_alloc_bytes_total",
                                                                                       pid=str(target.pid))
        return 0.8 * 5000 * 4096 < grown < 1.3 * 5000 * 4096

    daemon.wait_until(has_grown, "goheapd_alloc_bytes_total does not follow")


def test_head_and_unknown_methods(daemon):
    import http.client
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=10)
    connection.request("HEAD", "/metrics")
    answer = connection.getresponse()
    assert answer.status == 200 and answer.read() == b""
    connection.close()
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=10)
    connection.request("DELETE", "/metrics")
    assert connection.getresponse().status == 405
    connection.close()
