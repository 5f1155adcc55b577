"""Secrets: from the environment, a file, or systemd; never from an option."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from portero import textfile
from portero.errors import ConfigError
from portero.sections import ProviderSettings
from portero.settings import Wrong

LARGEST: Final = 65536
"""Bytes of a file with a secret."""

FILES: Final = {
    "OPENAI_API_KEY": ("provider", "api_key_file"),
    "PORTERO_WEB_TOKEN": ("listen", "web_token_file"),
    "PORTERO_AMI_SECRET": ("ami", "secret_file"),
    "PORTERO_MAIL_PASSWORD": ("mail", "password_file"),
    "PORTERO_RECORDS_PASSWORD": ("records", "password_file"),
    "PORTERO_RECORDS_WEBHOOK_SECRET": ("records", "webhook_secret_file"),
}
"""By variable: the section and key of a file with the same."""

ONE_WORD: Final = "a secret is one word of plain letters, digits and signs"


@dataclass(frozen=True, slots=True)
class Secrets:
    """What is sent to others as proof, and is never logged."""

    api_keys: Mapping[str, str] = field(default_factory=dict, repr=False)
    """By the provider's name; that of C{[provider]} has none."""
    web_token: str = field(default="", repr=False)
    ami: str = field(default="", repr=False)
    mail: str = field(default="", repr=False)
    records: str = field(default="", repr=False)
    records_webhook: str = field(default="", repr=False)
    tokens: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Of C{token_file}, by section: C{webhooks.NAME}, C{mcp.NAME}."""

    @property
    def words(self) -> list[str]:
        """All of them."""
        single = self.web_token, self.ami, self.mail
        records = self.records, self.records_webhook
        found = (*self.api_keys.values(), *single, *records, *self.tokens.values())
        return [word for word in found if word]

    @classmethod
    def read(
        cls,
        environ: Mapping[str, str],
        sections: Mapping[str, Any],
        providers: Mapping[str, ProviderSettings],
        own_files: set[str],
        token_files: Mapping[str, str],
        wrong: Wrong,
    ) -> Secrets:
        """
        @param sections: C{provider}, C{listen}, C{ami}, C{mail} and C{records}.
        @param providers: Those that have a name, with what they inherit.
        @param own_files: Which of these name an C{api_key_file} themselves.
        @param token_files: By section, each C{token_file}; may be empty.
        """

        def find(variable: str, credential: str) -> str:
            section, key = FILES[variable]
            file = getattr(sections[section], key)
            return (
                _checked(environ.get(variable, ""), variable, wrong)
                or _of_file(file, FILES[variable], wrong)
                or ("" if file else _of_systemd(environ, credential, wrong))
            )

        first = sections["provider"]
        key = find("OPENAI_API_KEY", "openai_api_key")
        keys = {"": key}
        for name, settings in providers.items():
            if name in own_files:
                place = f"providers.{name}", "api_key_file"
                keys[name] = _of_file(settings.api_key_file, place, wrong)
            else:
                # A key is not shown to another house.
                keys[name] = key if _house(settings) == _house(first) else ""
        return cls(
            {name: key for name, key in keys.items() if key},
            find("PORTERO_WEB_TOKEN", "web_token"),
            find("PORTERO_AMI_SECRET", "ami_secret"),
            find("PORTERO_MAIL_PASSWORD", "mail_password"),
            find("PORTERO_RECORDS_PASSWORD", "records_password"),
            find("PORTERO_RECORDS_WEBHOOK_SECRET", "records_webhook_secret"),
            {
                section: _of_file(file, (section, "token_file"), wrong)
                for section, file in token_files.items()
            },
        )


def _house(settings: ProviderSettings) -> tuple[str | None, int | None]:
    parts = urlsplit(settings.url)
    return parts.hostname, parts.port


def _of_file(file: str, setting: tuple[str, str], wrong: Wrong) -> str:
    """What is said quotes no name of a file, as it may be the secret itself."""
    if not file:
        return ""
    try:
        found = textfile.read(file, LARGEST).strip()
    except ConfigError as error:
        wrong.of(*setting, f"names a file that cannot be read: {error}")
        return ""
    if not found:
        wrong.of(*setting, "names a file that is empty")
    elif not _is_word(found):
        wrong.of(*setting, f"names a file with something else: {ONE_WORD}")
    return found


def _of_systemd(environ: Mapping[str, str], name: str, wrong: Wrong) -> str:
    folder = environ.get("CREDENTIALS_DIRECTORY", "")
    if not folder:
        return ""
    path = Path(folder, name)
    try:
        if not path.exists():
            return ""
        found = textfile.read(path, LARGEST)
    except (ConfigError, OSError, ValueError) as error:
        wrong.say(str(path), str(error))
        return ""
    return _checked(found, str(path), wrong)


def _checked(text: str, place: str, wrong: Wrong) -> str:
    found = text.strip()
    if found and not _is_word(found):
        wrong.say(place, ONE_WORD)
        return ""
    return found


def _is_word(text: str) -> bool:
    """It goes into a header, so a line break in it would begin another."""
    return text.isascii() and text.isprintable() and " " not in text
