"""Go toolchains and the test programs built by them, cached by content outside the tree."""
import functools
import hashlib
import os
import pathlib
import shutil
import subprocess
import tempfile

TREE = pathlib.Path(__file__).resolve().parents[3]
CACHE = pathlib.Path(os.environ.get("GOHEAPD_CACHE")
                     or pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "goheapd")
# The minor versions of tests/tools/fetch-go.
VERSIONS = (19, 21, 22, 23, 24, 25, 26, 27)
# How a program can be linked: (cgo, arguments of go build, whether binutils' strip goes over it).
VARIANTS = {
    "plain": (False, [], False),
    "stripped": (False, ["-ldflags=-s -w"], False),
    "pie": (False, ["-buildmode=pie"], False),
    "stripped_pie": (False, ["-buildmode=pie", "-ldflags=-s -w"], True),
    "cgo": (True, ["-ldflags=-linkmode=external"], False),
}


# Programs that ask the runtime by functions that it does not export, which the linker refuses from Go 1.23 on.
ASK_THE_RUNTIME = {"gc_truth"}


def go_root(minor):
    return CACHE / "go" / "usr" / "lib" / f"go-1.{minor}"


def go_environment(minor, **extra):
    """Nothing of the caller's environment may change what is built, and nothing is ever downloaded."""
    return {
        "PATH": "/usr/bin:/bin", "HOME": os.environ.get("HOME", "/root"), "GOROOT": str(go_root(minor)),
        "GOTOOLCHAIN": "local", "GOPROXY": "off", "GOFLAGS": "", "GOENV": "off", "GOWORK": "off",
        "GOCACHE": str(CACHE / "gocache"), **extra,
    }


def go(minor, *arguments, cwd=None, **environment):
    return subprocess.run([go_root(minor) / "bin" / "go", *arguments], cwd=cwd, check=True, capture_output=True,
                          text=True, env=go_environment(minor, **environment)).stdout


@functools.lru_cache(maxsize=None)
def toolchain_version(minor):
    return go(minor, "version").strip()


@functools.lru_cache(maxsize=None)
def build(minor, variant="plain", program="target", tags="", experiment=""):
    """Path of tests/go_programs/PROGRAM built by Go 1.MINOR; built at most once per content of its sources."""
    sources = sorted((TREE / "tests" / "go_programs" / program).glob("*.go"))
    assert sources, f"no program {program}"
    cgo, arguments, strip = VARIANTS[variant]
    if program in ASK_THE_RUNTIME and minor >= 23:
        arguments = [*arguments, "-ldflags=-checklinkname=0"]
    content = hashlib.sha256(repr((toolchain_version(minor), cgo, arguments, strip, tags, experiment)).encode())
    for source in sources:
        content.update(source.name.encode() + b"\0" + source.read_bytes())
    folder = CACHE / "go-programs" / content.hexdigest()[:32]
    binary = folder / f"{program}-1.{minor}-{variant}"
    if binary.exists():
        return binary
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as work:
        # The go line decides which GODEBUG defaults a program gets: it shall be as if written for this version.
        module = pathlib.Path(work) / "go.mod"
        module.write_text(f"module goheapd.test/{program}\n\ngo 1.{minor}\n")
        fresh = pathlib.Path(work) / "program"
        go(minor, "build", f"-modfile={module}", "-trimpath", "-buildvcs=false", f"-tags={tags}", *arguments, "-o", fresh, ".",
           cwd=sources[0].parent, CGO_ENABLED="1" if cgo else "0", GOEXPERIMENT=experiment)
        if strip:
            subprocess.run(["strip", "--strip-all", fresh], check=True)
        fresh.rename(binary)
    return binary


def own(binary, folder):
    """The same file at a path of the test's own: who looks for programs by path finds none of other tests."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / binary.name
    try:
        os.link(binary, path)
    except OSError:   # on another file system
        shutil.copy(binary, path)
    return path


@functools.lru_cache(maxsize=None)
def pprof_version():
    """A toolchain whose `go tool pprof` need not be compiled first, the newest."""
    for minor in reversed(VERSIONS):
        if (go_root(minor) / "pkg" / "tool" / "linux_amd64" / "pprof").exists():
            return minor
    raise AssertionError("no Go toolchain of the cache has a ready-made pprof")


def pprof_tool(*arguments):
    """Output of `go tool pprof ARGUMENTS`."""
    with tempfile.TemporaryDirectory() as home:
        # Else the tool leaves a process behind that writes there while the directory is removed.
        telemetry = pathlib.Path(home, ".config/go/telemetry")
        telemetry.mkdir(parents=True)
        (telemetry / "mode").write_text("off\n")
        return go(pprof_version(), "tool", "pprof", *map(str, arguments), HOME=home, PPROF_TMPDIR=home)
