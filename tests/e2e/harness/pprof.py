"""A small decoder of pprof's protobuf (profile.proto), written for tests: it trusts nothing it can check.

It is not goheapd's encoder turned around, so that a mistake made there is seen here.
"""
import dataclasses
import gzip

# Of source spans: what stands where no stack can be given what was allocated.
UNSAMPLED = "[goheapd: allocated while nothing of this size was sampled]"
FROM_BEFORE = "[goheapd: allocated before goheapd attached]"


@dataclasses.dataclass(frozen=True)
class Line:
    function: str
    file: str
    line: int
    start_line: int


@dataclasses.dataclass(frozen=True)
class Location:
    address: int
    mapping: int
    lines: tuple


@dataclasses.dataclass(frozen=True)
class Mapping:
    start: int
    limit: int
    offset: int
    file: str
    build_id: str


@dataclasses.dataclass
class Sample:
    locations: tuple
    values: tuple
    labels: dict       # name -> number or string

    def frames(self):
        """[(function, file, line)], innermost first, inlined ones expanded."""
        return [(l.function, l.file, l.line) for location in self.locations for l in location.lines]

    def functions(self):
        return [frame[0] for frame in self.frames()]


@dataclasses.dataclass
class Profile:
    sample_types: list      # [(type, unit)]
    default_sample_type: str
    period_type: tuple
    period: int
    time_ns: int
    duration_ns: int
    comments: list
    mappings: list
    samples: list

    def column(self, name):
        return [kind for kind, _ in self.sample_types].index(name)

    def total(self, name, where=lambda sample: True):
        column = self.column(name)
        return sum(sample.values[column] for sample in self.samples if where(sample))


def _varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at
        assert shift < 70, "varint without an end"


def _fields(data):
    """Yields (number, value): an int for varints, bytes for length-delimited fields."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(data, at)
        elif kind == 2:
            size, at = _varint(data, at)
            assert at + size <= len(data), "field longer than its message"
            value, at = data[at:at + size], at + size
        else:
            raise AssertionError(f"profile.proto has no field of wire type {kind}")
        yield key >> 3, value


def _signed(value):
    return value - (1 << 64) if value >= 1 << 63 else value


def _numbers(value):
    """A repeated integer field, packed or not."""
    if isinstance(value, int):
        return [_signed(value)]
    numbers, at = [], 0
    while at < len(value):
        number, at = _varint(value, at)
        numbers.append(_signed(number))
    return numbers


def _message(data):
    fields = {}
    for number, value in _fields(data):
        fields.setdefault(number, []).append(value)
    return fields


def _one(fields, number, default=0):
    return fields[number][-1] if number in fields else default


def decode(data):
    """Decodes a profile, gzipped or plain."""
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    top = _message(data)
    strings = [text.decode() for text in top.get(6, [])]
    assert strings and strings[0] == "", "string_table[0] must be empty"

    def value_type(raw):
        fields = _message(raw)
        return strings[_one(fields, 1)], strings[_one(fields, 2)]

    functions = {}
    for raw in top.get(5, []):
        f = _message(raw)
        assert _one(f, 1) not in functions, "function id twice"
        functions[_one(f, 1)] = (strings[_one(f, 2)], strings[_one(f, 4)], _one(f, 5))
    mappings = []
    for number, raw in enumerate(top.get(3, []), 1):
        f = _message(raw)
        assert _one(f, 1) == number, "mappings are numbered from 1"
        mappings.append(Mapping(_one(f, 2), _one(f, 3), _one(f, 4), strings[_one(f, 5)], strings[_one(f, 6)]))
    locations = {}
    for raw in top.get(4, []):
        f = _message(raw)
        lines = []
        for line in f.get(4, []):
            l = _message(line)
            name, file, start = functions[_one(l, 1)]
            lines.append(Line(name, file, _one(l, 2), start))
        assert _one(f, 1) not in locations, "location id twice"
        assert 0 <= _one(f, 2) <= len(mappings), "location in no mapping"
        locations[_one(f, 1)] = Location(_one(f, 3), _one(f, 2), tuple(lines))
    sample_types = [value_type(raw) for raw in top.get(1, [])]
    samples = []
    for raw in top.get(2, []):
        f = _message(raw)
        labels = {}
        for label in f.get(3, []):
            l = _message(label)
            labels[strings[_one(l, 1)]] = strings[_one(l, 2)] if 2 in l else _signed(_one(l, 3))
        values = tuple(n for value in f.get(2, []) for n in _numbers(value))
        assert len(values) == len(sample_types), "a sample with a wrong number of values"
        stack = tuple(locations[n] for value in f.get(1, []) for n in _numbers(value))
        samples.append(Sample(stack, values, labels))
    return Profile(sample_types, strings[_one(top, 14)], value_type(_one(top, 11, b"")), _one(top, 12), _one(top, 9),
                   _one(top, 10), [strings[n] for value in top.get(13, []) for n in _numbers(value)], mappings, samples)
