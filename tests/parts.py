"""Tests that need real parts: without them a skip, but a failure where CI says so."""

from __future__ import annotations

import os
from unittest import SkipTest


def need(condition: bool, what: str) -> None:
    """
    Go on only with this part.

    @param condition: Whether it is there.
    @param what: The part, and how to get it.
    @raise SkipTest: It is missing, on somebody's own machine.
    @raise AssertionError: It is missing where C{CI} is C{true}.
    """
    if condition:
        return
    reason = f"needs {what}"
    if os.environ.get("CI") == "true":
        raise AssertionError(reason)
    raise SkipTest(reason)
