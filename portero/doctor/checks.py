"""Which checks there are, and in which order they are told."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from functools import partial
from typing import Any, Final

from portero.doctor import asterisk, configuration, machine, own_call, voice
from portero.doctor.aside import aside
from portero.doctor.command import Options
from portero.doctor.configuration import Installation
from portero.doctor.examine import Check, Tell, run
from portero.doctor.report import Finding, skip
from portero.doctor.where import Places

ASTERISK_WITHIN: Final = 12.0
CALL_WITHIN: Final = 12.0
SERVICE_WITHIN: Final = 14.0
MACHINE_WITHIN: Final = 5.0


async def run_all(reactor: Any, options: Options, tell: Tell) -> list[Finding]:
    """
    @param tell: Is told of each finding as it comes.
    @return: All of them, in the order of the checks.
    """
    wall, steady = time.time(), time.monotonic()
    installation, found = configuration.read(
        reactor, options["config"], options["env"], options.of_service()
    )
    for finding in found:
        tell(finding)
    if installation is None:
        last = skip("the rest", "needs a configuration that can be read")
    else:
        found += await run(reactor, [*_checks(reactor, options, installation)], tell)
        stepped = (time.time() - wall) - (time.monotonic() - steady)
        last = machine.clock(machine.synchronised(), stepped)
    tell(last)
    return [*found, last]


def _checks(
    reactor: Any, options: Options, installation: Installation
) -> Iterator[Check]:
    config = installation.config

    def blocking(
        name: str, within: float, look: Callable[[], Iterable[Finding]]
    ) -> Check:
        def begin() -> Awaitable[Iterable[Finding]]:
            return aside(reactor, lambda: [*look()])

        return Check(name, within, begin)

    yield blocking("machine", MACHINE_WITHIN, partial(machine.examine, config))
    yield blocking(
        "disk",
        MACHINE_WITHIN,
        partial(machine.examine_disks, config, installation.state_folder),
    )
    yield Check("call", CALL_WITHIN, partial(own_call.examine, reactor, config))
    yield blocking("service", MACHINE_WITHIN, partial(voice.demo, config))
    for provider, agents in voice.services(config).items():
        yield Check(
            "service",
            SERVICE_WITHIN,
            partial(
                voice.examine, reactor, config, installation.roster, provider, agents
            ),
        )
    yield blocking(
        "asterisk",
        ASTERISK_WITHIN,
        partial(
            asterisk.examine,
            options.asterisk,
            options["asterisk"] is not None,
            config,
            Places.of(config.listen),
        ),
    )
