import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from harness import golang  # noqa: E402
from harness.daemon import GOHEAPD  # noqa: E402

# tests/run --all
LONG = bool(os.environ.get("GOHEAPD_LONG_TESTS"))
# Versions that differ in how the runtime allocates, for tests in which the program's version hardly matters.
FEW_VERSIONS = (19, 23, 27)
# The files that take longest come first: begun last, they would be waited for. What is beside test_governor, which
# measures, waits most of its time.
FIRST = ("test_runtime_sampling", "test_governor", "test_sampled", "test_turns", "test_gctrace", "test_lifecycle", "test_exact",
         "test_spans", "test_servers", "test_moves", "test_forks", "test_faults")


def pytest_sessionstart(session):
    if os.geteuid() != 0:
        pytest.exit("the end-to-end tests need root", 2)
    if not GOHEAPD.exists():
        pytest.exit(f"{GOHEAPD} is missing: run deploy/build", 2)


def pytest_generate_tests(metafunc):
    """A test that asks for (minor, variant) runs over the whole matrix; for minor alone, over all Go versions; for
    some_minor, over a few of them unless all are wanted."""
    if {"minor", "variant"} <= set(metafunc.fixturenames):
        metafunc.parametrize("minor,variant", [(m, v) for m in golang.VERSIONS for v in golang.VARIANTS],
                             ids=lambda value: f"go1.{value}" if isinstance(value, int) else value)
    elif "minor" in metafunc.fixturenames:
        metafunc.parametrize("minor", golang.VERSIONS, ids=lambda value: f"go1.{value}")
    elif "some_minor" in metafunc.fixturenames:
        metafunc.parametrize("some_minor", golang.VERSIONS if LONG else FEW_VERSIONS, ids=lambda value: f"go1.{value}")


def pytest_collection_modifyitems(items):
    """Workers beside one another take file by file, in this order."""
    items.sort(key=lambda item: FIRST.index(item.path.stem) if item.path.stem in FIRST else len(FIRST))
