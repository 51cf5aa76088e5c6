"""A program's own heap profile against the one that goheapd serves for it."""
import collections


def records(profile):
    """{(stack, object size): values}; the stack with addresses, functions, files and lines. No all-zero records."""
    result = collections.defaultdict(lambda: (0, 0, 0, 0))
    for sample in profile.samples:
        if any(sample.values):
            key = (tuple((l.address, l.lines) for l in sample.locations), sample.labels.get("bytes"))
            result[key] = tuple(a + b for a, b in zip(result[key], sample.values))
    return dict(result)


def of_scenarios(recs):
    """Those that commands to the program made: nothing allocates there while it waits for the next command."""
    return {key: values for key, values in recs.items()
            if any(line.function == "main.runScenario" for _, lines in key[0] for line in lines)}


def describe(key):
    return " < ".join(f"{line.function}:{line.line}" for _, lines in key[0] for line in lines) + f" [{key[1]}]"


def compare(own, served):
    """The program's own profile against ours of the same moment, nothing collected in between."""
    assert served.sample_types == own.sample_types
    assert (served.period_type, served.period) == (own.period_type, own.period)
    own_records, our_records = records(own), records(served)
    wrong = []
    for key in own_records.keys() | our_records.keys():
        theirs, ours = own_records.get(key, (0,) * 4), our_records.get(key, (0,) * 4)
        # Allocations are served up to now, pprof's lag until the next collection; live objects are the same.
        if ours[2:] != theirs[2:] or ours[0] < theirs[0] or ours[1] < theirs[1]:
            wrong.append(f"own {theirs}, goheapd {ours}: {describe(key)}")
    own_records, our_records = of_scenarios(own_records), of_scenarios(our_records)
    for key in own_records.keys() & our_records.keys():
        if own_records[key] != our_records[key]:
            wrong.append(f"own {own_records[key]}, goheapd {our_records[key]}: {describe(key)}")
    assert not wrong, "\n".join([f"{len(wrong)} of {len(own_records)} records differ:"] + wrong[:20])
    return len(own_records)
