"""The words of what L{portero.records.telling} tells."""

from __future__ import annotations

from typing import Final

WORDS: Final[dict[str, tuple[str, str]]] = {
    "ready": (
        "the voice service was ready, after {ms} ms",
        "el servicio de voz estuvo listo, a los {ms} ms",
    ),
    "lost": (
        "the voice service was lost: {why}",
        "se perdió el servicio de voz: {why}",
    ),
    "lost_for_good": (
        "the voice service was lost for good: {why}",
        "se perdió el servicio de voz para siempre: {why}",
    ),
    "caller": ("the caller spoke for {seconds} s", "quien llama habló {seconds} s"),
    "caller_until_end": (
        "the caller spoke, and the call ended",
        "quien llama habló, y la llamada terminó",
    ),
    "caller_said": ('the caller said "{text}"', "quien llama dijo «{text}»"),
    "agent_said": ('the agent said "{text}"', "el agente dijo «{text}»"),
    "agent": ("the agent spoke for {seconds} s", "el agente habló {seconds} s"),
    "agent_cut": (
        "the agent was cut short: of {given} s, {heard} s were heard",
        "el agente fue cortado: de {given} s se oyeron {heard} s",
    ),
    "agent_until_end": (
        "the agent spoke, and the call ended",
        "el agente habló, y la llamada terminó",
    ),
    "sound": ("portero played {name}", "portero hizo sonar {name}"),
    "answer": (
        "{speech}, {ms} ms after the caller",
        "{speech}, {ms} ms después de quien llama",
    ),
    "barge_in": ("the caller interrupted", "quien llama interrumpió"),
    "false_alarm": (
        "a sound of the caller's made the agent pause",
        "un ruido de quien llama hizo callar al agente",
    ),
    "keys": (
        "the caller pressed {times} key(s)",
        "quien llama pulsó {times} tecla(s)",
    ),
    "tool": (
        "the tool {name} did what it was asked, in {ms} ms",
        "la herramienta {name} hizo lo que se le pidió, en {ms} ms",
    ),
    "tool_failed": (
        "the tool {name} did not do what it was asked, in {ms} ms",
        "la herramienta {name} no hizo lo que se le pidió, en {ms} ms",
    ),
    "tool_outlived": (
        "the tool {name} was still running when the call ended",
        "la herramienta {name} seguía en marcha al terminar la llamada",
    ),
    "operator": (
        "{who}: {did} {target}",
        "{who}: {did} {target}",
    ),
    "error": ("something failed in portero: {why}", "algo falló en portero: {why}"),
}
"""In English and in Spanish, with gaps for what happened."""
