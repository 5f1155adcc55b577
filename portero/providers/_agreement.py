"""Which audio formats a conversation uses: those asked for, unless others come."""

from __future__ import annotations

from twisted.logger import Logger

from portero.providers._downlink import Downlink
from portero.providers._formats import CODECS, choose_format
from portero.providers._uplink import Uplink
from portero.wire import openai as wire


class Agreement:
    """
    Of one conversation and its service, which may choose other formats than it was
    asked for, and may send another than it agreed to.
    """

    log = Logger()

    def __init__(self, call_id: str, uplink: Uplink, downlink: Downlink) -> None:
        self._call_id = call_id
        self._uplink = uplink
        self._downlink = downlink

    @property
    def names(self) -> tuple[str, str]:
        """In use, for what the caller says and for what the agent says."""
        return self._uplink.codec.name, self._downlink.codec.name

    def choose(self, wanted: str, caller_rate: int, agent_rate: int) -> None:
        """
        What to ask the service for.

        @param wanted: C{auto}, C{pcm}, C{pcmu} or C{pcma}.
        @param caller_rate: Of the leg, in Hz; so is C{agent_rate}.
        """
        self._use(choose_format(wanted, caller_rate), choose_format(wanted, agent_rate))

    def answered(self, given: str, wanted: str) -> str:
        """
        The service says which formats it uses; either may be empty.

        @return: Why that cannot be; empty: it is done so.
        """
        asked = self.names
        effective = (given or asked[0], wanted or asked[1])
        if effective == asked or self._downlink.found_pcm:
            return ""
        if any(name not in CODECS for name in effective):
            return (
                f"the service uses {effective} although {asked} was asked for; "
                "set audio_format to what it takes"
            )
        self.log.warn(
            "call {call_id}: the service uses {effective} although {asked} was "
            "asked for; going on with its choice",
            call_id=self._call_id,
            effective=effective,
            asked=asked,
        )
        self._use(*effective)
        return ""

    def refuted(self) -> None:
        """What comes is PCM, whatever was agreed."""
        self.log.warn(
            "call {call_id}: the service agreed to {agreed} but sends PCM; going on "
            "with 24 kHz PCM. Set audio_format to pcm to ask for that at once",
            call_id=self._call_id,
            agreed=self._downlink.codec.name,
        )
        self._use(wire.PCM, wire.PCM)

    def _use(self, given: str, wanted: str) -> None:
        """Also under way."""
        self._uplink.use(CODECS[given])
        self._downlink.use(CODECS[wanted])
