"""What an operator wants hidden is in nothing that leaves, and is hidden alike everywhere."""
import re
import signal

from harness.daemon import Daemon
from harness.target import Target


def test_a_pattern_hides_names_everywhere(tmp_path):
    config = tmp_path / "goheapd.yml"
    config.write_text("mode: sampled\nredact: ['main', 'target']\n")
    with Target.of(24, profile_rate=1) as target, Daemon(target.pid, arguments=["--config", config]) as daemon:
        daemon.wait_for_state(target.pid)
        for scenario in target.scenarios():
            target.run(scenario, 100)
        target.settle()
        profile = daemon.profile(target.pid)
        frames = {frame for sample in profile.samples for frame in sample.frames()}
        assert any(function.startswith("redacted_") for function, _, _ in frames)
        row = daemon.targets()[target.pid]
        # Sites become metrics with the next reading.
        sites = daemon.wait_until(lambda: {labels["function"] for labels, _ in
                                           daemon.metrics().select("goheapd_site_live_bytes")}, "no sites")
        names = {function for function, _, _ in frames} | {file for _, file, _ in frames}
        for name in names | sites | {mapping.file for mapping in profile.mappings} | {row["exe"], row["comm"], row["module"]}:
            assert "main" not in name and "target" not in name, name
        # A function has the same name wherever it appears.
        digests = set(re.findall("redacted_[0-9a-f]{8}", " ".join(sites)))
        assert digests and digests <= {function.split(".")[0] for function, _, _ in frames}

        config.write_text("mode: sampled\n")
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_until(lambda: any("main." in function for sample in daemon.profile(target.pid).samples
                                      for function in sample.functions()), "the pattern stays after the reload")
