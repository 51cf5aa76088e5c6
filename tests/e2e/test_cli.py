"""The commands that need no daemon, and what they say when something is wrong."""
import json
import pathlib
import subprocess
import time

import pytest
from harness import golang, pprof
from harness.daemon import GOHEAPD, free_port
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


def test_address_in_use():
    import socket
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert address in fails_with(1, "serve", "--pid", "1", "--web.listen-address", address)


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


@pytest.mark.parametrize("time", ["1x", "-1s", "", "1m30", "soon"])
def test_times_that_are_none(time):
    assert "1m30s" in fails_with(2, "record", "--pid", "1", "-o", "x", "--duration", time)


def test_a_listen_address_that_is_none():
    assert "HOST:PORT" in fails_with(2, "serve", "--pid", "1", "--web.listen-address", "nonsense")


def test_what_cannot_be_served_is_refused_before_programs_are_loaded():
    assert "probes attach" not in fails_with(1, "serve", "--pid", "1", "--web.config.file", "/nowhere/web.yml")


def test_record_of_nothing(tmp_path):
    assert "4194304" in fails_with(1, "record", "--pid", 4194304, "--duration", "1s", "-o", tmp_path / "x")
    assert not (tmp_path / "x").exists()


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
