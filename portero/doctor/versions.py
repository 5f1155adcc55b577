"""
What an Asterisk cannot do yet, by its version. Each figure is that of the first release
with the change, found in the source of the releases.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from portero.doctor.asterisk_output import Version
from portero.doctor.report import Finding, fail, ok, skip, warn

CHECK: Final = "asterisk"
OLDEST: Final = 18
"""The first with the application and a channel whose codec can be named."""

Since = Mapping[int, int]
"""By major version the minor one. What is newer than all has it, what is older not."""

HANGS_UP: Final[Since] = {20: 14, 21: 9, 22: 4, 23: 0}
TAKES_PARTS: Final[Since] = {20: 19, 22: 9, 23: 3}
WIDEBAND: Final[Since] = {20: 17, 21: 12, 22: 7, 23: 1}
COMFORT_NOISE: Final[Since] = {20: 20, 22: 10, 23: 4}
NEW_ENOUGH: Final = "20.20, 22.10, 23.4 or newer"


def has(version: Version, since: Since) -> bool:
    major, minor = version
    if major in since:
        return minor >= since[major]
    return major > max(since)


def judge(
    version: Version | None,
    *,
    downlink_rate: int,
    other_machines: bool,
    dials: bool,
    manager: bool,
) -> Iterator[Finding]:
    """
    @param downlink_rate: As configured, in Hz.
    @param other_machines: portero listens for them, so Asterisk may be on one.
    @param dials: The dialplan has C{Dial(AudioSocket/...)}.
    @param manager: C{[ami]} is used.
    """
    if version is None:
        yield skip(
            CHECK, "its version cannot be read", "asterisk -rx 'core show version'"
        )
        return
    name = f"Asterisk {version[0]}.{version[1]}"
    update = f"update Asterisk: {NEW_ENOUGH}"
    if version[0] < OLDEST:
        yield fail(CHECK, f"{name} has no AudioSocket() that portero knows", update)
        return
    found = []
    if not has(version, HANGS_UP):
        said = f"{name} sends no pressed keys"
        if not manager:
            said += ", and does not go on in the dialplan when portero hangs up"
        use = "" if manager else "; or have transfers made by [ami], docs/transfer.rst"
        found.append(warn(CHECK, said, update + use))
    if other_machines and not has(version, TAKES_PARTS):
        said = f"{name} ends a call when the network cuts a frame in two"
        found.append(warn(CHECK, said, f"{update}; or run portero on its machine"))
    if downlink_rate > 8000 and not has(version, WIDEBAND):
        said = f"{name} ends each call at sound of {downlink_rate} Hz"
        take = "take downlink_rate out of [listen], or update Asterisk"
        found.append(fail(CHECK, said, f"{take}: 20.17, 22.7, 23.1 or newer"))
    if dials and not has(version, COMFORT_NOISE):
        said = (
            f"{name} ends a Dial(AudioSocket/...) when a telephone sends comfort noise"
        )
        use = "; or use TryExec(AudioSocket(...))"
        found.append(warn(CHECK, said, update + use))
    yield from found or [ok(CHECK, f"{name} has no trap that is known")]
