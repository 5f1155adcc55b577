"""
The agent of one call, as the caller hears it: one voice, although it may take several
conversations with the service, because sockets break and sessions expire.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import groupby, islice
from math import inf
from random import Random
from typing import Final

from twisted.logger import Logger

from portero.backoff import Backoff
from portero.callstate import Event
from portero.gate import Gate
from portero.greeter import ITEM
from portero.history import History
from portero.interfaces import (
    Brief,
    IConversation,
    IConversationEvents,
    ILeg,
    IVoiceProvider,
    Loss,
)
from portero.rates import RateMatcher
from portero.timers import Timers
from portero.watching import Watch

RENEW_BEFORE: Final = 120.0
RENEW_AT_LATEST: Final = 5.0
RENEW_AT_FIRST: Final = 1.0
RENEW_LOOK_EVERY: Final = 0.2
"""Seconds: before the service's session expires a pause is looked for; the last of them
are not waited for. A session that expires at once is left to be lost, which counts."""

MOST_HELD: Final = 1500
"""Pieces of what the caller says that are held: at 20 ms each, half a minute."""
AT_ONCE: Final = 50
"""Pieces that are passed on together."""

_NO_LOSS: Final = Loss("", final=False)


class Agent:
    """
    Keeps a conversation open. Commands go to the present one, and nowhere without.

    What happens is posted as events of L{portero.callstate}, which say what follows.
    """

    log = Logger()

    def __init__(
        self,
        provider: IVoiceProvider,
        brief: Brief,
        timers: Timers,
        *,
        connect_within: float,
        patience: float,
        noise_gate: int,
        at_pause: Callable[[], bool],
        post: Callable[[Event], None],
        events: Callable[[], IConversationEvents],
        watch: Watch,
    ) -> None:
        """
        @param brief: Without the history, which is kept here.
        @param connect_within: Seconds for all attempts together, until one is ready.
        @param patience: Seconds of these after which the caller is asked for a moment.
        @param noise_gate: RMS amplitude that always passes it; 0: there is none.
        @param at_pause: Whether neither side is speaking or waiting.
        @param events: Who is told what a conversation tells.
        """
        self.conversation: IConversation | None = None
        self.history = History()
        self.loss = _NO_LOSS
        """The last one, unless a conversation was ready since."""
        self._provider = provider
        self._brief = brief
        self._timers = timers
        self._connect_within = connect_within
        self._patience = patience
        self._noise_gate = noise_gate
        self._at_pause = at_pause
        self._post = post
        self._events = events
        self._watch = watch
        self._opened = 0.0
        # The same call once more is to wait as long.
        self._backoff = Backoff(Random(brief.call_id).random)
        self._begun = False
        """The conversation knows the leg's rates."""
        self._gate: Gate | None = None
        self._gate_rate = 0
        self._holding = False
        self._held: deque[tuple[int, bytes]] = deque(maxlen=MOST_HELD)
        """What the caller has said, to be passed on later, with its rates in Hz."""
        self._up = RateMatcher()
        self._down = RateMatcher()

    # One conversation after another

    def open(self) -> None:
        """Open a conversation now."""
        self._await_ready()
        self._drop()
        self._begun = False
        self._opened = self._timers.seconds()
        brief = replace(self._brief, history=self.history.replay())
        self.conversation = self._provider.converse(brief, self._events())

    def reopen(self) -> None:
        """Open another one when the back-off and the service allow it, or give up."""
        delay = self._backoff.next()
        if delay is None:
            self._post(Event.LOST_FOR_GOOD)
            return
        self._await_ready()
        delay = max(delay, self.loss.retry_after)
        self.log.warn(
            "call {call_id}: lost the voice service: {reason}; trying again in "
            "{delay:.1f} s",
            call_id=self._brief.call_id,
            reason=self.loss.reason,
            delay=delay,
        )
        self._timers.start("reopen", delay, self.open)

    def close(self) -> None:
        """Close the conversation, and open no other."""
        self._timers.cancel("reopen", "connect", "patience")
        self._drop()

    def _drop(self) -> None:
        self._timers.cancel("renew")
        conversation, self.conversation = self.conversation, None
        if conversation is not None:
            try:
                conversation.close()
            except Exception:
                self.log.failure(
                    "call {call_id}: closing a conversation",
                    call_id=self._brief.call_id,
                )

    def _await_ready(self) -> None:
        """The time to be ready counts from the first attempt."""
        if "connect" not in self._timers:
            self._timers.start("connect", self._connect_within, self._too_late)
            self._timers.start(
                "patience", self._patience, partial(self._post, Event.WAITED)
            )

    def _too_late(self) -> None:
        last = f"; last: {self.loss.reason}" if self.loss.reason else ""
        late = f"the voice service was not ready within {self._connect_within:g} s"
        self._note_loss(Loss(late + last, final=True))
        self._post(Event.LOST_FOR_GOOD)

    # What the conversation told

    def ready(self) -> None:
        """It is ready; from now on, look for a pause before it expires."""
        if self.conversation is None:
            return
        took = self._timers.seconds() - self._opened
        self._watch.tell("service", ready_ms=round(took * 1000))
        self._timers.cancel("connect", "patience")
        self.loss = _NO_LOSS
        expires_in = self.conversation.expires_in
        if expires_in != inf:
            margin = min(RENEW_BEFORE, expires_in * 0.2)
            self._timers.start(
                "renew", max(RENEW_AT_FIRST, expires_in - margin), self._renew
            )
        self._post(Event.READY)

    def lost(self, loss: Loss) -> None:
        """It ended by itself."""
        if self.conversation is None:
            return
        self._note_loss(loss)
        self._drop()
        self._post(Event.LOST_FOR_GOOD if loss.final else Event.LOST)

    def stalled(self) -> None:
        """It says no more, although it is not done."""
        self._note_loss(Loss("it stopped in the middle of a reply", final=False))
        self._post(Event.STALLED)

    def _note_loss(self, loss: Loss) -> None:
        self.loss = loss
        self._watch.tell("service", lost=loss.reason, final=loss.final)

    def worked(self) -> None:
        """
        A reply was given in full. Not before: a service that breaks each reply is not
        tried for ever.
        """
        self._backoff.reset()

    def _renew(self) -> None:
        conversation = self.conversation
        if conversation is None:
            return
        if self._at_pause() or conversation.expires_in < RENEW_AT_LATEST:
            self.log.info(
                "call {call_id}: renewing the service's session",
                call_id=self._brief.call_id,
            )
            self._post(Event.RENEWAL_DUE)
        else:
            self._timers.start("renew", RENEW_LOOK_EVERY, self._renew)

    # Audio

    def hear(self, pcm: bytes, leg: ILeg) -> None:
        """Caller audio, at the leg's C{caller_rate}."""
        conversation, rate = self.conversation, leg.caller_rate
        if conversation is not None and not self._begun:
            self._begun = True
            conversation.begin(rate, leg.agent_rate)
        if self._holding or self._held:
            self._held.append((rate, pcm))
        elif conversation is not None:
            self._pass_on(conversation, pcm, rate)
        if self._held and conversation is not None and not self._holding:
            self._catch_up(conversation)

    def hold(self, hold: bool) -> None:
        """
        The service must not hear the caller now, as it would let itself be interrupted.
        What is said meanwhile it hears later, all at once.
        """
        self._holding = hold

    def _catch_up(self, conversation: IConversation) -> None:
        held = [*self._held]
        self._held.clear()
        for rate, pieces in groupby(held, lambda piece: piece[0]):
            while together := b"".join(pcm for _, pcm in islice(pieces, AT_ONCE)):
                self._pass_on(conversation, together, rate)

    def _pass_on(self, conversation: IConversation, pcm: bytes, rate: int) -> None:
        pcm = self._gated(pcm, rate)
        pcm = self._up.match(pcm, rate, conversation.caller_rate, conversation.piece)
        if pcm:
            conversation.send_audio(pcm)

    def _gated(self, pcm: bytes, rate: int) -> bytes:
        if not self._noise_gate:
            return pcm
        if self._gate is None or self._gate_rate != rate:
            self._gate, self._gate_rate = Gate(rate, self._noise_gate), rate
        return self._gate.process(pcm)

    def voice(self, pcm: bytes, rate: int) -> bytes:
        """
        @param pcm: From the conversation.
        @return: At C{rate}: what is due of it.
        """
        conversation = self.conversation
        if conversation is None:
            return b""
        return self._down.match(pcm, conversation.agent_rate, rate)

    # Commands

    def greet(self, words: str) -> None:
        """@param words: To be said exactly; empty: the agent chooses its own."""
        if self.conversation is not None:
            if words:
                self.conversation.say(words)
            else:
                self.conversation.ask()

    def ask(self, hint: str = "") -> None:
        """
        @param hint: What the reply is to be about, if it answers nobody. Conversations
            after this one are not told.
        """
        if self.conversation is not None:
            if hint:
                self.conversation.add_text("system", hint)
            self.conversation.ask()

    def tell(self, role: str, text: str, shown: str = "") -> None:
        """
        Put a text into the conversation, and into those after it.

        @param shown: What those who watch see in its place.
        """
        # Without halves of characters, which nobody could send on or keep.
        text = text.encode("utf-8", "replace").decode()
        self._keep(role, text, "", shown or text)
        if self.conversation is not None:
            self.conversation.add_text(role, text)

    def note(self, role: str, text: str, item: str = "") -> None:
        """One side said this; conversations after this one are told."""
        self._keep(role, text, item, text)

    def _keep(self, role: str, text: str, item: str, shown: str) -> None:
        private = self._watch.discretion.hides(role, item)
        if text:
            self._watch.tell("said", role=role, item=item, text=shown)
        self.history.add(role, text, item, private)

    def cancel(self) -> None:
        if self.conversation is not None:
            self.conversation.cancel()

    def cut(self, item: str, heard_ms: int, given_ms: int) -> None:
        """The caller heard only so much of an item."""
        self._watch.tell("cut", item=item, heard_ms=heard_ms, given_ms=given_ms)
        share = heard_ms / given_ms if given_ms else 0.0
        whole, heard = self.history.cut(item, share)
        if self.conversation is None:
            return
        if item == ITEM:
            if heard != whole:
                self.conversation.amend(whole, heard)
        else:
            self.conversation.interrupt(item, heard_ms)
