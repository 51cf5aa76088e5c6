"""tests/go_programs/phases: a program whose load changes on command."""
import subprocess

from . import golang


class Phases:
    """tests/go_programs/phases, running."""

    def __init__(self, minor, tags=""):
        self.process = subprocess.Popen([golang.build(minor, program="phases", tags=tags)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, env={"GOMAXPROCS": "2"})
        self.pid = self.process.pid
        assert self.process.stdout.readline() == "ready\n"

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.process.kill()
        self.process.wait()

    def ask(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def objects(self):
        return int(self.ask("now").split()[0])
