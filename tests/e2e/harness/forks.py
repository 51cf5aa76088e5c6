"""tests/go_programs/forks: a program that forks without executing anything."""
from .child import Child


class Forks(Child):
    def __init__(self, binary, rate=None):
        super().__init__(binary, GOMAXPROCS="1", **({} if rate is None else {"RATE": str(rate)}))
        assert self.greeting == "ready"

    def numbers(self, command):
        return [int(word) for word in self.ask(command).split()]

    def mallocs(self):
        return self.numbers("mallocs")[0]

    def fork(self):
        """The child's pid."""
        return self.numbers("fork")[0]

    def rounds(self):
        """How often its children have allocated and looked at what they have; fails when one saw something wrong."""
        rounds, errors = self.numbers("child")
        assert errors == 0
        return rounds
