"""goheapd on kernels other than this machine's: the oldest it supports, Debian's stable ones, the newest there is."""
import concurrent.futures
import json

import machine
import pytest
from harness import comparison, golang, pprof
from harness.daemon import GOHEAPD, Metrics

# Rows of tests/tools/fetch-kernels, and how probes attach there for root.
METHODS = {"5.10": "tracefs_event", "6.1": "tracefs_event", "6.12": "uprobe_multi", "newest": "uprobe_multi"}
# A run takes 40 s alone; other work on the machine shall not decide. The guest gives up before, and says where it hangs.
TIMEOUT = 300


@pytest.fixture(scope="module")
def initramfs(tmp_path_factory):
    return machine.build_initramfs(GOHEAPD.parent, tmp_path_factory.mktemp("vm"))


@pytest.fixture(scope="module")
def consoles(initramfs):
    """{row: what will be the console of its one run}; two at a time, since a machine is idle for much of its boot."""
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        yield {name: pool.submit(machine.boot, name, initramfs, TIMEOUT) for name in METHODS}


@pytest.fixture(scope="module", params=METHODS)
def booted(request, consoles):
    """(row, console)"""
    console = consoles[request.param].result()
    assert console.is_done, console.text[-5000:]
    return request.param, console


def test_the_kernel_is_the_one_that_was_meant(booted):
    name, console = booted
    version = tuple(int(part) for part in console.kernel.split("-")[0].split("+")[0].split(".")[:2])
    if name == "newest":
        assert version >= (7, 0)
    else:
        assert version == tuple(int(part) for part in name.split("."))


def test_doctor_agrees(booted):
    name, console = booted
    doctor = json.loads(console.files["doctor.json"])
    assert doctor["can_profile"] is True and doctor["attach_method"] == METHODS[name]


def test_sampled_profile_is_the_programs_own(booted):
    _, console = booted
    own, served = (pprof.decode(console.files[name]) for name in ("own.pb.gz", "served.pb.gz"))
    assert comparison.compare(own, served) >= 5
    lost = Metrics.parse(console.files["metrics.txt"].decode()).select("goheapd_lost_events_total")
    assert len(lost) > 5 and not any(value for _, value in lost), lost


def test_exact_profile_counts_every_object(booted):
    _, console = booted
    profile = pprof.decode(console.files["exact.pb.gz"])

    def at_site(sample):   # what append allocates there is not among them
        return sample.functions()[0] == "main.direct" and sample.labels["bytes"] == 64

    assert profile.total("alloc_objects", at_site) == 500


def test_nothing_is_left_in_the_target(booted):
    _, console = booted
    assert console.failures == []
    assert console.clean == ["sampled", "exact", "killed", "memory"]


def test_ebpf_tests_pass(booted):
    name, console = booted
    assert console.failed == [], console.text[-8000:]
    expected = {f"Matrix/ExactCounts.EqualTheRuntimesOwn/go1_{golang.VERSIONS[-1]}", "Lifecycle.DetachRestoresTheCode",
                f"Matrix/SampledEvents.AreTheRuntimesOwnSamples/go1_{golang.VERSIONS[-1]}",
                "Lifecycle.KilledProfilerLeavesNothing", "All/OlderMethods.CountExactly/tracefs_event",
                "All/OlderMethods.CountExactly/perf_uprobe", "Of/Capabilities.AreEnoughOrMissed/bpf_perfmon_ptrace"}
    assert expected <= set(console.passed)
