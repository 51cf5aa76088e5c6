"""A running tests/go_programs/life_ledger: a program that knows what it holds."""
from . import golang
from .child import Answering

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
    """What runtime.ReadMemStats says, and {size class: objects allocated; 0: of what is larger}, from the answer to "heap"."""
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


class LifeLedger(Answering):
    def __init__(self, minor, objects, variant="plain", tags="", **environment):
        super().__init__(golang.build(minor, variant, program="life_ledger", tags=tags), objects, 0,
                         **{"GOMAXPROCS": "4", **environment})
        self.objects = objects

    def held(self):
        return held_of(self.numbers("held"))

    def heap(self):
        return heap_of(self.numbers("heap"))
