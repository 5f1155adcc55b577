"""The exceptions an operator can meet; each message says what would be right."""


class PorteroError(Exception):
    """Something that an operator can act on."""


class ConfigError(PorteroError):
    """A setting is wrong: the message names its place and what is allowed."""


class CannotStart(SystemExit, PorteroError):
    """
    portero cannot run, for the reason in the message.

    C{twistd -n} shows the text of a C{SystemExit} alone, and of others a traceback; in
    the background it tells the waiting shell only of an C{Exception}. So it is both.
    """


class FramingError(PorteroError):
    """A peer sent bytes that cannot be AudioSocket messages."""


class Refused(PorteroError):
    """A call is not taken: the message says why, C{word} says it to the dialplan."""

    def __init__(self, word: str, why: str) -> None:
        """
        @param word: C{full}, C{stopping}, C{draining}, C{unhealthy}, C{over-budget},
            C{unknown-agent}, C{not-announced}, C{forbidden} or C{bad-request}.
        """
        super().__init__(why)
        self.word = word
