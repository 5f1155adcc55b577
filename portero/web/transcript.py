"""What was said in a call, as a text to read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

WHO: Final = {"user": "Caller", "assistant": "Agent", "system": "(to the agent)"}


def transcript(call: Mapping[str, Any], happened: Iterable[Mapping[str, Any]]) -> str:
    """
    @param call: As the API shows it, under way or over.
    @param happened: In it, oldest first.
    @return: A head, and a line for each utterance with the time when it began, as far
        as that is known; what the caller did not hear to its end says so.
    """
    happened = list(happened)
    number = f" {call['caller_number']}" if call["caller_number"] else ""
    lines = [
        f"Call {call['id']}",
        f"{call['began']}, {call['seconds']:.0f} s, agent {call['agent']}",
        f"Caller:{' ' + call['caller_name'] if call['caller_name'] else ''}{number}",
        "",
    ]
    heard = {one["item"]: one for one in happened if one["kind"] == "cut"}
    began: dict[str, float] = {}
    for one in happened:
        if one["kind"] in ("caller", "words", "sounding") and one.get("item"):
            began.setdefault(one["item"], one["at"])
    said = [
        (began.get(one["item"], one["at"]), one)
        for one in happened
        if one["kind"] == "said"
    ]
    for at, one in sorted(said, key=lambda each: each[0]):
        minutes, seconds = divmod(int(at), 60)
        text = " ".join(str(one["text"]).split())
        cut = heard.get(one["item"]) if one["role"] == "assistant" else None
        if cut is not None:
            text += (
                f" [interrupted: heard {cut['heard_ms'] / 1000:.1f} s of "
                f"{cut['given_ms'] / 1000:.1f} s]"
            )
        lines.append(f"{minutes:02}:{seconds:02} {WHO[one['role']]}: {text}")
    return "\n".join(lines) + "\n"
