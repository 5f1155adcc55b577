"""Every shape that the API sends or takes, as JSON Schema (2020-12)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from portero.callstate import State
from portero.interfaces import HAPPENINGS
from portero.log_sections import LEVELS
from portero.record import Outcome
from portero.turns import Floor

Schema = Mapping[str, Any]


def said(schema: Schema, about: str) -> Schema:
    """@return: The schema, with a description."""
    return {**schema, "description": about}


def maybe(schema: Schema) -> Schema:
    """@return: The schema of a value that may be missing."""
    return {**schema, "type": [schema["type"], "null"]}


def listed(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def ref(name: str) -> Schema:
    """@return: A reference to one of L{SCHEMAS}."""
    return {"$ref": f"#/components/schemas/{name}"}


def shape(about: str, **properties: Schema) -> Schema:
    """@return: An object with all of these; a later version may add some."""
    return {
        "type": "object",
        "description": about,
        "properties": properties,
        "required": list(properties),
    }


TEXT: Final[Schema] = {"type": "string"}
WHOLE: Final[Schema] = {"type": "integer"}
NUMBER: Final[Schema] = {"type": "number"}
FLAG: Final[Schema] = {"type": "boolean"}
COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
MONEY: Final[Schema] = maybe(said(NUMBER, "US dollars; null: the model has no price"))
MOMENT: Final[Schema] = {"type": "string", "format": "date-time"}
LEVEL: Final[Schema] = {"type": "integer", "minimum": 0, "maximum": 100}
WAVE: Final[Schema] = listed(LEVEL)


def _one_of(kind: type[State] | type[Floor] | type[Outcome]) -> Schema:
    return {"type": "string", "enum": [one.value for one in kind]}


_LEVELS: Final[Schema] = {"type": "string", "enum": [*LEVELS]}


_WHO: Final = {
    "id": said(TEXT, "The UUID that Asterisk sent"),
    "agent": TEXT,
    "caller_name": TEXT,
    "caller_number": TEXT,
    "called_number": TEXT,
    "began": MOMENT,
    "seconds": NUMBER,
    "turns": said(COUNT, "Replies of the agent to the caller"),
    "barge_ins": said(COUNT, "Times that the caller interrupted it"),
    "tokens": COUNT,
    "dollars": MONEY,
}

_CALL: Final = shape(
    "A call under way. What is of the line is explained in docs/api.rst.",
    **_WHO,
    peer=said(TEXT, "Where the connection comes from"),
    state=_one_of(State),
    floor=said(_one_of(Floor), "Who may speak, as the agent sees it"),
    false_alarms=COUNT,
    last_latency_ms=maybe(WHOLE),
    underruns=COUNT,
    lateness_p99_ms=NUMBER,
    caller_rate=said(WHOLE, "Hz"),
    agent_rate=said(WHOLE, "Hz"),
    waiting_ms=NUMBER,
    jitter_ms=NUMBER,
    filled_ms=NUMBER,
    frames_sent=COUNT,
    frames_received=COUNT,
    frames_skipped=COUNT,
    prefill_ms=NUMBER,
)

_ENDED: Final = shape(
    "A call that is over.",
    **_WHO,
    outcome=_one_of(Outcome),
    reason=said(TEXT, "Why it ended, in words"),
    next=said(TEXT, "Where the dialplan goes on: context,extension,priority; or empty"),
    latency_ms=said(maybe(WHOLE), "Of the replies: the median"),
    summary=said(TEXT, "All of it, in a line"),
    has_words=said(FLAG, "What was said is kept"),
    recording=said(FLAG, "There is a recording to listen to"),
)

_FIGURES: Final = shape(
    "What was measured on the line. Explained in docs/api.rst.",
    frames_sent=COUNT,
    frames_received=COUNT,
    frames_skipped=COUNT,
    underruns=COUNT,
    filled_ms=NUMBER,
    lateness_p99_ms=NUMBER,
    prefill_ms=NUMBER,
    waiting_ms=NUMBER,
    jitter_ms=NUMBER,
    tail_ms=NUMBER,
    oddities={"type": "object", "additionalProperties": COUNT},
    sound={"type": "object", "additionalProperties": NUMBER},
)

_ROLE: Final[Schema] = {"type": "string", "enum": ["user", "assistant", "system"]}
_TOOL: Final = said(COUNT, "A number, the same when it began and ended")

DATA: Final[Mapping[str, Mapping[str, Schema]]] = {
    "state": {"state": _one_of(State)},
    "floor": {"floor": _one_of(Floor)},
    "caller": {"speaking": FLAG, "item": TEXT},
    "key": {},
    "words": {"role": _ROLE, "item": TEXT, "text": TEXT},
    "said": {"role": _ROLE, "item": TEXT, "text": TEXT},
    "sounding": {"item": TEXT},
    "played_out": {"item": TEXT},
    "cut": {"item": TEXT, "heard_ms": NUMBER, "given_ms": NUMBER},
    "turn": {"turn": COUNT, "came_ms": NUMBER, "sounded_ms": NUMBER},
    "barge_in": {},
    "false_alarm": {},
    "tool_began": {"tool": _TOOL, "name": TEXT, "arguments": TEXT},
    "tool_ended": {
        "tool": _TOOL,
        "name": TEXT,
        "result": TEXT,
        "ok": FLAG,
        "ms": NUMBER,
    },
    "service": {"ready_ms": NUMBER, "lost": TEXT, "final": FLAG},
    "used": {
        "tokens": COUNT,
        "dollars": MONEY,
        "counts": {"type": "object", "additionalProperties": NUMBER},
    },
    "operator": {
        "who": TEXT,
        "did": {"type": "string", "enum": ["say", "transfer", "hang_up"]},
        "target": said(TEXT, "The name of where to; or empty"),
    },
    "recording": {
        "did": {"type": "string", "enum": ["paused", "resumed"]},
        "by": {"type": "string", "enum": ["agent", "caller", "operator"]},
        "who": said(TEXT, "The operator's name; or empty"),
    },
    "error": {"reason": TEXT},
}
"""Of each kind of L{HAPPENINGS}: what it tells, by name."""

_NOT_ALWAYS: Final[Mapping[str, tuple[str, ...]]] = {
    "service": (),
    "caller": ("speaking",),
}
"""Of a kind: what it always tells, where that is not all."""


def _happened(kind: str) -> Schema:
    data = DATA[kind]
    return {
        "type": "object",
        "description": HAPPENINGS[kind],
        "properties": {
            "kind": {"type": "string", "enum": [kind]},
            "at": said(NUMBER, "Seconds from the beginning of the call"),
            **data,
        },
        "required": ["kind", "at", *_NOT_ALWAYS.get(kind, data)],
    }


_SPLIT: Final = {outcome.value: COUNT for outcome in Outcome}

_HOUSE: Final = shape(
    "How the house does, since it was started.",
    version=TEXT,
    since=MOMENT,
    ready=FLAG,
    problem=said(TEXT, "Why no call would be answered; or empty"),
    draining=FLAG,
    stopping=FLAG,
    calls=shape(
        "By number.",
        now=COUNT,
        most=said(COUNT, "At once ([listen] max_calls)"),
        answered=COUNT,
        refused=COUNT,
        by_hour={
            "type": "array",
            "minItems": 24,
            "maxItems": 24,
            "items": shape(
                "Calls that ended in an hour of today.",
                hour={"type": "integer", "minimum": 0, "maximum": 23},
                **_SPLIT,
            ),
        },
    ),
    latency=shape(
        "Of replies, from the end of the caller's speech to the first frame.",
        turns=COUNT,
        p50_ms=maybe(NUMBER),
        p95_ms=maybe(NUMBER),
    ),
    underruns=COUNT,
    barge_ins=COUNT,
    errors=COUNT,
    providers=listed(ref("Provider")),
    lag_ms=ref("Lag"),
    spend=shape(
        "Today.",
        today=MONEY,
        most=said(NUMBER, "The ceiling; 0: none"),
        agents=listed(
            shape("One of them.", agent=TEXT, today=MONEY, most=NUMBER),
        ),
    ),
    rss_mb=said(NUMBER, "Memory of the process"),
)

SCHEMAS: Final[Mapping[str, Schema]] = {
    "Problem": {
        "type": "object",
        "description": "RFC 9457.",
        "properties": {
            "type": TEXT,
            "title": TEXT,
            "status": WHOLE,
            "detail": said(TEXT, "What is wrong with just this request; what to do"),
        },
        "required": ["type", "title", "status", "detail"],
    },
    "Call": _CALL,
    "Ended": _ENDED,
    "Found": {
        "allOf": [
            ref("Ended"),
            shape("In its words.", snippet=said(TEXT, "Around what was looked for")),
        ]
    },
    "Happened": {
        "oneOf": [ref(f"Happened_{kind}") for kind in HAPPENINGS],
        "discriminator": {
            "propertyName": "kind",
            "mapping": {kind: ref(f"Happened_{kind}")["$ref"] for kind in HAPPENINGS},
        },
    },
    **{f"Happened_{kind}": _happened(kind) for kind in HAPPENINGS},
    "Story": shape(
        "All that is known of a call.",
        call={"anyOf": [ref("Call"), ref("Ended")]},
        live=said(FLAG, "It is under way: call is a Call; else an Ended"),
        happened=said(
            listed(ref("Happened")), "Oldest first; pieces of words may be put together"
        ),
        figures=ref("Figures"),
        verdict=said(listed(TEXT), "How good the line was, in words; none: all well"),
        recording=FLAG,
    ),
    "Figures": _FIGURES,
    "Calls": shape("Those under way.", calls=listed(ref("Call"))),
    "History": shape(
        "Some calls that are over, the newest first.",
        calls=listed(ref("Found")),
        next=said(maybe(TEXT), "Give it as before=, for older ones; null: no more"),
        kept=said(TEXT, "What is kept, and where, in words"),
    ),
    "Waveform": shape(
        "Of a recording: the highest of each step, 0 to 100.",
        seconds=NUMBER,
        step_ms=NUMBER,
        caller=WAVE,
        agent=WAVE,
    ),
    "Provider": shape(
        "A voice service.",
        name=TEXT,
        service=said(TEXT, "Who answers, in words"),
        problem=said(TEXT, "Empty: it could be reached, or nobody tried"),
        handshake_ms=said(maybe(NUMBER), "Of the last conversation"),
        last_error=TEXT,
        last_error_seconds=said(maybe(NUMBER), "Since then"),
    ),
    "Lag": shape(
        "How late the program gets to what is due, in ms.", p99=NUMBER, worst=NUMBER
    ),
    "House": _HOUSE,
    "Health": shape(
        "Whether a call would be answered now.",
        ready=FLAG,
        problem=said(TEXT, "Why not; or empty"),
        draining=FLAG,
        stopping=FLAG,
        lag_ms=ref("Lag"),
        providers=listed(ref("Provider")),
    ),
    "Agent": shape(
        "Who answers.",
        name=TEXT,
        service=TEXT,
        model=TEXT,
        voice=TEXT,
        language=TEXT,
        tools=listed(TEXT),
        calls=said(COUNT, "Now"),
        max_calls=said(COUNT, "At once; 0: as many as the house"),
        dollars_today=MONEY,
        most_per_day=said(NUMBER, "US dollars; 0: no ceiling"),
    ),
    "Agents": shape("Of this configuration.", agents=listed(ref("Agent"))),
    "Target": shape(
        "Where a caller can be sent.",
        name=TEXT,
        description=TEXT,
        open=said(FLAG, "By its hours, now"),
    ),
    "Targets": shape("Of this configuration.", targets=listed(ref("Target"))),
    "Me": shape(
        "Who asks, and what they may.",
        name=said(TEXT, "Empty: nobody said who they are"),
        rights=listed({"type": "string", "enum": ["read", "act", "listen"]}),
        needs_login=said(FLAG, "Nothing can be seen without logging in"),
        version=said(TEXT, "Of portero"),
    ),
    "Log": shape(
        "What is logged.",
        level=said(_LEVELS, "The least important that is, unless namespaces say else"),
        namespaces=listed(
            shape(
                "A part of the program; and all beneath it.",
                namespace=TEXT,
                level=_LEVELS,
                seconds_left=said(
                    maybe(NUMBER), "Then it is as configured; null: it is configured"
                ),
            )
        ),
    ),
    "Draining": shape("Whether new calls are refused.", draining=FLAG),
    "Nothing": {"type": "object", "description": "It was done."},
}
"""By name."""
