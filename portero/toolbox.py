"""
Runs the agent's tools: found by name, their arguments checked, limited in time and in
what they answer, answering in any case; and all that is written down.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import count
from typing import Any, Final

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from portero import arguments as checked
from portero.discretion import TOOL
from portero.interfaces import ICallControl, ITool
from portero.watching import Watch

MOST_CHARACTERS: Final = 4000
"""Of what a tool may answer."""
CUT: Final = " [cut: the answer is longer]"
MOST_AT_ONCE: Final = 8
"""Tools that run for one call. An agent that calls more has lost its way, or was led
astray; a gate or a shop is not asked a hundred times in a second for that."""
MOST_LOGGED: Final = 200
"""Characters of the arguments, and of a result, in a line of the log."""
ERROR: Final = "error: "
NOT_YET: Final = "not yet: "
"""What an answer begins with that says why a tool did not do it."""

_AUDIT: Final = Logger("portero.audit")
"""Not of the class, whose name would take the place of that one."""


class Toolbox:
    """
    The tools of one agent.

    Each use is one line of the log, in the namespace C{portero.audit}: when it is over,
    with who asked for what, and what came of it. Arguments that a tool names in an
    attribute C{private} are left out, and all of them while the recording is paused.
    """

    log = Logger()

    def __init__(
        self, tools: Sequence[ITool], clock: IReactorTime, within: float
    ) -> None:
        """
        @param within: Seconds that a tool may take that has no attribute C{within} of
            its own.
        """
        self.tools = tuple(tools)
        self._clock = clock
        self.within = within
        self._count = count(1)
        self._running: Counter[str] = Counter()
        """By call id."""

    def run(
        self,
        call: ICallControl,
        name: str,
        arguments: Mapping[str, Any],
        watch: Watch | None = None,
    ) -> Deferred[str]:
        """
        @param watch: Told of it, as the log is.
        @return: What to tell the model; it never fails. A tool is not stopped by the
            end of its call: what the agent has promised is done.
        """
        began, number = self._clock.seconds(), next(self._count)
        self._running[call.call_id] += 1
        if watch is not None:
            watch.tell(
                "tool_began",
                tool=number,
                name=_name(name),
                arguments=self._shown(name, arguments, ascii=False),
            )
        running = maybeDeferred(self._answer, call, name, arguments)
        running.addErrback(partial(self._failed, call.call_id, name))
        running.addCallback(_short)
        return running.addCallback(
            partial(self._write_down, call, name, arguments, began, watch, number)
        )

    def _answer(
        self, call: ICallControl, name: str, arguments: Mapping[str, Any]
    ) -> Deferred[str]:
        tool = next((tool for tool in self.tools if tool.name == name), None)
        if tool is None:
            known = ", ".join(tool.name for tool in self.tools) or "none"
            said = checked.shown(name, 40)
            return succeed(f"{ERROR}there is no tool {said}; there are: {known}")
        wrong = checked.problem(tool.parameters, arguments)
        if wrong:
            return succeed(f"{ERROR}{name} was not run: {wrong}")
        if self._running[call.call_id] > MOST_AT_ONCE:
            return succeed(
                f"{ERROR}{name} was not run: {MOST_AT_ONCE} tools are running already; "
                "wait for their results"
            )
        within = getattr(tool, "within", self.within)
        running = Deferred.fromCoroutine(_run(tool, call, arguments))
        return running.addTimeout(within, self._clock, partial(_late, name))

    def _failed(self, call_id: str, name: str, failure: Failure) -> str:
        self.log.failure(
            "call {call_id}: tool {name} failed",
            failure=failure,
            call_id=call_id,
            name=name,
        )
        return (
            f"{ERROR}{name} broke down, so it is not known whether anything was done. "
            "Tell the caller that it did not work, and do not try it again."
        )

    def _write_down(
        self,
        call: ICallControl,
        name: str,
        arguments: Mapping[str, Any],
        began: float,
        watch: Watch | None,
        number: int,
        value: str,
    ) -> str:
        self._running[call.call_id] -= 1
        if not self._running[call.call_id]:
            del self._running[call.call_id]
        # What a tool found is the caller's business, why it refused the operator's.
        refused = value.lower().startswith((ERROR, NOT_YET))
        ms = round((self._clock.seconds() - began) * 1000)
        private = watch is not None and watch.discretion.hides(TOOL, number)
        if watch is not None:
            watch.tell(
                "tool_ended",
                tool=number,
                name=_name(name),
                result=_words(" ".join(value.split()), ascii=False),
                ok=not refused,
                ms=ms,
            )
        discreet = call.facts.discreet  # before anything is cut, and numbers as well
        given = {
            key: discreet(value) if isinstance(value, str) else value
            for key, value in arguments.items()
        }
        shown = discreet(self._shown(name, given))
        result = _outcome(discreet(value), refused, private)
        _AUDIT.info(
            "call {call_id}: agent {agent}{caller}: {tool}({arguments}): {result}, "
            "{ms} ms",
            call_id=call.call_id,
            agent=call.agent,
            caller=call.facts.caller_in_short,
            tool=_name(name),
            arguments="..." if private and arguments else shown,
            result=result,
            ms=ms,
        )
        return value

    def _shown(
        self, name: str, arguments: Mapping[str, Any], ascii: bool = True
    ) -> str:
        """@return: The arguments in a line, without the private ones."""
        tool = next((tool for tool in self.tools if tool.name == name), None)
        private = getattr(tool, "private", ())
        return ", ".join(
            f"{checked.shown(key, 40)[1:-1]}="
            f"{'...' if key in private else checked.shown(value, ascii=ascii)}"
            for key, value in arguments.items()
        )[:MOST_LOGGED]


def _name(name: str) -> str:
    """@return: As the model gave it, fit for a line."""
    return checked.shown(name, 40)[1:-1]


def _outcome(answer: str, refused: bool, private: bool) -> str:
    """@return: In words, for the log."""
    if refused:
        return "refused" if private else _words(answer)
    return "answered" if answer else "done"


def _words(answer: str, ascii: bool = True) -> str:
    """@return: In a line, cut."""
    shown = checked.shown(answer, MOST_LOGGED, ascii)
    return shown[1:-1].replace('\\"', '"')


def _late(name: str, value: object, within: float) -> str:
    """@param value: What the tool answered when its time was over, or a failure."""
    if isinstance(value, str):
        return value
    return (
        f"{ERROR}{name} gave no answer within {within:g} s, so it is not known whether "
        "anything was done. Tell the caller so, and offer something else."
    )


def _short(value: str) -> str:
    if len(value) <= MOST_CHARACTERS:
        return value
    return value[: MOST_CHARACTERS - len(CUT)] + CUT


async def _run(tool: ITool, call: ICallControl, arguments: Mapping[str, Any]) -> str:
    """A tool that raises before its first wait fails like one that raises later."""
    value = await tool.run(call, arguments)
    if not isinstance(value, str):  # it may be a site's own
        raise TypeError(f"a tool answers with text, not with {type(value).__name__}")
    return value
