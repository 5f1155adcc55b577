"""Runs the checks side by side, and tells of each as soon as it is done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred, TimeoutError, gatherResults, maybeDeferred

from portero.doctor.report import Finding, fail

Tell = Callable[[Finding], None]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing to look at."""

    name: str
    within: float
    """Seconds; what takes longer has failed."""
    look: Callable[[], Awaitable[Iterable[Finding]]]


async def run(clock: Any, checks: Sequence[Check], tell: Tell) -> list[Finding]:
    """
    @param tell: Is told of each finding as it comes.
    @return: All of them, in the order of the checks.
    """

    async def one(check: Check) -> list[Finding]:
        found = await _look(clock, check)
        for finding in found:
            tell(finding)
        return found

    done = await gatherResults([Deferred.fromCoroutine(one(check)) for check in checks])
    return [finding for found in done for finding in found]


async def _look(clock: Any, check: Check) -> list[Finding]:
    async def look() -> list[Finding]:
        return list(await check.look())

    try:
        looking = maybeDeferred(look)
        return await looking.addTimeout(check.within, clock)
    except TimeoutError:
        return [
            fail(
                check.name,
                f"not done within {check.within:.0f} s",
                "something hangs: a disk, a name server or Asterisk; try again, and "
                "if it stays so, try these by hand",
            )
        ]
    except Exception as error:  # of any kind: the other checks go on
        return [
            fail(
                check.name,
                f"the check itself broke: {type(error).__name__}: {error}",
                "a mistake in portero: please report it; the other checks count",
            )
        ]
