"""Rules on what the sound of a call was like, for L{portero.records.verdict}."""

from __future__ import annotations

from typing import Any, Final

from portero.records.past import Past

Gaps = dict[str, Any]
"""What the words of a rule have gaps for."""

LEAST_SPEECH: Final = 1.0
"""Seconds: of less, nothing is said."""
DEAD_SECONDS: Final = 12.0
DEAD_SHARE: Final = 0.99
"""Of the time."""
QUIET_DBFS: Final = -40.0
"""Speech on a good line is at about -26 (ITU-T G.100, annex A)."""
LOUD_DBFS: Final = -11.0
CLIPPED_SHARE: Final = 0.002
"""Of the samples of speech; one in two thousand is not heard."""
OFFSET_SHARE: Final = 0.01
"""Of full scale."""
HUM_DBFS: Final = -55.0
HUM_SHARE: Final = 0.3
"""Of the noise."""
NOISE_DBFS: Final = -50.0
NOISE_DB: Final = 15.0
"""Speech above noise; services understand less from here on."""
HOLES: Final = 4
HOLES_MS: Final = 200
HOLES_SHARE: Final = 0.5
"""Of these there was nothing to play, as the line itself knows: others are of a voice
made by a machine."""
COMPARED_SECONDS: Final = 3.0
"""Of the agent's voice: what is enough to tell whether there is an echo."""
ECHO_DB: Final = 30.0
"""One that is weaker is heard by nobody, unless it interrupts."""
LIKE_ECHO_DB: Final = 6.0
"""Speech that is not louder than the echo by that much may be nothing else."""
HEARD_TO_SPEAK: Final = ("barge_in", "false_alarm")


def dead_caller(past: Past) -> Gaps | None:
    """Packets came with nothing in them."""
    sound = past.figures.sound
    seconds, silent = sound.get("seconds", 0.0), sound.get("caller_silent", 0.0)
    dead = seconds >= DEAD_SECONDS and silent >= DEAD_SHARE
    if not dead or not past.figures.frames_received or any(past.of("key")):
        return None
    return {"seconds": round(seconds)}


def unheard(past: Past) -> Gaps | None:
    """The caller spoke, and the service did not notice."""
    speech = _speech(past)
    ready = any("ready_ms" in each.data for each in past.of("service"))
    if speech is None or not ready or _service_heard(past):
        return None
    return {"seconds": round(speech[0]), "level": round(speech[1])}


def lossy(past: Past) -> Gaps | None:
    sound = past.figures.sound
    holes, ms = sound.get("caller_holes", 0), sound.get("caller_holes_ms", 0)
    known = past.figures.filled_ms >= HOLES_SHARE * ms
    if holes < HOLES or ms < HOLES_MS or not known:
        return None
    missing = past.figures.filled_ms / 1000
    return {"holes": round(holes), "ms": round(ms), "missing": f"{missing:.1f}"}


def clipped(past: Past) -> Gaps | None:
    share = past.figures.sound.get("caller_clipped", 0.0)
    if _speech(past) is None or share < CLIPPED_SHARE:
        return None
    return {"percent": f"{100 * share:.1f}"}


def quiet(past: Past) -> Gaps | None:
    speech = _speech(past)
    if speech is None or speech[1] >= QUIET_DBFS or not _service_heard(past):
        return None
    return {"level": round(speech[1])}


def loud(past: Past) -> Gaps | None:
    speech = _speech(past)
    if speech is None or speech[1] < LOUD_DBFS:
        return None
    return {"level": round(speech[1])}


def hum(past: Past) -> Gaps | None:
    sound = past.figures.sound
    level, share = sound.get("hum_dbfs", -96.0), sound.get("hum_share", 0.0)
    if level < HUM_DBFS or share < HUM_SHARE:
        return None
    return {
        "hz": round(sound["hum_hz"]),
        "level": round(level),
        "percent": round(100 * share),
    }


def noisy(past: Past) -> Gaps | None:
    speech = _speech(past)
    floor = past.figures.sound.get("caller_floor_dbfs", -96.0)
    if speech is None or floor < NOISE_DBFS or speech[1] - floor >= NOISE_DB:
        return None
    return {"floor": round(floor), "over": round(speech[1] - floor)}


def offset(past: Past) -> Gaps | None:
    share = past.figures.sound.get("caller_offset", 0.0)
    if abs(share) < OFFSET_SHARE:
        return None
    return {"percent": f"{100 * share:.1f}"}


def echo_cut(past: Past) -> Gaps | None:
    """It was taken for the caller."""
    sound = past.figures.sound
    times = round(sound.get("echo_interruptions", 0))
    if not times:
        return None
    all_of_them = sum(len(list(past.of(kind))) for kind in HEARD_TO_SPEAK)
    return {"times": times, "all": max(times, all_of_them), **_echo(past)}


def echo_heard(past: Past) -> Gaps | None:
    """It was not, but is there."""
    down = past.figures.sound.get("echo_db")
    return _echo(past) if down is not None and down <= ECHO_DB else None


def no_echo(past: Past) -> bool:
    """It was looked for, and is not there."""
    sound = past.figures.sound
    return "echo_db" not in sound and sound.get("compared_s", 0.0) >= COMPARED_SECONDS


def _echo(past: Past) -> Gaps:
    sound = past.figures.sound
    return {"down": round(sound["echo_db"]), "ms": round(sound["echo_ms"])}


def _speech(past: Past) -> tuple[float, float] | None:
    """@return: Of the caller: seconds, and dBFS; not of an echo of the agent's."""
    sound = past.figures.sound
    seconds, level = sound.get("caller_speech_s", 0.0), sound.get("caller_level_dbfs")
    if level is None or seconds < LEAST_SPEECH:
        return None
    if "echo_db" in sound and "agent_level_dbfs" in sound:
        echo = sound["agent_level_dbfs"] - sound["echo_db"]
        if level < echo + LIKE_ECHO_DB:
            return None
    return seconds, level


def _service_heard(past: Past) -> bool:
    return any(each.data.get("speaking") for each in past.of("caller"))
