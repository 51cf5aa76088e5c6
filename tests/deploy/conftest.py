import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2e"))

import pytest  # noqa: E402

from harness.daemon import GOHEAPD  # noqa: E402
from tools import DEPLOY, run  # noqa: E402

# tests/run --all
LONG = bool(os.environ.get("GOHEAPD_LONG_TESTS"))


def pytest_sessionstart(session):
    if os.geteuid() != 0:
        pytest.exit("the tests of deploy/ need root", 2)
    if not GOHEAPD.exists():
        pytest.exit(f"{GOHEAPD} is missing: run deploy/build", 2)


@pytest.fixture(scope="session")
def package(tmp_path_factory):
    folder = tmp_path_factory.mktemp("package")
    printed = run(DEPLOY / "package", folder, timeout=1800).split()
    deb, = folder.glob("*.deb")
    assert printed[-1] == str(deb)
    return deb
