"""The commands that need no daemon, and what they say when something is wrong."""
import contextlib
import json
import os
import pathlib
import re
import signal
import stat
import subprocess
import tempfile
import time
import urllib.error

import pytest
from harness import golang, pprof, waiting
from harness.daemon import GOHEAPD, Metrics, fetch, free_port
from harness.target import Target


def goheapd(*arguments, timeout=60):
    return subprocess.run([GOHEAPD, *map(str, arguments)], capture_output=True, text=True, timeout=timeout,
                          stdin=subprocess.DEVNULL)


def fails_with(code, *arguments):
    """One line on stderr that says what is wrong."""
    result = goheapd(*arguments)
    assert result.returncode == code, (result.returncode, result.stdout, result.stderr)
    assert result.stderr.strip()
    return result.stderr


@pytest.mark.parametrize("command", ["serve", "record", "inspect", "doctor"])
def test_help(command):
    result = goheapd(command, "--help")
    assert result.returncode == 0 and command in result.stdout


def test_serve_names_its_flags():
    text = goheapd("serve", "--help").stdout
    for flag in ("--web.listen-address", "--web.config.file", "--config", "--mode", "--pid", "--include", "--exclude",
                 "--overhead-budget", "--data-dir", "--log.level", "--log.format"):
        assert flag in text, flag


def test_version():
    result = goheapd("--version")
    assert result.returncode == 0 and "goheapd" in result.stdout


@pytest.mark.parametrize("arguments", [["nonsense"], ["serve", "--nonsense"], ["serve", "--mode", "nonsense"],
                                       ["serve", "--pid", "x"], ["record"], ["inspect"]])
def test_usage_errors(arguments):
    fails_with(2, *arguments)


@contextlib.contextmanager
def serving(*arguments, prefix=()):
    """`goheapd serve` under a command that takes something away from it, and what it logs."""
    url = f"http://127.0.0.1:{free_port()}"
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen([*prefix, GOHEAPD, "serve", "--web.listen-address", url.removeprefix("http://"), *map(str, arguments)],
                                   stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)

        def logged():
            log.seek(0)
            return log.read()

        def ready():
            assert process.poll() is None, logged()
            try:
                return fetch(url + "/-/ready").status == 200
            except (urllib.error.URLError, ConnectionError):
                return False
        try:
            waiting.wait_for(ready, "goheapd does not become ready", 60)
            yield url, logged
        finally:
            process.kill()
            process.wait()


WITHOUT_PTRACE = ["setpriv", "--bounding-set", "-all,+bpf,+perfmon", "--inh-caps", "-all"]


def denied_by(url):
    return Metrics.parse(fetch(url + "/metrics").text).sum("goheapd_processes_denied")


def wait_for_denied(url):
    """It publishes anew what is older than a tenth of a second."""
    waiting.wait_for(lambda: denied_by(url), "no process is denied", 20)
    return denied_by(url)


def test_serve_that_may_not_look_says_so():
    """It would find nothing and look as if there were nothing to find."""
    with Target.of(24) as target, serving("--mode", "buckets", "--include", "^/nowhere/", prefix=WITHOUT_PTRACE) as (url, logged):
        wait_for_denied(url)
        page = fetch(url + "/").text
        assert "may not be looked at" in page and "CAP_SYS_PTRACE" in page, page
        warnings = [line for line in logged().splitlines() if "CAP_SYS_PTRACE" in line]
        assert len(warnings) == 1 and "level=warn" in warnings[0], logged()
        with serving("--mode", "buckets", "--pid", target.pid, prefix=WITHOUT_PTRACE) as (one, told):
            assert f"pid {target.pid} of --pid may not be looked at" in told() and "is no Go program" not in told(), told()
            assert wait_for_denied(one) == 1


def test_serve_that_may_look_says_nothing_of_it():
    with serving("--mode", "buckets", "--include", "^/nowhere/") as (url, logged):
        time.sleep(0.5)   # more scans than one are not needed, and what they say is published by then
        assert denied_by(url) == 0
        assert "looked at" not in logged() + fetch(url + "/").text


def test_address_in_use():
    import socket
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        text = fails_with(1, "serve", "--pid", "1", "--web.listen-address", address)
        assert address in text and "ss -ltnp" in text and "choose another" in text, text
        assert "probes attach" not in text, "found only after programs were loaded"


@pytest.mark.parametrize("mode", ["auto", "sampled", "exact"])
def test_record(mode, tmp_path):
    """The profile of a while, in a file that go tool pprof opens."""
    output = tmp_path / "heap.pb.gz"
    with Target.of(24, "stripped", profile_rate=1024) as target:
        with subprocess.Popen([GOHEAPD, "record", "--pid", str(target.pid), "--duration", "4s", "-o", output, "--mode", mode,
                               "--type", "allocs"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as recording:
            deadline = time.monotonic() + 20
            while not target.text_differences():
                assert time.monotonic() < deadline and recording.poll() is None, "no probe comes"
            time.sleep(0.7)
            target.run("direct", 3000)
            text = recording.communicate(timeout=30)[0]
        assert recording.returncode == 0, text
        profile = pprof.decode(output.read_bytes())
        objects = profile.total("alloc_objects", lambda s: s.functions()[0] == "main.direct")
        assert objects == 3000 if mode == "exact" else 2000 < objects < 4500
        assert "main.direct" in golang.pprof_tool("-top", output)
        assert target.text_differences() == []


def test_record_to_standard_output():
    with Target.of(24, profile_rate=1024) as target:
        target.run("direct", 1000)
        target.settle()
        result = subprocess.run([GOHEAPD, "record", "--pid", str(target.pid), "--duration", "0m0.1s", "-o", "-"],
                                capture_output=True, timeout=60, stdin=subprocess.DEVNULL)
        assert result.returncode == 0, result.stderr
        assert pprof.decode(result.stdout).samples
        assert result.stderr == b""


@pytest.mark.parametrize("kind", ["device", "fifo", "link"])
def test_record_into_what_is_no_regular_file(kind, tmp_path):
    """It is written into and stays what it is: a rename would have put a file in the place of the host's device."""
    output = tmp_path / "output"
    if kind == "fifo":
        os.mkfifo(output)
    else:
        os.mknod(tmp_path / "device", stat.S_IFCHR | 0o600, os.makedev(1, 3))
        output.symlink_to("device") if kind == "link" else (tmp_path / "device").rename(output)
    before = output.stat()
    with Target.of(24, profile_rate=1024) as target:
        target.run("direct", 1000)
        with subprocess.Popen([GOHEAPD, "record", "--pid", str(target.pid), "--duration", "0.1s", "-o", output],
                              stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
            if kind == "fifo":
                assert pprof.decode(output.read_bytes()).samples
            text = process.communicate(timeout=60)[1]
            assert process.returncode == 0, text
    after = output.stat()
    assert (after.st_ino, after.st_mode, after.st_rdev) == (before.st_ino, before.st_mode, before.st_rdev)
    assert output.is_symlink() == (kind == "link")
    assert len(list(tmp_path.iterdir())) == (2 if kind == "link" else 1)


@contextlib.contextmanager
def recording(target, output, *arguments, stdout=subprocess.PIPE):
    """`goheapd record` of a minute at work, which nobody wants to wait for."""
    with subprocess.Popen([GOHEAPD, "record", "--pid", str(target.pid), "--duration", "1m", "-o", output, *arguments],
                          stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE) as process:
        try:
            deadline = time.monotonic() + 30
            while not target.text_differences():
                assert time.monotonic() < deadline and process.poll() is None, "no probe comes"
                time.sleep(0.01)
            time.sleep(0.7)
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM], ids=lambda s: s.name)
@pytest.mark.parametrize("kind", ["allocs", "heap"])
def test_a_recording_that_is_stopped_is_written(kind, how, tmp_path):
    output = tmp_path / "profile.pb.gz"
    with Target.of(24, "stripped", profile_rate=1024) as target, recording(target, output, "--type", kind) as process:
        target.run("direct", 1000)
        process.send_signal(how)
        text = process.communicate(timeout=20)[1].decode()
        assert process.returncode == 0 and "ended early" in text and "of 60.0 s" in text, text
        profile = pprof.decode(output.read_bytes())
        assert profile.total("alloc_objects", lambda s: s.functions()[0] == "main.direct") > 500
        assert any("ended early" in comment and "signal" in comment for comment in profile.comments), profile.comments
        assert target.text_differences() == []


def test_a_second_signal_ends_a_recording_at_once(tmp_path):
    """Its pipe is full and nobody reads: the first signal's profile would wait for ever."""
    with Target.of(24, "stripped", profile_rate=1024) as target:
        reads, writes = os.pipe()
        try:
            os.set_blocking(writes, False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    os.write(writes, b"x" * 4096)
            os.set_blocking(writes, True)
            with recording(target, "-", stdout=writes) as process:
                process.send_signal(signal.SIGINT)
                time.sleep(0.5)
                assert process.poll() is None
                process.send_signal(signal.SIGINT)
                assert process.wait(5) == -signal.SIGINT
        finally:
            os.close(reads)
            os.close(writes)


@pytest.mark.parametrize("kind", ["allocs", "heap"])
def test_the_recorded_program_ends(kind, tmp_path):
    """What was recorded of it is written, and an exit code of its own says that it is not all."""
    output = tmp_path / "profile.pb.gz"
    with Target.of(24, "stripped", profile_rate=1024) as target, recording(target, output, "--type", kind) as process:
        target.run("direct", 1000)
        target.settle()
        time.sleep(0.7)
        target.exit()
        text = process.communicate(timeout=20)[1].decode()
        assert process.returncode == 3 and f"process {target.pid} has ended" in text, text
        profile = pprof.decode(output.read_bytes())
        assert profile.total("alloc_objects", lambda s: s.functions()[0] == "main.direct") > 500
        assert any("ended early" in comment for comment in profile.comments), profile.comments


@pytest.mark.parametrize("time", ["5", "1.5", "0.5"])
def test_a_time_needs_a_unit(time):
    text = fails_with(2, "record", "--pid", "1", "-o", "x", "--duration", time)
    assert f"{time}s" in text and "no unit" in text
    assert "no unit" in fails_with(2, "serve", "--pid", "1", "--exited-retention", time)


@pytest.mark.parametrize("time", ["1x", "-1s", "", "1m30", "soon"])
def test_times_that_are_none(time):
    assert "1m30s" in fails_with(2, "record", "--pid", "1", "-o", "x", "--duration", time)


def test_a_recording_takes_some_time():
    assert "longer than 0s" in fails_with(2, "record", "--pid", "1", "-o", "x", "--duration", "0s")


def test_what_a_recording_without_live_heap_shows(tmp_path):
    """Nothing is in use in it, which is said before; the line that is printed shows something all the same."""
    output = tmp_path / "heap.pb.gz"
    with Target.of(24, profile_rate=1024) as target, recording(target, output, "--mode", "exact") as process:
        target.run("direct", 1000)
        process.send_signal(signal.SIGINT)
        text = process.communicate(timeout=20)[1].decode()
    assert "mode exact does not see what is freed" in text and "--type allocs" in text, text
    line = re.search(r"; try: go tool pprof (.*)$", text, re.MULTILINE)[1]
    assert "main.direct" in golang.pprof_tool(*line.split()), line


def test_a_listen_address_that_is_none():
    assert "HOST:PORT" in fails_with(2, "serve", "--pid", "1", "--web.listen-address", "nonsense")


def test_what_cannot_be_served_is_refused_before_programs_are_loaded():
    assert "probes attach" not in fails_with(1, "serve", "--pid", "1", "--web.config.file", "/nowhere/web.yml")


def test_record_of_nothing(tmp_path):
    assert "4194304" in fails_with(1, "record", "--pid", 4194304, "--duration", "1s", "-o", tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_a_pid_that_is_no_go_program(tmp_path):
    """Whoever mistypes a pid, or is not root, is told what to look at."""
    nothing = ["4194304", "in a container"]
    shell = [str(os.getpid()), f"ps -p {os.getpid()}"]
    for pid, advice in nothing, shell:
        assert advice in fails_with(1, "record", "--pid", pid, "-o", tmp_path / "x")
    assert "in a container" in fails_with(1, "inspect", "--pid", "4194304")
    assert "built by Go 1.19 and 1.21 to 1.27" in fails_with(1, "inspect", "--pid", os.getpid())
    with Target.of(24) as target:
        for command in ["inspect"], ["record", "-o", tmp_path / "x"]:
            result = subprocess.run(["setpriv", "--bounding-set=-all", "--inh-caps=-all", GOHEAPD, *command, "--pid",
                                     str(target.pid)], capture_output=True, text=True, timeout=60)
            assert result.returncode == 1 and "has no CAP_SYS_PTRACE" in result.stderr, result.stderr


def test_inspect(minor, variant):
    result = goheapd("inspect", "--json", golang.build(minor, variant))
    assert result.returncode == 0, result.stderr
    facts = json.loads(result.stdout)
    text = json.dumps(facts)
    assert f"go1.{minor}" in text and "goheapd.test/target" in text
    assert "runtime.mallocgc" in text
    assert facts["pie"] is ("pie" in variant)
    assert facts["stripped"] is ("stripped" in variant)
    plain = goheapd("inspect", golang.build(minor, variant)).stdout
    assert f"go1.{minor}" in plain and "runtime.mallocgc" in plain


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["serve", "--help"], ["inspect"], ["inspect", "--json"],
                                       ["doctor"], ["doctor", "--json"]], ids=" ".join)
def test_what_cannot_be_printed_is_no_success(arguments, tmp_path):
    os.mknod(tmp_path / "full", stat.S_IFCHR | 0o600, os.makedev(1, 7))
    file = [golang.build(24)] if arguments[0] == "inspect" else []
    with open(tmp_path / "full", "wb") as full:
        result = subprocess.run([GOHEAPD, *arguments, *file], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert result.returncode == 1
    assert result.stderr == "goheapd: cannot write: standard output: No space left on device\n"


def test_inspect_of_a_process():
    with Target.of(24) as target:
        by_pid = json.loads(goheapd("inspect", "--json", "--pid", target.pid).stdout)
        by_file = json.loads(goheapd("inspect", "--json", target.binary).stdout)
        assert by_pid["go_version"] == by_file["go_version"] == target.version


def test_inspect_of_what_is_not_go(tmp_path):
    assert "Go" in fails_with(1, "inspect", "/bin/sh")
    fails_with(1, "inspect", tmp_path / "missing")
    broken = tmp_path / "broken"
    broken.write_bytes(pathlib.Path(golang.build(24)).read_bytes()[:100000])
    fails_with(1, "inspect", broken)


def test_doctor():
    result = goheapd("doctor", "--json")
    assert result.returncode == 0, result.stdout + result.stderr
    assert json.loads(result.stdout)
    assert goheapd("doctor").stdout.strip()


def test_doctor_without_rights():
    """Somebody who may not load eBPF programs is told so."""
    result = subprocess.run(["setpriv", "--bounding-set=-all", "--inh-caps=-all", GOHEAPD, "doctor"], capture_output=True,
                            text=True, timeout=60)
    assert result.returncode == 1, result.stdout + result.stderr
    assert "CAP_" in result.stdout + result.stderr


def test_doctor_with_few_descriptors():
    """Neither the kernel nor the verifier is to blame."""
    def with_at_most(files):
        limit = f"--nofile={files}"
        return subprocess.run(["prlimit", limit, GOHEAPD, "doctor"], capture_output=True, text=True, timeout=60)

    for files in 8, 16, 20, 24:  # by the call that misses one first, the error is another
        result = with_at_most(files)
        assert result.returncode == 1 and "verifier" not in result.stdout, result.stdout
        assert "LimitNOFILE" in re.search(r"^fail  programs .*\n *-> (.*)", result.stdout, re.MULTILINE)[1], result.stdout
    result = with_at_most(64)
    assert result.returncode == 0 and re.search("^warn  open files  +at most 64$", result.stdout, re.MULTILINE), result.stdout


def test_config_file_has_the_same_keys(tmp_path):
    port = free_port()
    config = tmp_path / "goheapd.yml"
    with Target.of(24) as target:
        config.write_text(f"web.listen-address: ['127.0.0.1:{port}']\npid: [{target.pid}]\nlog.format: json\n")
        with subprocess.Popen([GOHEAPD, "serve", "--config", config], stderr=subprocess.PIPE, text=True) as process:
            first = json.loads(process.stderr.readline())
            assert first
            process.terminate()
            process.communicate(timeout=5)
        assert process.returncode == 0
        config.write_text("nonsense: 1\n")
        assert "nonsense" in fails_with(2, "serve", "--config", config)
