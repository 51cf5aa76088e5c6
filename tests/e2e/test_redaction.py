"""What an operator wants hidden is in nothing that leaves, and is hidden alike everywhere."""
import gzip
import re
import shutil
import signal
import subprocess
import uuid

from harness import golang
from harness.daemon import Daemon, GOHEAPD
from harness.kubernetes import ApiServer, pod, pod_cgroup
from harness.target import Target


def test_a_pattern_hides_names_everywhere(tmp_path):
    config = tmp_path / "goheapd.yml"
    config.write_text("mode: sampled\nredact: ['main', 'target']\n")
    with Target.of(24, profile_rate=1) as target, Daemon(target.pid, arguments=["--config", config]) as daemon:
        daemon.wait_for_state(target.pid)
        for scenario in target.scenarios():
            target.run(scenario, 100)
        target.settle()
        profile = daemon.profile(target.pid)
        frames = {frame for sample in profile.samples for frame in sample.frames()}
        assert any(function.startswith("redacted_") for function, _, _ in frames)
        row = daemon.targets()[target.pid]
        # Sites become metrics with the next reading.
        def sites_shown():
            shown = {labels["function"] for labels, _ in daemon.metrics().select("goheapd_site_live_bytes")}
            return any(site.startswith("redacted_") for site in shown) and shown
        sites = daemon.wait_until(sites_shown, "no sites")
        names = {function for function, _, _ in frames} | {file for _, file, _ in frames}
        for name in names | sites | {mapping.file for mapping in profile.mappings} | {row["exe"], row["comm"], row["module"]}:
            assert "main" not in name and "target" not in name, name
        # A function has the same name wherever it appears.
        digests = set(re.findall("redacted_[0-9a-f]{8}", " ".join(sites)))
        assert digests and digests <= {function.split(".")[0] for function, _, _ in frames}

        config.write_text("mode: sampled\n")
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_until(lambda: any("main." in function for sample in daemon.profile(target.pid).samples
                                      for function in sample.functions()), "the pattern stays after the reload")


# Of the program, its path, its functions and its types; of its pod, container, namespace, workload, labels, node.
NAMES = {"hushprog": "hushprog", "hushdir": "hushdir", "function": "runScenario", "type": "main.node", "pod": "hush-5d9f7c6b8",
         "container": "hushbox", "namespace": "hushspace", "label": "hushkey", "label value": "hushvalue", "node": "node-1",
         "workload": "hushwork"}


def everything_that_leaves(folder, patterns):
    """What an operator's neighbours could see: all endpoints, the log, a recording; the text of each by its name."""
    directory = folder / "hushdir"
    directory.mkdir(parents=True)
    program = directory / "hushprog"
    shutil.copy(golang.build(24, "plain"), program)
    uid, container_id = str(uuid.uuid4()), uuid.uuid4().hex * 2
    spoken = pod("hush-5d9f7c6b8-x2k4p", uid, "hushbox", container_id, namespace="hushspace",
                 labels={"hushkey": "hushvalue", "pod-template-hash": "5d9f7c6b8"})
    spoken["metadata"]["ownerReferences"][0]["name"] = "hushwork-5d9f7c6b8"
    hide = [word for pattern in patterns for word in ("--redact", pattern)]
    seen = {}
    with Target(program, profile_rate=1) as target, pod_cgroup(target.pid, uid, container_id), ApiServer(folder) as api:
        api.put(spoken)
        with Daemon(target.pid, arguments=[*api.arguments, *hide, "--mode", "exact", "--live-heap", "--log.level", "debug"]) as daemon:
            daemon.wait_for_state(target.pid)
            daemon.wait_until(lambda: daemon.targets()[target.pid]["pod"], "its pod is not known")
            for scenario in ("nodes", "direct"):
                target.run(scenario, 500)
            target.settle()
            base = f"/targets/{target.pid}"
            for path in ("/", "/metrics", "/api/v1/targets", "/api/v1/sd", f"{base}/debug/pprof/heap", f"{base}/debug/pprof/allocs",
                         f"{base}/debug/pprof/heap?debug=1", f"{base}/debug/pprof/heap?seconds=1", f"{base}/debug/pprof/",
                         f"{base}/metrics", f"{base}/gctrace", f"/api/v1{base}/gc", f"{base}/"):
                answer = daemon.get(path)
                seen[path] = gzip.decompress(answer.body) if answer.body[:2] == b"\x1f\x8b" else answer.body
            # A program that is not profiled any more, and why: errors name things, too.
            target.exit()
            daemon.wait_for_state(target.pid, "exited")
            for path in ("/api/v1/targets", f"{base}/debug/pprof/heap?seconds=1", f"{base}/metrics", f"{base}/gctrace"):
                seen[f"{path} of one that has exited"] = daemon.get(path).body
            daemon.stop()
            seen["log"] = daemon.log().encode()
    with Target(program, profile_rate=1) as target:
        recorder = subprocess.Popen([GOHEAPD, "record", "--pid", str(target.pid), "--duration", "1s", "--type", "allocs",
                                     "--mode", "exact", "-o", folder / "recorded", *hide],
                                    stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        while recorder.poll() is None:
            target.run("nodes", 500)
        printed = recorder.stdout.read()
        assert recorder.returncode == 0, printed
        seen["record"] = gzip.decompress((folder / "recorded").read_bytes())
        seen["what record prints"] = printed.replace(str(folder).encode(), b"")   # where we told it to write
    return {where: text.decode(errors="replace") for where, text in seen.items()}


def test_what_is_hidden_is_nowhere(tmp_path):
    open_ = everything_that_leaves(tmp_path / "open", [])
    for what, name in NAMES.items():   # or hiding it would prove nothing
        assert any(name in text for text in open_.values()), f"{what} {name} is nowhere anyway"
    assert "hushprog" in open_["log"] and "runScenario" in open_["record"] and "main.node" in open_["record"]
    hidden = everything_that_leaves(tmp_path / "hidden", [
        # Whole names, anchored, as well as parts.
        "hush", "^main[.]node$", "runScenario", "^node-1$", "[*]?main[.]node"])
    leaks = [f"{where}: {line.strip()[:200]}" for where, text in hidden.items() for line in text.splitlines()
             if any(name in line for name in [*NAMES.values(), "hush"])]
    assert not leaks, "\n".join(leaks[:20])
    assert all("redacted_" in hidden[where] for where in ("log", "record", "/metrics", "/api/v1/targets"))


def test_record_refuses_a_pattern_that_is_none():
    done = subprocess.run([GOHEAPD, "record", "--pid", "1", "-o", "/dev/null", "--redact", "("], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=20)
    assert done.returncode == 2 and "not a regular expression" in done.stderr, done
