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
