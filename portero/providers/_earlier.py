"""What was said before a conversation began. Pure."""

from __future__ import annotations

from dataclasses import replace

from portero.interfaces import Said


class Earlier:
    """
    Told to the service once. What the agent said gets a name there, because it may turn
    out later that the caller did not hear all of it.
    """

    def __init__(self, history: tuple[Said, ...]) -> None:
        self._history = history
        self._told = False
        self._names: dict[str, str] = {}
        """By what the agent said: the name of its item."""

    def tell(self) -> list[tuple[str, Said]]:
        """@return: All of it, each with the name to give it; empty: it needs none."""
        self._told = True
        named = []
        for number, said in enumerate(self._history, 1):
            name = ""
            if said.role == "assistant":
                name = self._names[said.text] = f"told_{number}"
            named.append((name, said))
        return named

    def amend(self, text: str, heard: str) -> str:
        """
        Of this text of the agent's the caller heard only so much.

        @return: The name of the item in which the service was told otherwise; empty:
            there is none, or not any more.
        """
        if not self._told:
            history = [
                replace(said, text=heard) if said.text == text else said
                for said in self._history
            ]
            self._history = tuple(said for said in history if said.text)
        return self._names.pop(text, "")
