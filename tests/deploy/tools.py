"""Where things are, and commands that must succeed."""
import os
import pathlib
import subprocess

TREE = pathlib.Path(__file__).resolve().parent.parent.parent
DEPLOY = TREE / "deploy"
CACHE = pathlib.Path(os.environ.get("GOHEAPD_CACHE")
                     or pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "goheapd")
OPERATIONS = CACHE / "operations"
PROMETHEUS = CACHE / "programs" / "prometheus-bookworm" / "usr" / "bin"


def run(*command, fails=False, timeout=120, **options):
    """Runs a command; gives what it printed. With `fails` it must not succeed."""
    result = subprocess.run([str(word) for word in command], stdin=options.pop("stdin", subprocess.DEVNULL), text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout, **options)
    assert (result.returncode != 0) == fails, f"{command} gave {result.returncode}:\n{result.stdout}"
    return result.stdout
