"""The words of L{portero.why}."""

from __future__ import annotations

from typing import Final

LANGUAGES: Final = ("en", "es")

WORDS: Final[dict[str, tuple[str, str]]] = {
    "head": (
        "Call {id}: {began}, {seconds} s, agent {agent}, from {caller} to {called}.",
        "Llamada {id}: {began}, {seconds} s, agente {agent}, de {caller} a {called}.",
    ),
    "unknown": ("a number unknown", "un número desconocido"),
    "ended": ("It {how}: {why}.", "{how}: {why}."),
    "well": ("ended well", "Terminó bien"),
    "transferred": ("was transferred", "Fue transferida"),
    "failed": ("failed", "Falló"),
    "story": ("What happened", "Qué pasó"),
    "no_story": ("nothing that is still known", "nada que aún se sepa"),
    "left_out": ("... {count} more; --all shows them", "... {count} más; con --all"),
    "measured": ("What was measured", "Qué se midió"),
    "caller": ("Caller: ", "Quien llama: "),
    "agent": ("Agent: ", "Agente: "),
    "no_sound": ("the sound was not measured", "no se midió el sonido"),
    "no_speech": ("no speech", "sin habla"),
    "speech": (
        "{seconds} s of speech at {level} dBFS",
        "{seconds} s de habla a {level} dBFS",
    ),
    "floor": (", noise at {floor} dBFS", ", ruido a {floor} dBFS"),
    "echo": (
        "Echo of the agent: {down} dB down, {ms} ms late",
        "Eco del agente: {down} dB más débil, {ms} ms más tarde",
    ),
    "no_echo": (
        "Echo of the agent: none, in {seconds} s that were compared",
        "Eco del agente: ninguno, en {seconds} s comparados",
    ),
    "line": (
        "Line: {received} frames came, {filled} s never did, jitter {jitter} ms; "
        "{sent} frames left, {late} ms late (99 of 100 less), {skipped} skipped, "
        "{underruns} underruns",
        "Línea: llegaron {received} tramas, {filled} s no llegaron, jitter {jitter} "
        "ms; salieron {sent} tramas, con {late} ms de retraso (99 de 100, menos), "
        "{skipped} omitidas, {underruns} vacíos",
    ),
    "latency": (
        "Answers: after {ms} ms (median)",
        "Respuestas: a los {ms} ms (mediana)",
    ),
    "problems": (
        "What was wrong, the gravest first",
        "Qué estuvo mal, lo más grave primero",
    ),
    "nothing": ("Nothing was wrong.", "Todo estuvo bien."),
}
"""In English and in Spanish."""
