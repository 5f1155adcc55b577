"""The bridge as a Twisted service: it admits calls, counts them, and drains on stop."""

from __future__ import annotations

import errno
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Final

from twisted.application.service import IService, MultiService, Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from portero.call import Call, CallSettings
from portero.errors import CannotStart
from portero.interfaces import ILeg, ITool, IVoiceProvider
from portero.toolbox import Toolbox

REMEMBERED: Final = 5000
"""Ended calls whose outcome the dialplan can still ask for."""
ASKED_WITHIN: Final = 0.5
"""Seconds after a call within which the dialplan has asked how it ended."""
TOOL_WITHIN: Final = 10.0
"""Seconds that a tool of an agent may take."""
SAY_EVERY: Final = 1.0
"""Seconds between two log lines about calls refused for the same reason."""


class Bridge(MultiService):
    """Holds the calls. Listening and the voice service are given to it."""

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        provider: IVoiceProvider,
        settings: CallSettings,
        tools: Sequence[ITool] = (),
        *,
        max_calls: int = 100,
        stop_within: float = 10.0,
    ) -> None:
        """
        @param stop_within: Seconds that calls under way may still take when the
            service stops, before they are handed back to Asterisk.
        """
        super().__init__()
        self.calls: dict[str, Call] = {}
        self.ended: OrderedDict[str, str] = OrderedDict()
        """By call id: why it ended badly, or empty when it ended well."""
        self.answered = 0
        self.refused = 0
        self.stopping = False
        self.provider = provider
        self._clock = clock
        self._settings = settings
        self._toolbox = Toolbox(tools, clock, TOOL_WITHIN)
        self._max_calls = max_calls
        self._stop_within = stop_within
        self._beneath: list[IService] = []
        self._open: dict[Call, ILeg] = {}
        self._drained: Deferred[None] | None = None
        self._said: dict[str, float] = {}
        self._unsaid = 0

    def runs_on(self, service: IService) -> None:
        """C{service} is needed by calls: it starts before them and stops after them."""
        self._beneath.append(service)

    def accept(self, leg: ILeg, call_id: str) -> Call | None:
        """
        A leg has said which call it is.

        @return: The call, or C{None} when it is refused, which is logged.
        """
        why = ""
        if self.stopping:
            why = "portero is stopping"
        elif len(self._open) >= self._max_calls:
            why = f"there are {self._max_calls} calls already ([listen] max_calls)"
        elif call_id in self.calls:
            why = "a call with this id is under way; the dialplan must make a new UUID"
        if why:
            self._refuse(leg, call_id, why)
            return None
        call = Call(
            call_id,
            leg,
            self.provider,
            self._clock,
            self._settings,
            self._toolbox,
            self._forget,
        )
        self._open[call] = leg
        self.calls[call_id] = call
        self.ended.pop(call_id, None)
        self.answered += 1
        return call

    def _refuse(self, leg: ILeg, call_id: str, why: str) -> None:
        self.refused += 1
        now = self._clock.seconds()
        if why in self._said and now - self._said[why] < SAY_EVERY:
            self._unsaid += 1
            return
        self._said[why] = now
        unsaid, self._unsaid = self._unsaid, 0
        self.log.warn(
            "call {call_id} from {peer} refused: {why}{more}",
            call_id=call_id,
            peer=leg.peer,
            why=why,
            more=f" (and {unsaid} refused without a line)" if unsaid else "",
        )

    def _forget(self, call: Call) -> None:
        self._open.pop(call, None)
        self.calls.pop(call.call_id, None)
        self.ended[call.call_id] = call.failure
        while len(self.ended) > REMEMBERED:
            self.ended.popitem(last=False)
        drained = self._drained
        if not self._open and drained is not None:
            self._drained = None
            drained.callback(None)

    def problem(self) -> str:
        """Empty when a new call would be taken and answered; else why not."""
        if self.stopping:
            return "stopping"
        if len(self._open) >= self._max_calls:
            return "full"
        return self.provider.health()

    def privilegedStartService(self) -> None:
        for service in self._beneath:
            service.privilegedStartService()
        super().privilegedStartService()

    def startService(self) -> None:
        self.stopping = False
        for service in self._beneath:
            service.startService()
        super().startService()

    def stopService(self) -> Deferred[None]:
        """
        Listen no more; let the calls under way end, for a while; then hand them back.

        @return: Fires when no call is left.
        """
        self.stopping = True
        closed: Any = super().stopService()
        return Deferred.fromCoroutine(self._stop(closed))

    async def _stop(self, closed: Deferred[Any]) -> None:
        await closed
        if self._open:
            self.log.info(
                "stopping: {count} calls under way may take {seconds:.0f} s more; "
                "a second signal ends them now",
                count=len(self._open),
                seconds=self._stop_within,
            )
            deadline = self._clock.callLater(self._stop_within, self.hand_back)
            self._drained = Deferred()
            await self._drained
            if deadline.active():
                deadline.cancel()
            await deferLater(self._clock, ASKED_WITHIN)
        for service in reversed(self._beneath):
            try:
                await maybeDeferred(service.stopService)
            except Exception:
                self.log.failure("stopping {service}", service=service)

    def hand_back(self) -> None:
        """End what is under way; each caller hears the apology first."""
        for call in tuple(self._open):
            call.stop()

    def hang_up(self) -> None:
        """End what is under way in this moment, as failed."""
        for call, leg in tuple(self._open.items()):
            call.stop()
            leg.hang_up()


REMEDIES: Final = {
    errno.EADDRINUSE: "another program, perhaps another portero, has this port: stop "
    "that one, or choose another port",
    errno.EADDRNOTAVAIL: "this machine has no such address; ip address shows them",
    errno.EACCES: "this user may not; ports below 1024 are root's: choose another",
}


class Listener(Service):
    """
    Listens while it runs, or says why it cannot.

    C{StreamServerEndpointService} alone would log a busy port and go on, deaf.
    """

    def __init__(self, what: str, endpoint: str, make: Callable[[], IService]) -> None:
        """
        @param what: For the error: what cannot be listened for.
        @param make: Makes the service that binds when it starts.
        """
        self._what = what
        self._endpoint = endpoint
        self._make = make
        self._listening: Any = None

    def privilegedStartService(self) -> None:
        """
        @raise CannotStart: The port cannot be had.
        """
        listening: Any = self._make()
        listening._raiseSynchronously = True  # what strports.service does
        try:
            listening.privilegedStartService()
        except (CannotListenError, OSError) as error:
            reason = getattr(error, "socketError", error)
            remedy = REMEDIES.get(getattr(reason, "errno", 0), "")
            raise CannotStart(
                f"portero: cannot listen for {self._what} on {self._endpoint}: "
                f"{remedy or reason}"
            ) from None
        self._listening = listening

    def startService(self) -> None:
        super().startService()
        if self._listening is None:
            self.privilegedStartService()
        self._listening.startService()

    def stopService(self) -> Deferred[None]:
        super().stopService()
        listening, self._listening = self._listening, None
        return maybeDeferred(listening.stopService)
