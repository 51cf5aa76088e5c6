"""go tool pprof works on our files, without the target's binary at hand."""
import pathlib
import shutil

import pytest
from harness import golang
from harness.daemon import Daemon
from harness.target import Target


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """[two profiles of one program, taken one after the other]; the program is gone when they are looked at."""
    folder = tmp_path_factory.mktemp("profiles")
    binary = folder / "gone"
    shutil.copy(golang.build(24, "stripped_pie"), binary)
    with Target(binary, profile_rate=1024) as target, Daemon(target.pid, arguments=["--mode", "sampled"]) as daemon:
        daemon.wait_for_state(target.pid)
        target.run("direct", 2000)
        target.run("inlined", 2000)
        target.settle()
        paths = []
        for name in ("first", "second"):
            path = folder / f"{name}.pb.gz"
            path.write_bytes(daemon.get(f"/targets/{target.pid}/debug/pprof/heap").body)
            paths.append(path)
            target.run("large", 4)
            target.settle()
    binary.unlink()
    return paths


def test_top(files):
    text = golang.pprof_tool("-top", "-sample_index=alloc_objects", files[0])
    assert "Type: alloc_objects" in text and "main.direct" in text and "main.inlinedInner" in text
    assert golang.pprof_tool("-top", files[0]).splitlines()[0] == "File: gone"


def test_traces(files):
    text = golang.pprof_tool("-traces", "-sample_index=alloc_space", files[0])
    assert "main.inlinedInner (inline)" in text or "main.inlinedInner" in text
    assert "bytes:" in text and "runtime.main" in text


def test_peek(files):
    text = golang.pprof_tool("-peek", "main.direct$", "-sample_index=alloc_space", files[0])
    assert "main.runScenario" in text and "| " in text


def test_list_names_files_and_lines(files):
    text = golang.pprof_tool("-top", "-lines", "-sample_index=alloc_space", files[0])
    assert "scenarios.go:" in text


def test_diff_base(files):
    text = golang.pprof_tool("-top", "-sample_index=inuse_space", f"-diff_base={files[0]}", files[1])
    rows = {line.split()[-1]: line.split()[0] for line in text.splitlines() if "main." in line}
    assert rows["main.large"] == "4MB"
    assert "main.direct" not in rows


def test_over_http(tmp_path):
    with Target.of(24, profile_rate=1024) as target, Daemon(target.pid, arguments=["--mode", "sampled"]) as daemon:
        daemon.wait_for_state(target.pid)
        target.run("direct", 2000)
        text = golang.pprof_tool("-top", "-sample_index=alloc_space", f"{daemon.url}/targets/{target.pid}/debug/pprof/heap")
        assert "main.direct" in text
        assert pathlib.Path(target.binary).exists()
