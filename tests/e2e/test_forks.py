"""A child that a program forks and that executes nothing: it goes on with a copy of its parent's memory, with all probes
in it. Neither may be harmed, and neither's objects may be booked to the other."""
import contextlib
import os
import pathlib
import random
import signal
import time

import pytest
from conftest import LONG
from harness import golang
from harness.daemon import Daemon
from harness.forks import Forks
from harness.target import text_differences
from harness.waiting import wait_for


def is_alive(pid):
    return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"


def assert_works(program, child):
    """Only that one of its children is there."""
    before = program.rounds()
    wait_for(lambda: program.rounds() > before + 20, "the child stands still", 20)
    assert is_alive(child)
    assert program.ask("work 1000") == "done"


@contextlib.contextmanager
def forked(program):
    child = program.fork()
    try:
        yield child
    finally:
        os.kill(child, signal.SIGKILL)


@pytest.mark.parametrize("mode", ["exact", "sampled"])
def test_a_killed_daemon_harms_neither(mode, some_minor):
    delays = random.Random(some_minor)
    with Forks(golang.build(some_minor, "stripped", program="forks"), rate=1) as program:
        for _ in range(20 if LONG else 1):
            with Daemon(program.pid, arguments=["--mode", mode]) as daemon:
                daemon.wait_for_state(program.pid)
                with forked(program) as child:
                    assert text_differences(child), "no probe in the child: this test would prove nothing"
                    assert_works(program, child)
                    time.sleep(delays.uniform(0, 0.2))
                    daemon.stop(signal.SIGKILL)
                    for pid in (program.pid, child):
                        wait_for(lambda pid=pid: not text_differences(pid), f"a probe is left in process {pid}", 20)
                    assert_works(program, child)


def quiet_counts(daemon, program):
    """(objects by the program's runtime, by goheapd, that profile) of one moment."""
    for _ in range(20):
        mallocs = program.mallocs()
        profile = daemon.profile(program.pid, "allocs")
        if program.mallocs() == mallocs:
            return mallocs, profile.total("alloc_objects"), profile
    raise AssertionError("the program never comes to rest")


def objects_in(profile, function):
    return profile.total("alloc_objects", lambda sample: function in sample.functions())


def test_each_has_its_own_books(tmp_path):
    binary = golang.own(golang.build(24, program="forks"), tmp_path)
    with Forks(binary) as program, Daemon.watching(tmp_path, ["--mode", "exact"]) as daemon:
        daemon.wait_for_state(program.pid)
        mallocs, counted, _ = quiet_counts(daemon, program)
        with forked(program) as child:
            assert_works(program, child)   # also while nobody knows the child
            daemon.wait_for_state(child)   # it is a program like any other
            assert_works(program, child)
            later, counted_later, profile = quiet_counts(daemon, program)
            assert later - mallocs == counted_later - counted
            assert objects_in(profile, "main.parentWork") == 2000 and objects_in(profile, "main.childRound") == 0
            own = daemon.profile(child, "allocs")
            assert objects_in(own, "main.parentWork") == 0 and objects_in(own, "main.childRound") > 20 * 20
            assert not daemon.lost_events().keys() - {"stack_unreadable"}
            assert daemon.stop()[0] == 0
            for pid in (program.pid, child):
                assert text_differences(pid) == []
            assert_works(program, child)


def test_the_runtimes_samples_of_a_child_are_not_its_parents(tmp_path):
    with Forks(golang.build(24, program="forks"), rate=1) as program:
        with Daemon(program.pid, arguments=["--mode", "sampled"]) as daemon:
            daemon.wait_for_state(program.pid)
            with forked(program) as child:
                assert_works(program, child)
            with forked(program) as child:   # which collects garbage first
                assert_works(program, child)
                # A reading that was under way may be answered with.
                daemon.wait_until(lambda: objects_in(daemon.profile(program.pid, "allocs"), "main.parentWork") == 2000,
                                  "the program's own objects are not found")
                assert objects_in(daemon.profile(program.pid, "allocs"), "main.childRound") == 0
                assert not daemon.lost_events().keys()


def test_more_stacks_than_there_is_room_for(tmp_path):
    """What does not fit is counted without its stack, and the room is there again when its program has gone."""
    objects = 150_000
    binary = golang.own(golang.build(24, "stripped", program="forks"), tmp_path)
    with Daemon.watching(tmp_path, ["--mode", "exact"]) as daemon:
        with Forks(binary) as program:
            daemon.wait_for_state(program.pid)
            mallocs, counted, _ = quiet_counts(daemon, program)
            assert program.ask(f"branches {objects}") == "done"
            later, counted_later, profile = quiet_counts(daemon, program)
            assert later - mallocs == counted_later - counted >= objects
            lost = daemon.lost_events()
            assert lost["counts_full"] > objects / 10 and not lost.keys() - {"counts_full", "stack_ring_full", "stack_unreadable"}
            unknown = objects_in(profile, "[goheapd: stack unknown]")
            assert unknown >= lost["counts_full"]
            assert objects_in(profile, "main.branch") >= objects - unknown
            assert any(comment.startswith(f"{unknown} objects have no stack") for comment in profile.comments), profile.comments
        daemon.wait_for_state(program.pid, "exited")
        with Forks(binary) as program:
            daemon.wait_for_state(program.pid)
            assert program.ask("branches 1000") == "done"
            assert objects_in(daemon.profile(program.pid, "allocs"), "main.branch") == 1000
            assert daemon.lost_events() == lost
