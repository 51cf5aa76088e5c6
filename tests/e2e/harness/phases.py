"""tests/go_programs/phases: a program whose load changes on command."""
from . import golang
from .child import Child


class Phases(Child):
    """tests/go_programs/phases, running."""

    def __init__(self, minor, tags="", percent=100):
        """`percent`: GOGC. It holds next to nothing and collects hundreds of times a second, which a larger heap does not."""
        super().__init__(golang.build(minor, program="phases", tags=tags), GOMAXPROCS="2", GOGC=str(percent))

    def objects(self):
        return int(self.ask("now").split()[0])
