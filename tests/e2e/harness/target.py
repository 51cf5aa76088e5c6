"""A running test program (tests/go_programs/target), driven over its stdin."""
import json
import os
import pathlib
import time

from . import golang, pprof
from .child import Child


class Target(Child):
    def __init__(self, binary, profile_rate=None, **environment):
        if profile_rate is not None:
            environment["TARGET_PROFILE_RATE"] = str(profile_rate)
        super().__init__(pathlib.Path(binary), **{"GOMAXPROCS": "4", **environment})
        self.version = self._words(self.greeting)[0]

    @classmethod
    def of(cls, minor, variant="plain", profile_rate=None, tags="", **environment):
        return cls(golang.build(minor, variant, tags=tags), profile_rate, **environment)

    @staticmethod
    def _words(line):
        """Those of an answer; fails when it is an error."""
        words = line.split(" ", 1)
        assert words[0] == "ok", f"target said: {line}"
        return words[1].split() if len(words) > 1 else []

    def ask(self, command, timeout=60):
        return self._words(super().ask(command, timeout))

    def run(self, scenario, n):
        self.ask(f"run {scenario} {n}")

    def mallocs(self):
        """(Mallocs, Frees, NumGC)"""
        return tuple(int(word) for word in self.ask("mallocs"))

    def scenarios(self):
        return self.ask("scenarios")

    def sites(self):
        """{name: {"size", "count", "frames": [(function, file, line), ...]}}, frames innermost first."""
        sites = json.loads(" ".join(self.ask("sites")))
        for site in sites:
            site["frames"] = [(f["function"], f["file"], f["line"]) for f in site["frames"]]
        return {site["name"]: site for site in sites}

    def own_profile(self, directory):
        """What the program's own pprof.Lookup("heap") says."""
        path = pathlib.Path(directory) / f"own-{self.pid}-{time.monotonic_ns()}.pb.gz"
        self.ask(f"profile {path}")
        return pprof.decode(path.read_bytes())

    def settle(self):
        """Two full collections: what is published is what has happened, and nothing else goes on."""
        self.ask("gc")
        self.ask("gc")

    def exit(self):
        self.ask("exit")
        return self.process.wait(10)

    def text_differences(self):
        """Addresses at which the executable pages in memory differ from the file: [] when nothing was left behind.

        Go's text has no relocations, in a PIE neither, so memory must equal the file byte for byte.
        """
        return text_differences(self.pid)


def text_differences(pid, limit=20):
    exe = os.readlink(f"/proc/{pid}/exe")
    differences = []
    compared = 0
    with open(f"/proc/{pid}/exe", "rb") as file, open(f"/proc/{pid}/mem", "rb") as memory:
        for line in pathlib.Path(f"/proc/{pid}/maps").read_text().splitlines():
            fields = line.split(maxsplit=5)
            if "x" not in fields[1] or len(fields) < 6 or fields[5] != exe:
                continue
            start, end = (int(part, 16) for part in fields[0].split("-"))
            file.seek(int(fields[2], 16))
            memory.seek(start)
            for at in range(start, end, 1 << 20):
                size = min(1 << 20, end - at)
                mine, theirs = memory.read(size), file.read(size)
                theirs += bytes(len(mine) - len(theirs))   # the last page is filled up with zeros
                compared += len(mine)
                if mine != theirs:
                    differences += [(hex(at + i), theirs[i], mine[i]) for i in range(len(mine)) if mine[i] != theirs[i]]
                if len(differences) >= limit:
                    return differences[:limit]
    assert compared > 0, f"no executable mapping of {exe} in process {pid}"
    return differences
