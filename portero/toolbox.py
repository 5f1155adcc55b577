"""Runs the agent's tools: found by name, limited in time, answering in any case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from portero.interfaces import ICallControl, ITool


class Toolbox:
    """The tools that the agents of this process may use."""

    log = Logger()

    def __init__(
        self, tools: Sequence[ITool], clock: IReactorTime, within: float
    ) -> None:
        """@param within: Seconds that a tool may take."""
        self.tools = tuple(tools)
        self._clock = clock
        self._within = within

    def run(
        self, call: ICallControl, name: str, arguments: Mapping[str, Any]
    ) -> Deferred[str]:
        """
        @return: What to tell the model; it never fails. A tool is not stopped by the
            end of its call: what the agent has promised is done.
        """
        tool = next((tool for tool in self.tools if tool.name == name), None)
        if tool is None:
            return _done(f"error: there is no tool called {name}")
        self.log.info("call {call_id}: tool {name}", call_id=call.call_id, name=name)
        running = Deferred.fromCoroutine(_run(tool, call, arguments))
        running.addTimeout(self._within, self._clock)
        return running.addErrback(self._failed, call.call_id, name)

    def _failed(self, failure: Failure, call_id: str, name: str) -> str:
        self.log.failure(
            "call {call_id}: tool {name} failed",
            failure=failure,
            call_id=call_id,
            name=name,
        )
        return f"error: {name} did not work; tell the caller so"


def _done(value: str) -> Deferred[str]:
    done: Deferred[str] = Deferred()
    done.callback(value)
    return done


async def _run(tool: ITool, call: ICallControl, arguments: Mapping[str, Any]) -> str:
    """A tool that raises before its first wait fails like one that raises later."""
    value = await tool.run(call, arguments)
    if not isinstance(value, str):  # it may be a site's own
        raise TypeError(f"a tool answers with text, not with {type(value).__name__}")
    return value
