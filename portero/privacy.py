"""Pauses the recording of a call: nobody but its two sides hears or reads it then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.logger import Logger

from portero.assignment import CallSettings
from portero.callstate import State
from portero.facts import harmless
from portero.interfaces import ILeg
from portero.watching import Watch

PAUSED: Final = (
    "The caller paused the recording of this call with keys on the telephone: nothing "
    "that is said or typed from now on is kept. Tell the caller so in a few words."
)
RESUMED: Final = (
    "The caller let the recording of this call go on, with keys on the telephone. Tell "
    "the caller so in a few words."
)
"""For the agent."""

_AUDIT: Final = Logger("portero.audit")
"""Not of the class, whose name would take the place of that one."""


class Privacy:
    """Of one call. A pause lasts until it is ended, or the call is."""

    def __init__(
        self,
        call_id: str,
        settings: CallSettings,
        leg: ILeg,
        watch: Watch,
        *,
        state: Callable[[], State],
        tell: Callable[[str, str], None],
    ) -> None:
        """
        @param state: The state of the call.
        @param tell: Takes a role and a text for the agent, who then answers.
        """
        self._call_id = call_id
        self._pause_keys = settings.pause_keys
        self._resume_keys = settings.resume_keys
        self._leg = leg
        self._watch = watch
        self._state = state
        self._tell = tell

    @property
    def codes(self) -> tuple[str, ...]:
        """Keys for L{keys_typed}."""
        return tuple(filter(None, (self._pause_keys, self._resume_keys)))

    def keys_typed(self, code: str) -> None:
        """The caller typed one of the L{codes}."""
        paused = code == self._pause_keys
        if self.pause(paused, "caller"):
            _AUDIT.info(
                "call {call_id}: the caller, by keys: {did}: done",
                call_id=self._call_id,
                did="pause the recording" if paused else "go on with the recording",
            )
            self._tell("system", PAUSED if paused else RESUMED)

    def pause(self, paused: bool, by: str, who: str = "") -> bool:
        """
        From now on it is so; it may be already.

        @param by: C{agent}, C{caller} or C{operator}.
        @param who: The operator's name.
        @return: C{False}: the call is over, or has not begun.
        """
        if self._state() in (State.IDENTIFYING, State.ENDED):
            return False
        discretion = self._watch.discretion
        if paused is discretion.paused:
            return True
        if paused:
            discretion.pause()
        else:
            discretion.resume()
        self._leg.keep_private(paused)
        did = "paused" if paused else "resumed"
        self._watch.tell("recording", did=did, by=by, who=harmless(who))
        return True
