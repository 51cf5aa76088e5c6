"""tests/go_programs/keepers, running: functions that allocate in the same size classes, of which some keep what they allocate."""
from . import golang
from .child import Answering


class Keepers(Answering):
    def __init__(self, minor, **environment):
        super().__init__(golang.build(minor, program="keepers"), GOMAXPROCS="2", **environment)

    def sites(self):
        """{function: (bytes allocated, bytes held)}"""
        return {function: (int(allocated), int(held)) for function, allocated, held in self.ask("sites")}


def of_sites(profile, column, sites):
    index = profile.column(column)
    sums = dict.fromkeys(sites, 0)
    for sample in profile.samples:
        for function in sample.functions():
            if function in sums:
                sums[function] += sample.values[index]
    return sums
