"""Source spans: the heap of programs whose runtime does not sample, compared with what these programs know themselves."""
import contextlib
import math
import re
import signal
import subprocess
import time

import pytest
from conftest import FEW_VERSIONS, LONG
from harness import golang
from harness.daemon import Daemon, Metrics, free_port
from harness.life_ledger import SITES, LifeLedger
from harness.pprof import FROM_BEFORE
from harness.span_books import by_site, check_allocations, check_in_use, near

PROGRAMS = golang.CACHE / "programs"  # tests/tools/fetch-programs
OBJECTS = 100_000
MANY = 400_000
SOME_VERSIONS = golang.VERSIONS if LONG else FEW_VERSIONS


def collected(daemon, program):
    """The profile after all that is dead was found dead; goheapd looks at each cycle before the next one begins."""
    for _ in range(3):
        program.ask("gc")
        profile = daemon.profile(program.pid)
    return profile


def work(program, seconds):
    """Objects come and go, garbage reuses their slots, cycles end every few milliseconds to a second."""
    program.ask("replace 30")
    program.ask("churn 2")
    time.sleep(seconds)
    program.ask("replace 0")
    program.ask("calm")


def test_equal_to_what_the_program_knows(minor):
    with LifeLedger(minor, OBJECTS) as program, Daemon(program.pid, arguments=["--mode", "sampled"]) as daemon:
        row = daemon.wait_for_state(program.pid)
        assert (row["mode"], row["source"]) == ("sampled", "spans")
        daemon.profile(program.pid)  # the books are open
        program.ask(f"hold 0 {OBJECTS}")
        work(program, 2)
        profile = collected(daemon, program)
        assert profile.period > 1
        check_in_use(profile, program)
        check_allocations(profile, program)
        # What was let go of is gone.
        program.ask(f"drop 0 {OBJECTS}")
        profile = collected(daemon, program)
        left = sum(size for site, size in by_site(profile, "inuse_space").items() if site in SITES)
        assert left < 200_000, (by_site(profile, "inuse_space"), profile.comments)
        assert daemon.metrics().sum("goheapd_events_total", kind="span_death") > 100
        # On a busy machine one cycle may follow the other before it was looked at, which is counted.
        assert not daemon.lost_events().keys() - {"verdict_missed"}, daemon.lost_events()


@pytest.mark.parametrize("environment", [{"GOGC": "10"}, {"GOGC": "off", "GOMEMLIMIT": "400MiB"}, {"GOGC": "off"}],
                         ids=["gogc10", "memlimit", "gc_off"])
def test_each_site_within_15_percent(environment):
    """So many objects that each site above 5 % of the heap has hundreds of samples, so 15 % is what chance seldom exceeds."""
    with contextlib.ExitStack() as stack:
        programs = [stack.enter_context(LifeLedger(minor, MANY, **environment)) for minor in SOME_VERSIONS]
        daemon = stack.enter_context(Daemon(*(program.pid for program in programs), arguments=["--mode", "sampled"]))
        for program in programs:
            daemon.wait_for_state(program.pid)
            daemon.profile(program.pid)
        for program in programs:  # one after the other, so that goheapd gets to look at each cycle
            program.ask(f"hold 0 {MANY}")
            work(program, 1)
            profile = collected(daemon, program)
            check_each_site(profile, program)
            check_allocations(profile, program)
            check_settings(daemon, program, environment)
            program.ask(f"drop 0 {MANY}")
            program.ask("gc")


def check_each_site(profile, program):
    heap, _ = program.heap()
    total = profile.total("inuse_space")
    assert near(total, heap["heap_alloc"], 0.05), (program.binary, total, heap, profile.comments)
    ours = by_site(profile, "inuse_space")
    held = {site: size for site, (_, size) in program.held().items() if size >= 0.05 * total}
    assert len(held) >= 4
    # Four standard deviations, which is more than 15 % where there are less than 711 samples.
    wrong = {site: (ours[site], size) for site, size in held.items()
             if not near(ours[site], size, max(0.15, 4 / math.sqrt(size / profile.period)))}
    assert not wrong, (program.binary, wrong, ours, profile.comments)


def check_settings(daemon, program, environment):
    """Of its last cycle, as it was told to collect."""
    last = daemon.get(f"/api/v1/targets/{program.pid}/gc").json()["cycles"][-1]
    percent = environment["GOGC"]
    assert last["gogc_percent"] == (-1 if percent == "off" else int(percent))
    assert last["memory_limit_bytes"] == (400 << 20 if "GOMEMLIMIT" in environment else None)


def test_seldom_collected():
    """Seconds between cycles: everything that came and went meanwhile gets its verdict from one of them."""
    with LifeLedger(golang.VERSIONS[-1], MANY, GOGC="off") as program, \
            Daemon(program.pid, arguments=["--mode", "sampled"]) as daemon:
        daemon.wait_for_state(program.pid)
        daemon.profile(program.pid)
        program.ask(f"hold 0 {MANY}")
        for _ in range(3 if LONG else 1):
            program.ask("gc")
            program.ask("replace 30")
            program.ask("churn 2")  # with much garbage before the cycle and none after it
            time.sleep(10 if LONG else 3)
            program.ask("calm")
            program.ask("replace 0")
            before = program.heap()[0]["gc_cycles"]
            program.ask("gc")
            profile = daemon.profile(program.pid)
            assert program.heap()[0]["gc_cycles"] == before + 1
            check_in_use(profile, program)
            check_allocations(profile, program)
        assert not daemon.lost_events(), daemon.lost_events()


def test_attached_to_a_program_that_has_run(some_minor):
    """What was allocated before is known by its size only, is shown so, and goes away when it dies."""
    half = OBJECTS // 2
    with LifeLedger(some_minor, OBJECTS) as program:
        program.ask(f"hold 0 {half}")
        program.ask("gc")
        heap, _ = program.heap()
        with Daemon(program.pid, arguments=["--mode", "sampled"]) as daemon:
            daemon.wait_for_state(program.pid)
            profile = daemon.profile(program.pid)
            before = by_site(profile, "inuse_space")[FROM_BEFORE]
            assert near(before, heap["heap_alloc"], 0.05)
            program.ask(f"hold {half} {OBJECTS}")
            profile = collected(daemon, program)
            heap, _ = program.heap()
            ours = by_site(profile, "inuse_space")
            assert near(profile.total("inuse_space"), heap["heap_alloc"], 0.05)
            # A thousand objects of what was there are followed.
            assert near(ours[FROM_BEFORE], before, 0.1), ours
            program.ask(f"drop 0 {half}")
            profile = collected(daemon, program)
            assert by_site(profile, "inuse_space")[FROM_BEFORE] < 0.1 * before
            check_in_use(profile, program, seen_from_start=False)


def test_garbage_from_before_is_not_in_use(some_minor):
    """A program that has not collected for long when goheapd comes: as in every Go heap profile, in use is what its last
    cycle has left, not what it has allocated since."""
    half = OBJECTS // 2
    with LifeLedger(some_minor, OBJECTS, GOGC="off") as program:
        program.ask(f"hold 0 {half}")
        program.ask("gc")
        program.ask("gc")
        left = program.heap()[0]["heap_alloc"]
        program.ask(f"hold {half} {OBJECTS}")
        program.ask(f"drop {half} {OBJECTS}")
        now = program.heap()[0]["heap_alloc"]
        assert now > 1.5 * left
        with Daemon(program.pid, arguments=["--mode", "sampled"]) as daemon:
            daemon.wait_for_state(program.pid)
            profile = daemon.profile(program.pid)
            assert near(profile.total("inuse_space"), left, 0.03), (left, now, profile.comments)
            assert any("only estimated" in comment for comment in profile.comments), profile.comments
            # What is in memory is told as such; metrics may be those of a moment before.
            daemon.wait_until(
                lambda: near(daemon.metrics().sum("goheapd_live_bytes", pid=str(program.pid)), now, 0.05),
                "live bytes are those in memory")
            profile = collected(daemon, program)
            assert near(profile.total("inuse_space"), program.heap()[0]["heap_alloc"], 0.05)
            assert not any("only estimated" in comment for comment in profile.comments), profile.comments


def test_the_profile_tells_of_which_cycle_it_is(some_minor):
    """In use is as of the program's last cycle, whose number and end the program's own runtime knows, too."""
    with LifeLedger(some_minor, OBJECTS) as program, Daemon(program.pid, arguments=["--mode", "sampled"]) as daemon:
        daemon.wait_for_state(program.pid)
        daemon.profile(program.pid)
        program.ask(f"hold 0 {OBJECTS}")
        for _ in range(3):
            profile = collected(daemon, program)
            cycles = program.heap()[0]["gc_cycles"]
            [comment] = [comment for comment in profile.comments if "GC cycle" in comment]
            number, end = re.fullmatch(r"inuse as of GC cycle (\d+), which ended at (\S+)", comment).groups()
            assert int(number) == cycles, (comment, cycles)
            last = daemon.get(f"/api/v1/targets/{program.pid}/gc").json()["cycles"][-1]
            assert (last["cycle"], last["ended_at"][:22]) == (cycles, end[:22]), (last, comment)


def verdicts(daemon, program):
    row = daemon.targets()[program.pid]
    return [row[name] for name in ("missed_cycles", "lost_verdicts", "inuse_reliable")]


def test_cycles_that_nobody_looks_at_are_told():
    """While goheapd stands still, objects may die unseen."""
    with LifeLedger(golang.VERSIONS[-1], OBJECTS) as program, \
            Daemon(program.pid, arguments=["--mode", "sampled"]) as daemon:
        daemon.wait_for_state(program.pid)
        daemon.profile(program.pid)
        program.ask(f"hold 0 {OBJECTS}")
        collected(daemon, program)
        # On a busy machine one may be missed at the start; it is one of more than a hundred before long.
        for _ in range(150):
            missed, lost, reliable = verdicts(daemon, program)
            if reliable:
                break
            collected(daemon, program)
        assert reliable
        daemon.process.send_signal(signal.SIGSTOP)
        for _ in range(20):
            program.ask("gc")
        daemon.process.send_signal(signal.SIGCONT)
        daemon.wait_until(lambda: verdicts(daemon, program)[0] >= missed + 10, "no missed cycles")
        now_missed, now_lost, reliable = verdicts(daemon, program)
        assert now_lost > lost and not reliable
        pid = str(program.pid)
        metrics = daemon.metrics()
        assert metrics.sum("goheapd_spans_missed_cycles_total", pid=pid) >= now_missed
        assert metrics.sum("goheapd_spans_lost_verdicts_total", pid=pid) >= now_lost
        assert metrics.sum("goheapd_spans_inuse_reliable", pid=pid) == 0
        assert any("inuse is unreliable" in comment for comment in daemon.profile(program.pid).comments)


def test_stripped_position_independent():
    with LifeLedger(27, OBJECTS, variant="stripped_pie") as program, \
            Daemon(program.pid, arguments=["--mode", "sampled"]) as daemon:
        assert daemon.wait_for_state(program.pid)["source"] == "spans"
        daemon.profile(program.pid)
        program.ask(f"hold 0 {OBJECTS}")
        profile = collected(daemon, program)
        check_in_use(profile, program)


def test_both_samplers_agree():
    """The same program with the runtime's sampler and without: two independent ways to the same heap."""
    totals = {}
    rate = 16 << 10
    for tags, source in (("profile", "runtime"), ("", "spans")):
        with LifeLedger(24, MANY, tags=tags, GODEBUG=f"memprofilerate={rate}" if tags else "") as program, \
                Daemon(program.pid, arguments=["--mode", "sampled"]) as daemon:
            assert daemon.wait_for_state(program.pid)["source"] == source
            daemon.profile(program.pid)
            program.ask(f"hold 0 {MANY}")
            profile = collected(daemon, program)
            totals[source] = by_site(profile, "inuse_space")
    large = [site for site in SITES if totals["spans"][site] > 0.05 * totals["spans"].total()]
    assert len(large) >= 4
    for site in large:
        # Five standard deviations of the runtime's sampler, and our own 15 %.
        share = 0.15 + 5 / math.sqrt(totals["spans"][site] / rate)
        assert share < 0.35
        assert near(totals["runtime"][site], totals["spans"][site], share), totals


def statistics(daemon, pid):
    answer = daemon.get(f"/targets/{pid}/metrics")
    assert answer.status == 200, answer.text
    metrics = Metrics.parse(answer.text)
    return metrics.sum("go_memstats_alloc_bytes_total"), metrics.sum("go_memstats_heap_alloc_bytes")


def check_in_use_of_a_cycle(daemon, pid, profile, heap_alloc):
    """Of a program that goes on working: in use is what the cycle that the profile names has marked, as its runtime counts
    that, and no more than is allocated now. False: that cycle, or what it left, is not to be had."""
    in_use = profile.total("inuse_space")
    comment = next((comment for comment in profile.comments if "GC cycle" in comment), None)
    if comment is None or any("unreliable" in comment for comment in profile.comments):
        return False
    number = int(re.match(r"inuse as of GC cycle (\d+)", comment)[1])
    cycles = daemon.get(f"/api/v1/targets/{pid}/gc").json()["cycles"]
    marked = [cycle["heap_bytes"]["marked"] for cycle in cycles if cycle["cycle"] == number]
    if not marked:
        return False
    assert near(in_use, marked[0], 0.1), (in_use, marked, comment)
    if cycles[-1]["cycle"] == number:  # else a later one may have freed much of it
        assert in_use <= 1.05 * heap_alloc, (in_use, heap_alloc, comment)
    return True


def test_restic_backup(tmp_path):
    """A real program under load, as Debian ships it: the books add up at every moment, to what its runtime counts."""
    restic = PROGRAMS / "restic-trixie" / "usr" / "bin" / "restic"
    command = [restic, "--quiet", "--no-cache", "--repo", tmp_path / "repository"]
    environment = {"PATH": "/usr/bin:/bin", "RESTIC_PASSWORD": "secret", "HOME": str(tmp_path)}
    subprocess.run([*command, "init"], env=environment, check=True)
    with Daemon.watching(restic, ["--mode", "sampled"]) as daemon:
        backup = subprocess.Popen([*command, "backup", str(golang.go_root(24)), str(golang.go_root(19)),
                                   str(golang.CACHE / "go-programs")], env=environment)
        try:
            row = daemon.wait_for_state(backup.pid)
            assert row["source"] == "spans" and row["stripped"]
            moments = judged = 0
            functions = set()
            while backup.poll() is None and moments < 20:
                before = statistics(daemon, backup.pid)
                profile = daemon.profile(backup.pid)
                after = statistics(daemon, backup.pid)
                allocated = profile.total("alloc_space")
                assert 0.999 * before[0] <= allocated <= 1.001 * after[0], (before, allocated, after)
                judged += check_in_use_of_a_cycle(daemon, backup.pid, profile, max(before[1], after[1]))
                functions |= {name for sample in profile.samples for name in sample.functions() if any(sample.values)}
                moments += 1
                time.sleep(0.1)
            assert moments >= 3 and judged >= 3, (moments, judged)
            assert any(name.startswith("github.com/restic/restic/internal/") for name in functions)
            # On a busy machine one of its many cycles may follow the other before it was looked at, which is counted.
            assert not daemon.lost_events().keys() - {"stack_unreadable", "verdict_missed"}, daemon.lost_events()
        finally:
            backup.terminate()
            backup.wait()


def check_short_run(daemon, server, command):
    """One that waits for its server before it ends: its profile then, and the one that is kept of it."""
    server.send_signal(signal.SIGSTOP)
    try:
        put = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        daemon.wait_for_state(put.pid)
        before = statistics(daemon, put.pid)[0]
        allocated = daemon.profile(put.pid).total("alloc_space")
        after = statistics(daemon, put.pid)[0]
        assert 0.99 * before <= allocated <= 1.01 * after and before > 100_000, (before, allocated, after)
    finally:
        server.send_signal(signal.SIGCONT)
    assert put.wait(60) == 0
    daemon.wait_for_state(put.pid, "exited")
    kept = daemon.profile(put.pid)
    # The rest of it took a moment and a request.
    assert allocated <= kept.total("alloc_space") <= 1.5 * after, (allocated, kept.total("alloc_space"), after)
    assert any(sample.functions() for sample in kept.samples)


def test_etcdctl_in_a_loop(tmp_path):
    """Programs that end before much is known of them: they run as ever, and the daemon lives on."""
    etcdctl = PROGRAMS / "etcd-client-trixie" / "usr" / "bin" / "etcdctl"
    etcd = PROGRAMS / "etcd-server-trixie" / "usr" / "bin" / "etcd"
    port, peer = free_port(), free_port()
    server = subprocess.Popen([etcd, f"--data-dir={tmp_path}/data", "--log-level=error",
                               f"--listen-client-urls=http://127.0.0.1:{port}",
                               f"--advertise-client-urls=http://127.0.0.1:{port}",
                               f"--listen-peer-urls=http://127.0.0.1:{peer}",
                               f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",
                               f"--initial-cluster=default=http://127.0.0.1:{peer}"], stderr=subprocess.DEVNULL)
    command = [etcdctl, f"--endpoints=http://127.0.0.1:{port}"]
    try:
        with Daemon.watching(etcdctl, ["--mode", "sampled"]) as daemon:
            daemon.wait_until(lambda: subprocess.run([*command, "endpoint", "health"], capture_output=True).returncode == 0,
                              "etcd does not start", 30)
            watcher = subprocess.Popen([*command, "watch", "key"], stdout=subprocess.DEVNULL)
            try:
                assert daemon.wait_for_state(watcher.pid)["source"] == "spans"
                for i in range(30):
                    subprocess.run([*command, "put", "key", "x" * 100_000], check=True, stdout=subprocess.DEVNULL)
                profile = daemon.profile(watcher.pid)
                before, after = profile.total("alloc_space"), statistics(daemon, watcher.pid)[0]
                assert 0.9 * after < before <= after + 1000
                assert any("etcd" in name for sample in profile.samples for name in sample.functions())
            finally:
                watcher.terminate()
                watcher.wait()
            check_short_run(daemon, server, [*command, "--dial-timeout=60s", "--command-timeout=60s", "put", "key", "value"])
            # What a process did last can arrive when it is gone.
            lost = daemon.lost_events()
            assert not lost.keys() - {"stack_unreadable", "stale_session", "verdict_missed"}, lost
            assert daemon.stop()[0] == 0
    finally:
        server.terminate()
        server.wait()
