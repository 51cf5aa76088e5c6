import concurrent.futures
import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "e2e"))
sys.path.insert(0, str(pathlib.Path(__file__).parent))

import machine  # noqa: E402

from harness.daemon import GOHEAPD  # noqa: E402

# tests/run --all
if not os.environ.get("GOHEAPD_LONG_TESTS"):
    collect_ignore = ["test_systemd.py"]


def boot(name, initramfs):
    """An emulated machine now and then stands still by itself, above all with the newest kernel: what it says is shown, and it
    gets a second chance, once. What we break breaks again."""
    console = machine.boot(name, initramfs, machine.TIMEOUT)
    if console.is_done:
        return console
    print(f"--- {name} did not come to its end:\n{console.story[-20000:]}\n---", file=sys.stderr)
    return machine.boot(name, initramfs, machine.TIMEOUT)


@pytest.fixture(scope="session")
def consoles(tmp_path_factory):
    """{row: what will be the console of its one run}; two at a time, since a machine is idle for much of its boot."""
    initramfs = machine.build_initramfs(GOHEAPD.parent, tmp_path_factory.mktemp("vm"))
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        yield {name: pool.submit(boot, name, initramfs) for name in machine.METHODS}


@pytest.fixture(scope="session", params=machine.METHODS)
def row(request):
    return request.param


@pytest.fixture
def booted(row, consoles):
    """(row, console); a test that fails shows what the machine said."""
    console = consoles[row].result()
    print(f"--- console of {row}:\n{console.story[-20000:]}\n---")
    assert console.is_done
    return row, console
