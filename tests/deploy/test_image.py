"""The Dockerfile, built by buildah and run by crun without a network, on a program outside of the container."""
import pathlib
import shutil

import pytest

from conftest import LONG
from harness.comparison import compare
from harness.target import Target
from image_tools import ContainedDaemon, Images
from tools import CACHE, DEPLOY, OPERATIONS, TREE, run

DOCKERFILE = DEPLOY / "docker/Dockerfile"


def profile_a_program(images, image, folder):
    with Target.of(24, profile_rate=1024) as target:
        target.run("direct", 500)
        target.settle()
        with ContainedDaemon(target.pid, images, image, folder / "bundle") as daemon:
            row = daemon.wait_for_state(target.pid, timeout=60)
            # By probes, with the rights that the manifests give.
            assert (row["mode"], row["source"]) == ("sampled", "runtime"), row
            target.run("direct", 500)
            target.settle()
            served = daemon.profile(target.pid)
            assert compare(target.own_profile(folder), served) >= 1
            assert any("main.direct" in sample.functions() for sample in served.samples)
            daemon.wait_until(lambda: daemon.metrics().sum("goheapd_probe_hits_total", pid=str(target.pid)) > 0, "no probe hit")
            with pytest.raises(OSError):   # a read-only root
                pathlib.Path(f"/proc/{contained_pid(daemon)}/root/usr/new").touch()
            assert daemon.stop()[0] == 0
        assert target.text_differences() == []


def contained_pid(daemon):
    """The daemon's own process; the one that we started is the container runtime."""
    children = pathlib.Path(f"/proc/{daemon.process.pid}/task/{daemon.process.pid}/children").read_text().split()
    return int(children[0])


@pytest.fixture
def images(tmp_path):
    yield Images(tmp_path / "store")
    shutil.rmtree(tmp_path / "store")


def test_last_stage_with_this_build_profiles_a_program_outside(package, images, tmp_path):
    """The package built here stands for the first stage, which `tests/run --all` runs as well."""
    base = images.base("base", OPERATIONS / "rootfs.tar")
    (tmp_path / "first-stage/out").mkdir(parents=True)
    shutil.copy(package, tmp_path / "first-stage/out")
    images.buildah("build", "--build-arg", f"BASE={base}", "--build-context", f"build={tmp_path}/first-stage",
                   "-t", "localhost/goheapd", "-f", DOCKERFILE, TREE)
    profile_a_program(images, "localhost/goheapd", tmp_path)


if LONG:
    def test_both_stages_profile_a_program_outside(images, tmp_path):
        base = images.base("base", OPERATIONS / "rootfs.tar")
        build_base = images.base("build-base", OPERATIONS / "build-rootfs.tar")
        sources = tmp_path / "sources"   # what a clone has: no build folders
        sources.mkdir()
        run("sh", "-c", f"git -C {TREE} archive HEAD | tar -x -C {sources}")
        images.buildah("build", "--build-arg", f"BASE={base}", "--build-arg", f"BUILD_BASE={build_base}",
                       "--volume", f"{CACHE}/ccache:/root/.cache/goheapd/ccache",
                       "-t", "localhost/goheapd", "-f", sources / "deploy/docker/Dockerfile", sources, timeout=2400)
        profile_a_program(images, "localhost/goheapd", tmp_path)
