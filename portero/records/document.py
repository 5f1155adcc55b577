"""A call that is over as one JSON document, for other programs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any, Final

from portero.interfaces import Happening
from portero.records.past import Past

OWN_LISTS: Final = {"turn": "turns", "said": "said"}
"""By kind of happening: the list it stands in; tools have one too."""


def document(past: Past) -> dict[str, Any]:
    """
    @return: C{call}: as the API's history has it, and where it was answered; C{turns},
        C{tools}, C{said} and C{happened}, each oldest first with C{at}, seconds from
        the beginning; C{figures}: what the line measured.
    """
    lists: dict[str, list[dict[str, Any]]] = {
        "turns": [],
        "said": [],
        "tools": _tools(past.happened),
        "happened": [],
    }
    for each in past.happened:
        if each.kind in OWN_LISTS:
            lists[OWN_LISTS[each.kind]].append({"at": each.at, **each.data})
        elif each.kind not in ("tool_began", "tool_ended"):
            lists["happened"].append({"at": each.at, "kind": each.kind, **each.data})
    more = {
        "seconds": round(past.record.seconds, 3),  # as a database has it
        "recording": past.recording,
        "consent": past.consent,
        "host": past.host,
    }
    call = {**past.outline(), **more}
    return {"call": call, **lists, "figures": asdict(past.figures)}


def _tools(happened: Iterable[Happening]) -> list[dict[str, Any]]:
    """@return: Of each tool, what was asked for together with what came of it."""
    found: list[dict[str, Any]] = []
    asked: dict[Any, dict[str, Any]] = {}
    for each in happened:
        get = each.data.get
        if each.kind == "tool_began":
            tool = {"at": each.at, "name": get("name"), "arguments": get("arguments")}
            found.append(asked.setdefault(get("tool"), tool))
        elif each.kind == "tool_ended" and get("tool") in asked:
            ended = {name: get(name) for name in ("result", "ok", "ms")}
            asked[get("tool")].update(ended)
    return found
