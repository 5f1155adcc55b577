"""What differs between a captured call and its replay, in plain words."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import zip_longest
from typing import Any, Final, NamedTuple

from portero.audio import level_dbfs
from portero.captures.entries import Entry, Kind

TOLERANCE: Final = 0.0205
"""Seconds: a frame, and a little."""
NOTHING: Final = "nothing"
MOST_WORDS: Final = 160
"""Characters of one thing."""
CONTEXT: Final = 5
"""Things before the first difference, which are the same."""

_VAGUE: Final = ("ms", "seconds")
"""Ends of names of durations, of which so much may differ."""


class Act(NamedTuple):
    """Something that a call did."""

    at: float
    """Seconds from its beginning."""
    what: str
    """In words."""
    key: str
    """The same for the same."""
    durations: tuple[float, ...]
    """In seconds: not part of that."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One, at a moment."""

    at: float
    """Seconds from the beginning of the call."""
    captured: str
    replayed: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """Of two calls."""

    differences: tuple[Difference, ...]
    """In the order of time."""
    before: tuple[Act, ...]
    """The last that they both did before the first of these."""
    acts: int
    """So much they both did; a sound is not among that."""
    frames: int
    """That left for the caller in the captured call."""


def compare(captured: Sequence[Entry], replayed: Sequence[Entry]) -> Comparison:
    """
    @param captured: Where this ends without an end, so ends what is compared.
    @raise CaptureError: What is in it cannot be read.
    """
    origin = captured[0].at
    if captured[-1].kind is not Kind.ENDED:
        replayed = [entry for entry in replayed if entry.at <= captured[-1].at]
    before, after = list(_acts(captured, origin)), list(_acts(replayed, origin))
    found: list[Difference] = []
    same: list[Act] = []
    matcher = SequenceMatcher(
        None, [act.key for act in before], [act.key for act in after], autojunk=False
    )
    for what, first, end, other, other_end in matcher.get_opcodes():
        if what == "equal":
            for one, two in zip(before[first:end], after[other:other_end], strict=True):
                if _is_same(one, two):
                    same.append(one)
                else:
                    found.append(Difference(one.at, _timed(one), _timed(two)))
        else:
            found += _pairs(before[first:end], after[other:other_end])
    found += _uploads(captured, replayed, origin)
    found += _frames(captured, replayed, origin)
    found.sort(key=lambda difference: difference.at)
    earlier = [act for act in same if found and act.at <= found[0].at]
    frames = sum(entry.kind is Kind.FRAME for entry in captured)
    return Comparison(tuple(found), tuple(earlier[-CONTEXT:]), len(same), frames)


def _acts(entries: Iterable[Entry], origin: float) -> Iterator[Act]:
    for entry in entries:
        at, to = entry.at - origin, f"service ({entry.number})"
        match entry.kind:
            case Kind.HAPPENED:
                kind, _, data = entry.parts(str, (int, float), dict)
                yield _act(at, kind, data)
            case Kind.SENT:
                message = _message(entry.data)
                kind = str(message.pop("type", "a message"))
                yield _act(at, f"to the {to}: {kind}", message)
            case Kind.CONNECTED:
                yield _act(at, f"connects to the {to}", {})
            case Kind.LEFT:
                yield _act(at, f"leaves the {to}", {})
            case Kind.RAN:
                name, arguments = entry.parts(str, dict)
                yield _act(at, f"runs the tool {name}", arguments)
            case Kind.REDIRECTING:
                channel, target = entry.parts(str, str)
                yield _act(at, f"has {channel} fetched to {target}", {})
            case Kind.HUNG_UP:
                yield _act(at, "hangs up", {})
            case Kind.ENDED:
                record = entry.value()
                if not isinstance(record, dict):
                    raise entry.broken()
                for name in ("began", "facts", "summary", "call_id"):
                    record.pop(name, None)
                yield _act(at, "is over", record)


def _message(payload: bytes) -> dict[str, Any]:
    """@return: As its sender's peer understands it, without its number."""
    try:
        found = json.loads(payload)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        return {"bytes": payload.hex()}
    found.pop("event_id", None)
    return found


def _act(at: float, what: str, data: Mapping[str, Any]) -> Act:
    durations, rest = [], {}
    for name, value in data.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if number and name.rpartition("_")[2] in _VAGUE:
            durations.append(value / (1000 if name.endswith("ms") else 1))
        else:
            rest[name] = value
    key = f"{what} {json.dumps(rest, sort_keys=True)}"
    told = ", ".join(f"{name} {_shown(value)}" for name, value in data.items())
    words = f"{what}: {told}" if told else what
    if len(words) > MOST_WORDS:
        words = words[: MOST_WORDS - 4] + " ..."
    return Act(at, words, key, tuple(durations))


def _shown(value: Any) -> str:
    value = round(value, 3) if isinstance(value, float) else value
    return json.dumps(value, ensure_ascii=False)


def _is_same(one: Act, two: Act) -> bool:
    pairs = zip_longest((one.at, *one.durations), (two.at, *two.durations), fillvalue=0)
    return all(abs(a - b) <= TOLERANCE for a, b in pairs)


def _timed(act: Act) -> str:
    return f"{act.what} (at {act.at:.3f} s)"


def _pairs(before: Sequence[Act], after: Sequence[Act]) -> Iterator[Difference]:
    """What is of the same sort stands beside one another."""
    left = list(after)
    for act in before:
        sort = act.what.partition(":")[0]
        other = next((o for o in left if o.what.partition(":")[0] == sort), None)
        if other is None:
            yield Difference(act.at, act.what, NOTHING)
        else:
            left.remove(other)
            yield Difference(min(act.at, other.at), *_told_apart(act, other))
    for act in left:
        yield Difference(act.at, NOTHING, act.what)


def _told_apart(one: Act, two: Act) -> tuple[str, str]:
    if one.what == two.what or abs(one.at - two.at) > TOLERANCE:
        return _timed(one), _timed(two)
    return one.what, two.what


def _uploads(
    captured: Sequence[Entry], replayed: Sequence[Entry], origin: float
) -> Iterator[Difference]:
    """Of each socket the first: all that comes after it may differ as well."""
    numbers = {e.number for e in (*captured, *replayed) if e.kind is Kind.UPLOADED}
    for number in sorted(numbers):
        both = [
            [e for e in entries if e.kind is Kind.UPLOADED and e.number == number]
            for entries in (captured, replayed)
        ]
        differing = [
            (one, two)
            for one, two in zip_longest(*both)
            if one is None or two is None or one.data != two.data
        ]
        if differing:
            one, two = differing[0]
            what = f"{{}} messages with the caller's audio to the service ({number})"
            yield Difference(
                (one or two).at - origin,
                what.format(len(both[0])),
                f"{what.format(len(both[1]))}, of which {len(differing)} differ",
            )


def _frames(
    captured: Sequence[Entry], replayed: Sequence[Entry], origin: float
) -> Iterator[Difference]:
    """Of each stretch of sound that differs: what is heard in its place."""
    stretch: list[tuple[Entry | None, Entry | None]] = []
    both = [[e for e in es if e.kind is Kind.FRAME] for es in (captured, replayed)]
    for one, two in zip_longest(*both):
        if one is None or two is None or one.data != two.data:
            stretch.append((one, two))
        elif stretch:
            yield _stretch(stretch, origin)
            stretch = []
    if stretch:
        yield _stretch(stretch, origin)


def _stretch(
    stretch: Sequence[tuple[Entry | None, Entry | None]], origin: float
) -> Difference:
    first = next(entry for entry in stretch[0] if entry is not None)
    ones, twos = zip(*stretch, strict=True)
    return Difference(first.at - origin, _sound(ones), _sound(twos))


def _sound(frames: Sequence[Entry | None]) -> str:
    there = [frame.data for frame in frames if frame is not None]
    if not there:
        return "no frames to the caller"
    pcm = b"".join(there)
    heard = f"{level_dbfs(pcm):.0f} dBFS" if any(pcm) else "silence"
    return f"{len(there)} frames to the caller: {heard}"
