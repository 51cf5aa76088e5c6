"""The Debian package and the unit, judged by dpkg and systemd-analyze and lived through in a real systemd."""
import os
import pathlib
import re
import shutil
import subprocess
import time
import urllib.error

import pytest
import yaml

from harness import comparison, pprof
from harness.daemon import Daemon, GOHEAPD, fetch, free_port
from harness.target import Target
from tools import DEPLOY, OPERATIONS, PROMETHEUS, TREE, run

HERE = TREE / "tests/deploy/systemd"


@pytest.fixture(scope="session")
def unpacked(package, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unpacked")
    run("dpkg", "-x", package, folder)
    run("dpkg", "-e", package, folder / "DEBIAN")
    return folder


def test_contents(unpacked):
    files = {str(file.relative_to(unpacked)) for file in unpacked.rglob("*") if file.is_file()}
    expected = {"usr/bin/goheapd", "usr/lib/systemd/system/goheapd.service", "etc/default/goheapd", "etc/goheapd/goheapd.yml",
                "usr/share/doc/goheapd/copyright", "usr/share/doc/goheapd/README.md",
                "usr/share/goheapd/systemd/older-kernel.conf", "usr/lib/sysusers.d/goheapd.conf"}
    expected |= {f"usr/share/goheapd/prometheus/{file.name}" for file in (DEPLOY / "prometheus").iterdir()}
    expected |= {f"usr/share/goheapd/grafana/{file.name}" for file in (DEPLOY / "grafana").glob("*.json")}
    control = {f"DEBIAN/{name}" for name in ("control", "md5sums", "conffiles", "postinst", "prerm", "postrm")}
    assert files == expected | control
    for file in unpacked.rglob("*"):
        assert not file.stat().st_mode & 0o6022, file   # nothing is setuid, nothing is writable for others
    fields = (unpacked / "DEBIAN/control").read_text()
    # By shlibdeps: nothing that Debian 12 does not have, nothing forgotten.
    assert re.search(r"^Depends: .*libc6 .*libyaml-cpp", fields, re.MULTILINE)
    assert (unpacked / "DEBIAN/conffiles").read_text().split() == ["/etc/default/goheapd", "/etc/goheapd/goheapd.yml"]
    assert "goheapd serve" in run(unpacked / "usr/bin/goheapd", "serve", "--help")


def test_plain_install(tmp_path):
    run("cmake", "--install", GOHEAPD.parent, "--prefix", "/usr/local", env={**os.environ, "DESTDIR": str(tmp_path)})
    assert os.access(tmp_path / "usr/local/bin/goheapd", os.X_OK)
    unit = next(tmp_path.rglob("goheapd.service")).read_text()
    assert "@" not in re.sub(r"@[a-z-]+", "", unit)   # but for @system-service
    for path in re.findall(r"^EnvironmentFile=-(\S+)|--config (\S+)", unit, re.MULTILINE):
        assert (tmp_path / (path[0] or path[1]).lstrip("/")).exists()


def test_unit(unpacked, tmp_path):
    unit = tmp_path / "goheapd.service"
    text = (unpacked / "usr/lib/systemd/system/goheapd.service").read_text()
    assert "ExecStart=/usr/bin/goheapd serve" in text
    unit.write_text(text.replace("/usr/bin/goheapd", str(GOHEAPD)))   # verify wants the file to be there
    printed = run("systemd-analyze", "verify", "--man=no", unit)
    # Mistakes in other units of this machine are none of ours.
    assert not [line for line in printed.splitlines() if "goheapd" in line]
    run("systemd-analyze", "security", "--offline=yes", "--threshold=25", unit)
    used = set(re.findall(r" --([a-z.-]+)", next(line for line in text.splitlines() if line.startswith("ExecStart="))))
    assert used and used <= set(re.findall(r"--([a-z][a-z.-]*)", run(GOHEAPD, "serve", "--help")))


def test_drop_in_for_older_kernels(unpacked, tmp_path):
    text = (unpacked / "usr/lib/systemd/system/goheapd.service").read_text().replace("/usr/bin/goheapd", str(GOHEAPD))
    extra = (unpacked / "usr/share/goheapd/systemd/older-kernel.conf").read_text()
    (tmp_path / "goheapd.service").write_text(text.replace("[Install]", extra + "\n[Install]"))
    printed = run("systemd-analyze", "verify", "--man=no", tmp_path / "goheapd.service")
    assert not [line for line in printed.splitlines() if "goheapd" in line]


def test_example_configuration(tmp_path):
    """Every key of the example is one that the daemon takes, also when all of them are uncommented."""
    example = (DEPLOY / "systemd/goheapd.yml").read_text()
    assert yaml.safe_load(example) is None   # as shipped: the defaults
    text = re.sub(r"^#(?=[a-z.-]+: )", "", example, flags=re.MULTILINE)
    keys = yaml.safe_load(text)
    assert len(keys) >= 9
    # The file that this one names is not there, and the address is the harness's.
    text = "\n".join(line for line in text.splitlines() if not line.startswith("web."))
    (tmp_path / "all.yml").write_text(text.replace("mode: auto", "mode: buckets"))
    with Daemon(os.getpid(), arguments=["--config", str(tmp_path / "all.yml"), "--data-dir", str(tmp_path / "data")]) as daemon:
        assert daemon.get("/-/ready").status == 200
    assert set(keys) <= set(re.findall(r"--([a-z][a-z.-]*)", run(GOHEAPD, "serve", "--help")))


def test_installs_where_no_systemd_runs(package, tmp_path):
    """As in an image that is being built."""
    root = tmp_path / "root"
    root.mkdir()
    run("tar", "-C", root, "-xf", OPERATIONS / "rootfs.tar")
    shutil.copy(package, root / "goheapd.deb")
    chroot = ["unshare", "--mount", "--pid", "--fork", "chroot", root]
    run(*chroot, "dpkg", "-i", "/goheapd.deb")
    assert (root / "etc/systemd/system/multi-user.target.wants/goheapd.service").is_symlink()
    run(*chroot, "goheapd", "--version")
    run(*chroot, "getent", "group", "goheapd")
    # What somebody has put there is theirs, and keeps its group: the number of one that is gone is the next one's.
    key = root / "etc/goheapd/web.key"
    key.write_text("private")
    run(*chroot, "chgrp", "goheapd", "/etc/goheapd/web.key")
    assert "the group goheapd stays" in run(*chroot, "dpkg", "--purge", "goheapd")
    assert key.read_text() == "private"
    run(*chroot, "getent", "group", "goheapd")
    key.unlink()
    run(*chroot, "dpkg", "-i", "/goheapd.deb")
    assert "stays" not in run(*chroot, "dpkg", "--purge", "goheapd")
    run(*chroot, "getent", "group", "goheapd", fails=True)
    assert not [file for file in root.rglob("*goheapd*") if file.name != "goheapd.deb"]
    shutil.rmtree(root)


@pytest.fixture
def sandbox(unpacked):
    """What starts a command under the unit's rules on system calls and memory."""
    return ["unshare", "--mount", "--propagation", "private", HERE / "sandbox.py",
            unpacked / "usr/lib/systemd/system/goheapd.service"]


def test_the_sandbox_holds(sandbox):
    """Or the next test would prove nothing."""
    run(*sandbox, "true")
    for attempt in ("import mmap; mmap.mmap(-1, 4096, prot=7)", "import os; os.chroot('/')",
                    "open('/proc/sys/kernel/panic', 'w')"):
        run(*sandbox, "/usr/bin/python3", "-c", attempt, fails=True)


def test_the_units_rules_leave_what_profiling_needs(unpacked, sandbox, tmp_path):
    """A user that is nobody, with the capabilities and the system calls of the unit and no more, profiles
    another user's program by probes, and rightly."""
    unit = (unpacked / "usr/lib/systemd/system/goheapd.service").read_text()
    granted = re.search(r"^AmbientCapabilities=(.*)$", unit, re.MULTILINE)[1].split()
    assert granted == re.search(r"^CapabilityBoundingSet=(.*)$", unit, re.MULTILINE)[1].split()
    names = ",".join("+" + name.removeprefix("CAP_").lower() for name in granted)
    binary = tmp_path / "goheapd"   # where nobody may read it
    shutil.copy(GOHEAPD, binary)
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    port = free_port()
    with Target.of(24, "stripped", profile_rate=1024) as target:
        daemon = subprocess.Popen([*sandbox, "setpriv", "--reuid=65532", "--regid=65532", "--clear-groups", "--no-new-privs",
                                   f"--inh-caps=-all,{names}", f"--ambient-caps=-all,{names}",
                                   f"--bounding-set=-all,{names}", binary, "serve", "--mode", "sampled",
                                   "--pid", str(target.pid), "--web.listen-address", f"127.0.0.1:{port}"],
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

        def row():
            assert daemon.poll() is None, daemon.stdout.read()
            try:
                [target_row] = fetch(f"http://127.0.0.1:{port}/api/v1/targets").json()["targets"] or [{"state": None}]
            except urllib.error.URLError:
                return {"state": None}
            assert target_row["state"] in (None, "attached"), target_row
            return target_row

        try:
            deadline = time.monotonic() + 60
            while row()["state"] != "attached":
                assert time.monotonic() < deadline
                time.sleep(0.1)
            status = pathlib.Path(f"/proc/{daemon.pid}/status").read_text()
            # The unit's two filters and the two that goheapd adds: the second for clone3.
            assert re.search(r"^Seccomp_filters:\t4$", status, re.MULTILINE), status
            assert re.search(r"^CapEff:\t000000c000080000$", status, re.MULTILINE), status
            assert target.text_differences(), "no probe in the target"
            for scenario in ("direct", "garbage", "large"):
                target.run(scenario, 200)
            target.settle()
            own = target.own_profile(tmp_path)
            served = fetch(f"http://127.0.0.1:{port}/targets/{target.pid}/debug/pprof/heap")
            assert served.status == 200, served.text
            assert comparison.compare(own, pprof.decode(served.body)) >= 3
        finally:
            daemon.terminate()
            daemon.wait(20)
            daemon.stdout.close()
        assert daemon.returncode == 0
        assert target.text_differences() == []


def test_lives_in_systemd(package, tmp_path):
    root = tmp_path / "root"
    (root / "outside").mkdir(parents=True)
    run("tar", "-C", root, "-xf", OPERATIONS / "rootfs.tar")
    shutil.copy(package, root / "outside/goheapd.deb")
    shutil.copy(PROMETHEUS / "prometheus", root / "outside/prometheus")
    for name in ("first", "renewed"):
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1",
            "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
            "-keyout", root / f"outside/{name}.key", "-out", root / f"outside/{name}.crt")
    shutil.copy(HERE / "inside.sh", root / "inside.sh")
    shutil.copy(HERE / "checks.sh", root / "outside/checks.sh")
    units = root / "etc/systemd/system"
    (units / "inside.service").write_text("[Unit]\nAfter=multi-user.target\n[Service]\nExecStart=/inside.sh\n")
    wants = units / "multi-user.target.wants"
    wants.mkdir(exist_ok=True)
    (wants / "inside.service").symlink_to("../inside.service")
    booted = subprocess.run([HERE / "boot", root, OPERATIONS / "nspawn"], stdin=subprocess.DEVNULL, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300)
    log = root / "outside/log"
    shown = booted.stdout[-4000:] + (log.read_text()[-6000:] if log.exists() else "")
    assert (root / "outside/done").exists(), shown
    results = (root / "outside/result").read_text().splitlines()
    failed = [line for line in results if not line.startswith("ok ")]
    shutil.rmtree(root)
    assert not failed, "\n".join(failed)
    assert len(results) == len(re.findall(r"^check ", (HERE / "inside.sh").read_text(), re.MULTILINE))
