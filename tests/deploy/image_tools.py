"""Images built by buildah and run by crun, without an engine, a registry and a network."""
import json
import subprocess

import yaml

from harness.daemon import Daemon, free_port
from tools import DEPLOY, OPERATIONS, TREE, run

HERE = TREE / "tests/deploy/image"
WITH_TOOLS = (HERE / "with-tools", OPERATIONS / "containers")


class Images:
    """A store of images in a folder of its own."""

    def __init__(self, folder):
        self.folder = folder
        for name in ("home", "tmp"):
            (folder / name).mkdir(parents=True)
        (folder / "policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
        (folder / "registries.conf").write_text("unqualified-search-registries = []\n")

    def buildah(self, command, *arguments, timeout=300):
        """Without a network: whatever is missing cannot be fetched."""
        # No overlays: the folder may be on one.
        options = ["--storage-driver", "vfs", "--root", self.folder / "images", "--runroot", self.folder / "run",
                   "--registries-conf", self.folder / "registries.conf"]
        if command in ("build", "from"):
            arguments = ("--isolation", "chroot", "--signature-policy", self.folder / "policy.json", "--pull-never", *arguments)
        return run("env", f"HOME={self.folder}/home", f"TMPDIR={self.folder}/tmp", *WITH_TOOLS, "unshare", "--net",
                   "buildah", *options, command, *arguments, timeout=timeout)

    def base(self, name, archive):
        """An image of a root file system; gives its name."""
        name = f"localhost/{name}"
        # Every layer is a full copy, of a gigabyte for what is built with.
        self.buildah("build", "--build-arg", f"ROOTFS={archive.name}", "-t", name, "-f", HERE / "base.Dockerfile", archive.parent,
                     timeout=1500)
        return name

    def unpack(self, image):
        """(the image's configuration, its files in a folder of their own)"""
        printed = self.buildah("inspect", "--type", "image", image)
        configuration = json.loads(printed[printed.index("{"):])["OCIv1"]["config"]
        container = self.buildah("from", image).split()[-1]
        return configuration, self.buildah("mount", container).split()[-1]


def minimal_security():
    """What the manifests for Kubernetes grant."""
    manifest = yaml.safe_load((DEPLOY / "kubernetes/base/daemonset.yaml").read_text())
    assert manifest["spec"]["template"]["spec"]["hostPID"] is True
    security = manifest["spec"]["template"]["spec"]["containers"][0]["securityContext"]
    assert security["capabilities"]["drop"] == ["ALL"] and security["readOnlyRootFilesystem"] is True
    assert security["allowPrivilegeEscalation"] is False
    return ["CAP_" + name for name in security["capabilities"]["add"]]


class ContainedDaemon(Daemon):
    """The image's own command in a container: pids and network of the host, as few rights as the manifests give."""

    def __init__(self, pid, images, image, bundle):
        self._image = images.unpack(image)
        self._bundle = bundle
        bundle.mkdir()
        super().__init__(pid)

    def _crun(self, command, *arguments):
        return [str(word) for word in (*WITH_TOOLS, "crun", "--root", self._bundle / "state", "--cgroup-manager=disabled",
                                       command, *arguments)]

    def _start(self, pids, arguments):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        configuration, files = self._image
        command = configuration["Entrypoint"] + configuration["Cmd"]
        assert command[-2:] == ["--web.listen-address", ":9786"]   # of the host's network, so not for everybody and any port
        command[-1] = f"127.0.0.1:{self.port}"
        for pid in pids:
            command += ["--pid", str(pid)]
        subprocess.run(self._crun("spec"), cwd=self._bundle, check=True)
        spec = json.loads((self._bundle / "config.json").read_text())
        assert configuration["User"] == "0:0"
        capabilities = minimal_security()
        spec["process"].update(terminal=False, args=command, env=configuration["Env"], noNewPrivileges=True, rlimits=[],
                               capabilities={kind: capabilities for kind in ("bounding", "effective", "permitted")})
        spec["root"] = {"path": files, "readonly": True}
        spec["linux"]["namespaces"] = [{"type": kind} for kind in ("mount", "ipc", "uts")]
        # As cgroups are laid out here, which is not every machine's way.
        spec["mounts"] = [mount for mount in spec["mounts"] if mount["destination"] != "/sys/fs/cgroup"]
        (self._bundle / "config.json").write_text(json.dumps(spec))
        self._log = open(self._bundle / "log", "w+")
        self.process = subprocess.Popen(self._crun("run", "--bundle", self._bundle, f"goheapd-{self.port}"),
                                        stdin=subprocess.DEVNULL, stdout=self._log, stderr=subprocess.STDOUT)

    def kill(self):
        subprocess.run(self._crun("delete", "--force", f"goheapd-{self.port}"), stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
        super().kill()
