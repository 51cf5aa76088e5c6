"""A running tests/go_programs/life_ledger: a program that knows what it holds."""
import os
import select
import subprocess
import time

from . import golang

# Functions that allocate, by the program's number of the kind.
SITES = [f"main.{name}" for name in (
    "tiny", "plain16", "pointers8", "pointers24", "pointers64", "plain100", "pointers512", "pointers800", "pointers1024",
    "plain4096", "pointers20000", "plain40000", "pointers100000", "text")]
# Larger than 32 KiB: these have no size class of their own.
LARGE = {"main.plain40000", "main.pointers100000"}


def held_of(lines):
    """{function: (objects, bytes of slots)}, from the answer to "held"."""
    return {SITES[kind]: (objects, size) for kind, objects, size in lines}


def heap_of(lines):
    """What runtime.ReadMemStats says, and {size class: objects allocated}, from the answer to "heap"."""
    totals, *classes = lines
    return dict(zip(("heap_alloc", "total_alloc", "mallocs", "frees", "gc_cycles"), totals)), dict(classes)


class Answered:
    """One that ran elsewhere, by what it answered to "held" and "heap"."""

    def __init__(self, held, heap):
        self._held, self._heap = (numbers(text) for text in (held, heap))

    def held(self):
        return held_of(self._held)

    def heap(self):
        return heap_of(self._heap)


def numbers(text):
    """Those of each line of an answer."""
    return [[int(word) for word in line.split()] for line in text.splitlines()]


class LifeLedger:
    def __init__(self, minor, objects, variant="plain", tags="", **environment):
        self.binary = golang.build(minor, variant, program="life_ledger", tags=tags)
        self.objects = objects
        self.process = subprocess.Popen([self.binary, str(objects), "0"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        env={"PATH": "/usr/bin:/bin", "GOMAXPROCS": "4", **environment})
        self.pid = self.process.pid
        self._pending = b""
        try:
            self._answer()
        except BaseException:
            self.kill()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.kill()

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def _answer(self, timeout=120):
        """The numbers of each line of the next answer."""
        deadline = time.monotonic() + timeout
        while not self._pending.endswith(b"ok\n"):
            left = deadline - time.monotonic()
            assert left > 0 and select.select([self.process.stdout], [], [], left)[0], f"{self.pid} does not answer"
            more = os.read(self.process.stdout.fileno(), 1 << 16)
            assert more, f"{self.pid} has ended with {self.process.wait()}"
            self._pending += more
        text, self._pending = self._pending.decode().removesuffix("ok\n"), b""
        return numbers(text)

    def ask(self, command):
        os.write(self.process.stdin.fileno(), command.encode() + b"\n")
        return self._answer()

    def held(self):
        return held_of(self.ask("held"))

    def heap(self):
        return heap_of(self.ask("heap"))
