"""Asks a running Asterisk through its command line, C{asterisk -rx}."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from portero.config import Config
from portero.doctor import asterisk_output as output
from portero.doctor import asterisk_parts as parts
from portero.doctor import versions
from portero.doctor.dialplan import Plan
from portero.doctor.report import Finding, fail, ok, skip
from portero.doctor.where import Places
from portero.sections import check_target, is_loopback

COMMAND: Final = "asterisk"
ANSWERS_WITHIN: Final = 8.0
"""Seconds; showing a dialplan of 20,000 lines takes one."""

Console = Callable[[str], str]
"""Takes a line of Asterisk's command line, gives what it prints."""


class NoAnswer(Exception):
    """Asterisk cannot be asked; the message says why."""


def console(command: Sequence[str]) -> Console:
    """@param command: Runs Asterisk, in words."""
    over_there = os.path.basename(command[0]) == "ssh"

    def ask(line: str) -> str:
        if over_there:  # where a shell takes its words apart once more
            line = shlex.quote(line)
        try:
            done = subprocess.run(
                [*command, "-rx", line],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=ANSWERS_WITHIN,
                check=False,
                env={**os.environ, "LC_ALL": "C"},
            )
        except subprocess.TimeoutExpired:
            raise NoAnswer(f"says nothing for {ANSWERS_WITHIN:.0f} s") from None
        except OSError as error:
            raise NoAnswer(f"cannot be started: {error.strerror}") from None
        said = done.stdout.decode("utf-8", "replace")
        told = done.stderr.decode("utf-8", "replace").strip()
        if "Unable to connect to remote asterisk" in said + told:
            raise NoAnswer("finds no Asterisk that runs, or may not ask it")
        if done.returncode and not said:
            raise NoAnswer(told.splitlines()[-1] if told else "fails without a word")
        return said

    return ask


def examine(
    command: Sequence[str], given: bool, config: Config, places: Places
) -> Iterator[Finding]:
    """
    Blocks for as long as Asterisk takes.

    @param command: Runs Asterisk, in words.
    @param given: It was named, and so has to be there.
    """
    if shutil.which(command[0]) is None and not given:
        yield skip(
            "asterisk",
            "no asterisk command here; the dialplan was not looked at",
            "on its machine run portero doctor, or name the command: --asterisk "
            "'ssh pbx asterisk'",
        )
        return
    try:
        yield from of_console(console(command), config, places)
    except NoAnswer as error:
        yield fail(
            "asterisk",
            f"{' '.join(command)} {error}",
            "is Asterisk running (systemctl status asterisk)? Only root and its own "
            "user may ask it: try sudo portero doctor, or --asterisk 'sudo asterisk'",
        )


def of_console(ask: Console, config: Config, places: Places) -> Iterator[Finding]:
    """@raise NoAnswer: Asterisk does not answer (any more)."""
    version = output.version(ask("core show version"))
    dialplan = output.Dialplan.read(ask("dialplan show"))
    variables = output.variables(ask("dialplan show globals"))
    plan = Plan(dialplan, variables)
    yield from versions.judge(
        version,
        downlink_rate=config.listen.downlink_rate,
        other_machines=places.calls is not None
        and not is_loopback(places.calls.interface),
        dials=any(route.dials for route in plan.routes),
        manager=bool(config.ami.host),
    )
    yield from parts.judge_modules(plan, output.modules(ask("module show")))
    yield from plan.judge(places.calls)
    yield from parts.judge_status(plan, places.web, places.agi)
    if plan.shipped:
        for place in plan.values("PORTERO_FALLBACK"):
            yield _place(ask, place)
        token = variables.get("PORTERO_TOKEN", "")
        token += output.database_value(ask("database get portero token"))
        yield parts.judge_token(token, config.secrets.web_token)
    yield from parts.judge_translations(
        plan,
        output.translations(ask("core show translation")),
        config.listen.downlink_rate,
    )


def _place(ask: Console, place: str) -> Finding:
    """Whether a place of the dialplan is there, of which Asterisk knows best."""
    set_it = (
        "set PORTERO_FALLBACK in the dialplan to the context,extension,priority of "
        "somebody who answers"
    )
    problem = check_target(place)
    if problem:
        return fail("fallback", f"PORTERO_FALLBACK is {place}, which {problem}", set_it)
    context, extension, priority = place.split(",")
    shown = ask(f"dialplan show {extension}@{context}")
    if output.Dialplan.read(shown).has_priority(priority):
        return ok("fallback", f"{place} is there, for what portero cannot take")
    if "Switch =>" in shown:
        return skip("fallback", f"{place} is left to a switch, which cannot be asked")
    return fail(
        "fallback",
        f"{place} is not in the dialplan: the calls that portero cannot take are hung "
        "up",
        set_it,
    )
