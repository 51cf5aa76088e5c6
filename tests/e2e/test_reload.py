"""SIGHUP: what the file says from now on, and what is taken at start only."""
import contextlib
import os
import pathlib
import re
import shutil
import signal

import pytest
from harness import golang
from harness.daemon import Daemon
from harness.target import Target


@pytest.fixture
def reloadable(tmp_path):
    config = tmp_path / "goheapd.yml"
    config.write_text("mode: sampled\n")
    with Target.of(24, profile_rate=1024) as target, \
            Daemon(target.pid, arguments=["--config", config]) as daemon:
        daemon.wait_for_state(target.pid)

        def reload(text):
            config.write_text(text)
            daemon.process.send_signal(signal.SIGHUP)

        yield target, daemon, reload


def test_every_setting_is_taken_over(reloadable):
    target, daemon, reload = reloadable
    assert daemon.metrics().sum("goheapd_overhead_budget_ratio") == pytest.approx(0.01)
    reload("mode: sampled\noverhead-budget: 2.5\nexited-retention: 1s\ntop-sites: 1\n")
    daemon.wait_until(lambda: daemon.metrics().sum("goheapd_overhead_budget_ratio") == pytest.approx(0.025),
                      "the budget stays after the reload")
    # A target goes on where it was, a new one has the new number of sites.
    assert daemon.targets()[target.pid]["state"] == "attached"
    target.kill()
    daemon.wait_until(lambda: daemon.get(f"/targets/{target.pid}/debug/pprof/heap").status == 410,
                      "an exited program is kept for as long as the old configuration said")
    assert "is taken at start only" not in daemon.log()


def test_what_is_taken_at_start_only_is_named(reloadable):
    target, daemon, reload = reloadable
    reload("mode: sampled\ndata-dir: /tmp\nweb.listen-address: ['127.0.0.1:1']\n")
    daemon.wait_until(lambda: "--data-dir is taken at start only" in daemon.log(), "no word of what stays")
    assert "--kubernetes" not in daemon.log()
    assert daemon.get("/-/healthy").status == 200


def test_a_bad_file_leaves_all_as_it_was(reloadable):
    target, daemon, reload = reloadable
    reload("mode: sampled\noverhead-budget: 3\noverhead-budget: 4\n")
    daemon.wait_until(lambda: daemon.metrics().sum("goheapd_config_last_reload_successful") == 0, "it was taken")
    assert "overhead-budget is there twice" in daemon.log()
    assert daemon.metrics().sum("goheapd_overhead_budget_ratio") == pytest.approx(0.01)
    assert daemon.targets()[target.pid]["state"] == "attached"


@pytest.mark.parametrize("upgrade", [False, True], ids=["deleted", "replaced"])
def test_patterns_know_a_program_whose_file_is_gone(upgrade, tmp_path):
    """The kernel puts " (deleted)" behind its path, which patterns that end in $ would not match."""
    config = tmp_path / "goheapd.yml"
    config.write_text("exclude: ['/tool$']\n")
    binary = tmp_path / "tool"
    shutil.copy(golang.build(24), binary)
    with Target(binary, profile_rate=1024) as target:
        binary.unlink()
        if upgrade:
            shutil.copy(golang.build(24), binary)
        with Daemon(arguments=["--config", config, "--include", f"^{re.escape(str(tmp_path))}/[a-z]+$"]) as daemon:
            row = daemon.wait_until(lambda: daemon.targets().get(target.pid), "it is never seen")
            assert row["state"] == "ignored" and "--exclude" in row["reason"], row
            assert row["exe"] == f"{binary} (deleted)"
            for text, state in ("", "attached"), ("exclude: ['/tool$']\n", "ignored"):
                config.write_text(text)
                daemon.process.send_signal(signal.SIGHUP)
                daemon.wait_for_state(target.pid, state)


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_programs_that_are_being_looked_at_are_judged_by_the_new_configuration(tmp_path):
    """A worker has the configuration of when it began; many programs at once keep the workers busy for a while."""
    config = tmp_path / "goheapd.yml"
    config.write_text("mode: sampled\n")
    binaries = [tmp_path / f"program-{i}" for i in range(40)]  # each file is looked into anew
    for binary in binaries:
        shutil.copy(golang.build(24), binary)
    with Daemon(arguments=["--config", config, "--include", f"^{tmp_path}/program-"]) as daemon:
        def reloaded():
            return daemon.metrics().sum("goheapd_config_last_reload_success_timestamp_seconds")

        loaded_first = reloaded()
        config.write_text("mode: sampled\nexclude: ['/program-[0-9]+$']\n")
        before = cpu_seconds(daemon.process.pid)
        with contextlib.ExitStack() as stack:
            pids = [stack.enter_context(Target(binary)).pid for binary in binaries]
            daemon.wait_until(lambda: cpu_seconds(daemon.process.pid) > before + 0.05, "nothing is looked at")
            daemon.process.send_signal(signal.SIGHUP)
            daemon.wait_until(lambda: reloaded() > loaded_first, "it does not reload")

            def are_ignored():
                rows = daemon.targets()
                return all(pid in rows and rows[pid]["state"] == "ignored" and "exclude" in rows[pid]["reason"]
                           for pid in pids)
            daemon.wait_until(are_ignored, "some are not judged anew", timeout=60)
            assert daemon.stop()[0] == 0


def test_a_bad_web_config_is_told(tmp_path):
    """Nobody reads the log of a daemon whose certificate could not be renewed."""
    config, web = tmp_path / "goheapd.yml", tmp_path / "web.yml"
    config.write_text("mode: buckets\n")
    web.write_text("http_server_config: {headers: {X-Frame-Options: deny}}\n")
    with Daemon(os.getpid(), arguments=["--config", config, "--web.config.file", web]) as daemon:
        def told():
            metrics = daemon.metrics()
            return [metrics.sum(f"goheapd_{name}_successful") for name in ("config_last_reload", "web_config_last_load")]

        def reload(expected):
            daemon.process.send_signal(signal.SIGHUP)
            daemon.wait_until(lambda: told() == expected, "the reload is not told of")
        assert told() == [1, 1]
        web.write_text("http_server_configs: {}\n")
        daemon.wait_until(lambda: told() == [1, 0], "a broken file goes unnoticed")
        config.write_text("mode: buckets\noverhead-budget: 3\n")
        reload([0, 0])
        assert re.search(r"level=error .*configuration not reloaded.*http_server_configs", daemon.log())
        assert "configuration reloaded" not in daemon.log()
        assert daemon.metrics().sum("goheapd_overhead_budget_ratio") == pytest.approx(0.01)
        assert daemon.get("/-/ready").headers["X-Frame-Options"] == "deny"
        web.write_text("{}\n")
        reload([1, 1])
        assert daemon.metrics().sum("goheapd_overhead_budget_ratio") == pytest.approx(0.03)


def test_a_web_config_that_has_moved_does_not_stop_the_rest(tmp_path):
    config, web = tmp_path / "goheapd.yml", tmp_path / "web.yml"
    web.write_text("{}\n")
    config.write_text(f"mode: buckets\nweb.config.file: {web}\n")
    with Daemon(os.getpid(), arguments=["--config", config]) as daemon:
        web.rename(tmp_path / "moved.yml")
        config.write_text(f"mode: buckets\nweb.config.file: {tmp_path}/moved.yml\noverhead-budget: 3\n")
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_until(lambda: daemon.metrics().sum("goheapd_overhead_budget_ratio") == pytest.approx(0.03),
                          "the budget stays as it was")
        assert "--web.config.file is taken at start only" in daemon.log()
