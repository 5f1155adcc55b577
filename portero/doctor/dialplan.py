"""Whether the dialplan leads to this portero and, when it does not answer, on. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from portero.doctor.asterisk_output import Dialplan, Step
from portero.doctor.report import Finding, fail, ok, warn
from portero.doctor.where import ANY, Place
from portero.sections import is_loopback

CONTEXT: Final = "portero"
"""Of C{conf/extensions_portero.conf}."""
SHIPPED: Final = "conf/extensions_portero.conf"
RELOAD: Final = "asterisk -rx 'dialplan reload'"
DEFAULTS: Final = {
    "PORTERO": "127.0.0.1:8089",
    "PORTERO_STATUS": "http://127.0.0.1:8091",
    "PORTERO_FALLBACK": "from-internal,100,1",
}
"""What these are when the dialplan does not say."""
ANSWERS: Final = ("Answer", "Background", "Playback", "Read")
"""Applications after which a call is answered."""

_APPLICATION: Final = re.compile(r"AudioSocket\((?P<call>.*),(?P<to>[^,()]+)\)?\)?$")
_DIAL: Final = re.compile(r"(?:^|&)AudioSocket/(?P<to>[^/&,]+)/(?P<rest>[^&,]*)")
_SET: Final = re.compile(r"Set\(_{0,2}(?P<name>PORTERO\w*)=(?P<value>[^)]*)\)")
_LONE: Final = re.compile(r"\$\{[^${}]+\}|[\w-]+")
"""One variable, function or plain id: there is no room in it for a codec."""


@dataclass(frozen=True, slots=True)
class Route:
    """A step that sends calls to an AudioSocket server."""

    step: Step
    to: str
    """C{HOST:PORT}, with the values of variables where they are known."""
    dials: bool
    """By the channel, and not by the application."""
    guarded: bool
    """A server that is lost does not cost the caller the call."""
    codec: bool
    """It is named, or may be."""


class Plan:
    """The whole dialplan, as far as it concerns portero."""

    def __init__(self, dialplan: Dialplan, variables: Mapping[str, str]) -> None:
        """@param variables: The global ones."""
        self._dialplan = dialplan
        self._variables = variables
        self.shipped = CONTEXT in dialplan.contexts
        goes = re.compile(rf"\b{CONTEXT},s,")
        self.entries = dict.fromkeys(
            (step.context, step.extension)
            for step in dialplan
            if step.context != CONTEXT and goes.search(step.data)
        )
        """Contexts and extensions from which calls come to L{CONTEXT}."""
        self.routes = [route for step in dialplan for route in self._routes(step)]

    def values(self, name: str) -> list[str]:
        """
        @param name: A key of L{DEFAULTS}.
        @return: What it is in the calls that come, as far as plain values tell.
        """
        own: dict[tuple[str, str], str] = {}
        common = DEFAULTS[name]
        for step in self._dialplan:
            for each in _SET.finditer(f"{step.app}({step.data})"):
                if each["name"] != name or not each["value"]:
                    continue
                if step.context == CONTEXT:
                    common = each["value"]
                else:
                    own[step.context, step.extension] = each["value"]
        common = self._variables.get(name) or common
        passed_on = [value for where, value in own.items() if where not in self.entries]
        found = [
            value
            for entry in self.entries
            for value in ([own[entry]] if entry in own else passed_on or [common])
        ]
        known = [value for value in found or [common] if "${" not in value]
        return list(dict.fromkeys(known))

    def _routes(self, step: Step) -> Iterator[Route]:
        whole = f"{step.app}({step.data})"
        if step.app == "Dial":
            for each in _DIAL.finditer(step.data):
                rest = each["rest"]
                codec = "c(" in rest or not _LONE.fullmatch(rest.rstrip("/"))
                for to in self._known(each["to"]):
                    yield Route(step, to, True, True, codec)
        elif "AudioSocket(" in whole:
            found = _APPLICATION.search(whole)
            guarded = step.app == "TryExec"
            for to in self._known(found["to"].strip()) if found else ():
                yield Route(step, to, False, guarded, True)

    def _known(self, to: str) -> list[str]:
        if to == "${PORTERO}":
            return self.values("PORTERO")
        found = re.fullmatch(r"\$\{(\w+)\}", to)
        return [self._variables.get(found[1], to) if found else to]

    # Judgments

    def judge(self, place: Place | None) -> Iterator[Finding]:
        """@param place: Where portero listens for calls; C{None}: no TCP port."""
        port = str(place.port) if place else ""
        ours = [each for each in self.routes if each.to.rpartition(":")[2] == port]
        if not self.routes:
            yield fail(
                "dialplan",
                "no line of it sends calls to portero",
                f"include {SHIPPED} in extensions.conf (its first lines say how), then "
                f"{RELOAD}",
            )
            return
        if place is not None:
            yield from self._address(ours, place)
        yield from self._lines(ours)
        yield from self._names(ours)
        yield from self._codecs()

    def _address(self, ours: Sequence[Route], place: Place) -> Iterator[Finding]:
        wrong = [each.to for each in ours if not _meets(each.to, place.interface)]
        plain = [each.to for each in self.routes if "${" not in each.to]
        if ours and not wrong:
            yield ok("address", f"the dialplan sends calls to {_list(_to(ours))}")
        elif ours or plain:
            yield fail(
                "address",
                f"the dialplan sends calls to {_list(wrong or plain)}, and portero "
                f"listens on {place}",
                f"give PORTERO in the dialplan ([globals], or {SHIPPED}) that address, "
                "or change port and interface in [listen]",
            )

    def _lines(self, ours: Sequence[Route]) -> Iterator[Finding]:
        """What has to stand round those that send calls to us."""
        found: list[Finding] = []
        for route in ours or self.routes:
            step = route.step
            if not route.guarded:
                found.append(
                    warn(
                        "dialplan",
                        f"{step.where}: AudioSocket() without TryExec() hangs the "
                        "caller up when portero is lost",
                        f"write TryExec({step.app}({step.data})), or use {SHIPPED}",
                    )
                )
            if not route.dials and not self._answers_before(step):
                found.append(
                    warn(
                        "dialplan",
                        f"{step.where}: no Answer() stands before it: of a call that "
                        "nothing else answered, Asterisk sends no sound",
                        "write Answer() before that line",
                    )
                )
        if self.shipped:
            found += self._shipped()
        else:
            found.append(
                warn(
                    "dialplan",
                    f"has lines of its own, and not {SHIPPED}: portero is not told "
                    "who calls, and a call that it loses is hung up",
                    f"include {SHIPPED}, and Goto({CONTEXT},s,1) instead",
                )
            )
        yield from found or [
            ok("dialplan", f"has the lines that it needs, in context {CONTEXT}")
        ]

    def _answers_before(self, step: Step) -> bool:
        return any(
            other.app in ANSWERS
            for other in self._dialplan.contexts[step.context]
            if other.extension == step.extension and other.priority < step.priority
        )

    def _shipped(self) -> Iterator[Finding]:
        whole = [f"{s.app}({s.data})" for s in self._dialplan.contexts[CONTEXT]]
        for part, why in (
            ("TryExec(AudioSocket(", "nothing sends the call to portero"),
            ("/register", "portero is not told who calls"),
            ("/next", "where a call goes after portero is not asked"),
            ("PORTERO_FALLBACK}", "nobody gets the calls that portero cannot take"),
        ):
            if not any(part in line for line in whole):
                yield fail(
                    "dialplan",
                    f"context {CONTEXT} has no line with {part}: {why}",
                    f"take {SHIPPED} anew, then {RELOAD}",
                )
        if not self.entries:
            yield warn(
                "dialplan",
                f"nothing in it leads to {CONTEXT},s,1, so no call comes",
                f"Goto({CONTEXT},s,1) in the extension that is called; in FreePBX a "
                "custom destination, chosen in an inbound route",
            )

    def _names(self, ours: Iterable[Route]) -> Iterator[Finding]:
        for to in _to(ours):
            name = to.rpartition(":")[0].strip("[]")
            try:
                ip_address(name)
            except ValueError:
                yield warn(
                    "address",
                    f"the dialplan names portero {name}: each call waits for that name "
                    "to be looked up, and is lost when it is not found",
                    "write the address in digits, such as 127.0.0.1",
                )

    def _codecs(self) -> Iterator[Finding]:
        for route in self.routes:
            if not route.codec:
                yield warn(
                    "codecs",
                    f"{route.step.where}: Dial(AudioSocket/...) names no codec, so "
                    "the caller's own comes under a false name",
                    "write /c(slin16) after the id: "
                    "Dial(AudioSocket/HOST:PORT/${UUID()}/c(slin16),,g)",
                )


def _to(routes: Iterable[Route]) -> list[str]:
    return list(dict.fromkeys(route.to for route in routes))


def _list(words: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(words))


def _meets(to: str, interface: str) -> bool:
    """Whether an address of the dialplan may be that where portero listens."""
    asked = to.rpartition(":")[0].strip("[]")
    if interface in ANY or asked == interface:
        return True
    try:
        literal = ip_address(asked)
    except ValueError:
        return True  # a name, of which there is more to say elsewhere
    return literal.is_loopback and is_loopback(interface)
