"""goheapd on kernels other than this machine's: the oldest it supports, Debian's stable ones, the newest there is."""
import json

import machine
import pytest
from harness import comparison, golang, pprof
from harness.daemon import Metrics


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
    assert doctor["can_profile"] is True and doctor["attach_method"] == machine.METHODS[name]


def test_sampled_profile_is_the_programs_own(booted):
    _, console = booted
    own, served = (pprof.decode(console.files[name]) for name in ("own.pb.gz", "served.pb.gz"))
    assert comparison.compare(own, served) >= 5
    lost = Metrics.parse(console.files["metrics.txt"].decode()).select("goheapd_lost_events_total")
    assert len(lost) > 5 and not any(value for _, value in lost), lost


@pytest.mark.parametrize("name", ["exact", "again"])   # the second after the first was killed for want of memory
def test_exact_profile_counts_every_object(booted, name):
    _, console = booted
    profile = pprof.decode(console.files[f"{name}.pb.gz"])

    def at_site(sample):   # what append allocates there is not among them
        return sample.functions()[0] == "main.direct" and sample.labels["bytes"] == 64

    assert profile.total("alloc_objects", at_site) == 500


def test_nothing_is_left_in_the_target(booted):
    _, console = booted
    assert console.failures == []
    assert console.clean == ["sampled", "killed", "exact", "auto"]


def test_ebpf_tests_pass(booted):
    name, console = booted
    assert console.failed == []
    expected = {f"Matrix/ExactCounts.EqualTheRuntimesOwn/go1_{golang.VERSIONS[-1]}",
                "Lifecycle.ExecEndsTheRecordingAndIsReported", "Lifecycle.ExitIsReportedAndCountsCanStillBeRead",
                "Lifecycle.RefusedInstructionsAreReplaced", "All/OlderMethods.CountExactly/tracefs_event",
                "All/OlderMethods.CountExactly/perf_uprobe", "Of/Capabilities.AreEnoughOrMissed/bpf_perfmon_ptrace"}
    assert expected <= set(console.passed)
