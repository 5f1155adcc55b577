"""What was wrong with a call, in words, and what to do: rules on what was measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any, Final, NamedTuple

from portero.record import Outcome
from portero.records import verdict_sound as sound
from portero.records.past import NOT_YET, Past
from portero.records.verdict_sound import Gaps
from portero.records.verdict_words import WORDS

LONG_ENOUGH: Final = 5.0
"""Seconds of a call in which a side should have been heard."""
QUIET_CALLER: Final = 20.0
"""Seconds in which a caller should have spoken."""
MANY_FRAMES: Final = 250
"""Of 20 ms: with fewer, one in a hundred means nothing."""
LATE_MS: Final = 10.0
SKIPPED: Final = 5
"""Frames."""
UNDERRUNS: Final = 2
JITTER_MS: Final = 30.0
MISSING_MS: Final = 2000
MISSING_SHARE: Final = 0.15
CONNECTED_MS: Final = 3000
CAME_MS: Final = 1500
HELD_MS: Final = 300
EARLY: Final = 2.0
"""Seconds from the agent's first sound to an interruption that may be its own echo."""
EARLY_BARGE_INS: Final = 3
FALSE_ALARMS: Final = 5
TOOL_MS: Final = 4000
TOOL_FAILURES: Final = 2
BROKEN_SOUND: Final = ("odd lengths", "companded audio", "errors from Asterisk")
"""Of L{portero.interfaces.LegFigures.oddities}."""


class Finding(NamedTuple):
    """Something that was wrong."""

    name: str
    """Of the rule."""
    words: str
    """What it is, how that is known, and what to do."""
    evidence: Mapping[str, Any]
    """What was measured."""


def findings(past: Past, language: str = "en") -> list[Finding]:
    """
    @param language: C{en} or C{es}; another one is C{en}.
    @return: The gravest first; none of a call that went as it should.
    """
    column = 1 if language == "es" else 0
    looked = {name: rule(past) for name, rule in _RULES.items()}
    found = {name: gaps for name, gaps in looked.items() if gaps is not None}
    explained = {name for cause in found for name in _EXPLAINS.get(cause, ())}
    return [
        Finding(name, WORDS[name][column].format(**gaps), gaps)
        for name, gaps in found.items()
        if name not in explained
    ]


def verdict(past: Past, language: str = "en") -> list[str]:
    """@return: The words of L{findings}."""
    return [finding.words for finding in findings(past, language)]


def _broken(past: Past) -> Gaps | None:
    errors = [each.data.get("reason", "") for each in past.of("error")]
    return {"why": errors[0], "id": past.record.call_id} if errors else None


def _not_reached(past: Past) -> Gaps | None:
    # Of a very long call, memory has no beginning.
    worked = past.record.tokens or any(
        "ready_ms" in each.data for each in past.of("service")
    )
    if worked or not past.happened:
        return None
    lost = [each.data["lost"] for each in past.of("service") if "lost" in each.data]
    failed = past.record.outcome is Outcome.FAILED
    return {"why": lost[-1] if lost else past.record.reason} if failed else None


def _lost(past: Past) -> Gaps | None:
    was_ready, lost = False, []
    for each in past.of("service"):
        was_ready = was_ready or "ready_ms" in each.data
        if was_ready and "lost" in each.data:
            lost.append(each.data["lost"])
    return {"times": len(lost), "why": lost[0]} if lost else None


def _not_heard(past: Past) -> Gaps | None:
    """Of the caller."""
    short = past.record.seconds < LONG_ENOUGH
    if short or past.figures.frames_received:
        return None
    return {"seconds": round(past.record.seconds)}


def _silent_agent(past: Past) -> Gaps | None:
    ready = [each.at for each in past.of("service") if "ready_ms" in each.data]
    # Prompts are ours, as the apology is.
    items = (str(each.data.get("item")) for each in past.of("sounding"))
    sounded = any(not item.startswith("prompt ") for item in items)
    if not ready or sounded or past.record.seconds - ready[0] < LONG_ENOUGH:
        return None
    return {"seconds": round(past.record.seconds - ready[0])}


def _silent_caller(past: Past) -> Gaps | None:
    """Sound came, but no speech in it."""
    heard = any(each.data.get("speaking") for each in past.of("caller"))
    keys, sounded = any(past.of("key")), any(past.of("sounding"))
    long = past.record.seconds >= QUIET_CALLER
    if not long or heard or keys or not sounded or not past.figures.frames_received:
        return None
    return {"seconds": round(past.record.seconds)}


def _missing(past: Past) -> Gaps | None:
    filled, seconds = past.figures.filled_ms, past.record.seconds
    enough = filled >= MISSING_MS and filled >= MISSING_SHARE * seconds * 1000
    if not enough or not past.figures.frames_received:
        return None
    return {"missing": f"{filled / 1000:.1f}", "seconds": round(seconds)}


def _uneven(past: Past) -> Gaps | None:
    jitter = past.figures.jitter_ms
    return {"ms": round(jitter)} if jitter >= JITTER_MS else None


def _odd_sound(past: Past) -> Gaps | None:
    oddities = past.figures.oddities
    found = [f"{what}: {oddities[what]}" for what in BROKEN_SOUND if what in oddities]
    return {"what": ", ".join(found)} if found else None


def _stood_still(past: Past) -> Gaps | None:
    skipped = past.figures.frames_skipped
    return {"ms": skipped * 20} if skipped >= SKIPPED else None


def _late(past: Past) -> Gaps | None:
    late = past.figures.lateness_p99_ms
    enough = past.figures.frames_sent >= MANY_FRAMES and late >= LATE_MS
    return {"ms": round(late)} if enough else None


def _ran_dry(past: Past) -> Gaps | None:
    times = past.figures.underruns
    return {"times": times} if times >= UNDERRUNS else None


def _slow_to_connect(past: Past) -> Gaps | None:
    took = [
        each.data["ready_ms"] for each in past.of("service") if "ready_ms" in each.data
    ]
    slow = bool(took) and max(took) >= CONNECTED_MS
    return {"seconds": f"{max(took) / 1000:.1f}"} if slow else None


def _turns(past: Past) -> list[tuple[int, int]]:
    """@return: Of each: ms until its audio came, and until it sounded."""
    found = (
        (turn.data["came_ms"], turn.data["sounded_ms"]) for turn in past.of("turn")
    )
    return [(came, sounded) for came, sounded in found if None not in (came, sounded)]


def _slow_service(past: Past) -> Gaps | None:
    came = [came for came, _ in _turns(past)]
    slow = bool(came) and median(came) >= CAME_MS
    return (
        {"seconds": f"{median(came) / 1000:.1f}", "turns": len(came)} if slow else None
    )


def _held_back(past: Past) -> Gaps | None:
    held = [sounded - came for came, sounded in _turns(past)]
    slow = bool(held) and median(held) >= HELD_MS
    return {"ms": round(median(held))} if slow else None


def _echo(past: Past) -> Gaps | None:
    """It could not be measured."""
    if sound.no_echo(past):
        return None
    began, early = -EARLY, 0
    for each in past.happened:
        if each.kind == "sounding":
            began = each.at
        elif each.kind == "barge_in" and each.at - began <= EARLY:
            early += 1
    return {"times": early} if early >= EARLY_BARGE_INS else None


def _noise(past: Past) -> Gaps | None:
    times = sum(1 for _ in past.of("false_alarm"))
    return {"times": times} if times >= FALSE_ALARMS else None


def _slow_tool(past: Past) -> Gaps | None:
    """Not of one that waits for the caller's keys."""
    running: set[Any] = set()
    slow = [(0, "")]
    for each in past.happened:
        if each.kind == "tool_began":
            running.add(each.data["tool"])
        elif each.kind == "key":
            running.clear()
        elif each.kind == "tool_ended" and each.data["tool"] in running:
            slow.append((each.data["ms"], each.data["name"]))
    ms, name = max(slow)
    return {"name": name, "seconds": f"{ms / 1000:.1f}"} if ms >= TOOL_MS else None


def _failing_tool(past: Past) -> Gaps | None:
    failed = Counter(
        each.data["name"]
        for each in past.of("tool_ended")
        if not each.data["ok"]
        and not str(each.data.get("result", "")).lower().startswith(NOT_YET)
    )
    if not failed:
        return None
    ((name, times),) = failed.most_common(1)
    return {"name": name, "times": times} if times >= TOOL_FAILURES else None


_RULES: Final[dict[str, Callable[[Past], Gaps | None]]] = {
    "broken": _broken,
    "not_reached": _not_reached,
    "lost": _lost,
    "not_heard": _not_heard,
    "dead_caller": sound.dead_caller,
    "silent_agent": _silent_agent,
    "unheard": sound.unheard,
    "silent_caller": _silent_caller,
    "lossy": sound.lossy,
    "missing": _missing,
    "uneven": _uneven,
    "odd_sound": _odd_sound,
    "echo_cut": sound.echo_cut,
    "clipped": sound.clipped,
    "stood_still": _stood_still,
    "late": _late,
    "ran_dry": _ran_dry,
    "slow_to_connect": _slow_to_connect,
    "slow_service": _slow_service,
    "held_back": _held_back,
    "quiet": sound.quiet,
    "loud": sound.loud,
    "echo": _echo,
    "echo_heard": sound.echo_heard,
    "hum": sound.hum,
    "noisy": sound.noisy,
    "offset": sound.offset,
    "noise": _noise,
    "slow_tool": _slow_tool,
    "failing_tool": _failing_tool,
}
"""The gravest first."""
_EXPLAINS: Final[Mapping[str, tuple[str, ...]]] = {
    "dead_caller": ("silent_caller", "missing"),
    "unheard": ("silent_caller", "quiet"),
    "lossy": ("missing",),
    "clipped": ("loud", "offset"),
    "echo_cut": ("echo", "echo_heard", "noise"),
    "echo_heard": ("echo",),
    "hum": ("noisy",),
}
"""What need not be said where this is, which is nearer to the cause."""
