"""Profiles of source spans against what tests/go_programs/life_ledger knows of itself."""
import collections
import math

from .life_ledger import LARGE, SITES


def site_of(sample):
    """The function of the program that allocates here, or what goheapd says in its place."""
    functions = sample.functions()
    for function in functions:
        if function in SITES:
            return function
    return functions[-1] if functions and functions[-1].startswith("[goheapd") else "elsewhere"


def by_site(profile, column):
    index = profile.column(column)
    sums = collections.Counter()
    for sample in profile.samples:
        sums[site_of(sample)] += sample.values[index]
    return sums


def near(ours, truth, share):
    return abs(ours - truth) <= share * truth


def check_in_use(profile, program, seen_from_start=True):
    heap, _ = program.heap()
    total = profile.total("inuse_space")
    assert near(total, heap["heap_alloc"], 0.05), (total, heap, profile.comments)
    ours = by_site(profile, "inuse_space")
    wrong = {}
    for site, (_, size) in program.held().items():
        if size < 0.05 * total:
            continue
        # A site that is alone in its size class has all of it, where goheapd saw all. Else its share is as good as its
        # samples are many: five standard deviations.
        is_exact = seen_from_start and site not in LARGE
        share = 0.15 if is_exact else max(0.15, 5 / math.sqrt(size / profile.period))
        if not near(ours[site], size, share):
            wrong[site] = (ours[site], size)
    assert not wrong, (wrong, ours, profile.comments)


def check_allocations(profile, program):
    """In all, of each size class, and of what is larger than these."""
    heap, by_size = program.heap()
    # What the program allocates while it answers, and rounding of each sample.
    slack = 20_000 + 0.001 * heap["total_alloc"]
    ours = collections.Counter()
    objects, size = (profile.column(name) for name in ("alloc_objects", "alloc_space"))
    large = 0
    for sample in profile.samples:
        slot = sample.labels.get("bytes", 0)  # 0: they vary
        if slot in by_size and slot:
            ours[slot] += sample.values[objects]
        else:
            large += sample.values[size]
    differences = {slot: (ours[slot], mallocs) for slot, mallocs in by_size.items() if slot and ours[slot] != mallocs}
    wrong = {slot: both for slot, both in differences.items() if abs(both[0] - both[1]) > 100 + 0.001 * both[1]}
    assert not wrong, (wrong, profile.comments)
    # Of these the runtime counts the bytes, whatever their size.
    large_alloc = heap["total_alloc"] - sum(slot * mallocs for slot, mallocs in by_size.items())
    assert abs(large - large_alloc) < slack, (large, large_alloc, differences, profile.comments)
    total = profile.total("alloc_space")
    assert abs(total - heap["total_alloc"]) < slack, (total, heap, large, large_alloc, differences, profile.comments)
    assert max(by_size) == 32768 and by_size[0] > 0 and large_alloc > 32768 * by_size[0], by_size
