"""
The spoken files that come with portero, in English and Spanish.

Made by C{bench/make_prompts.py} from the words here.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from portero.audio import read_wav

FALLBACK = "en"

WORDS: dict[str, dict[str, str]] = {
    "en": {
        "greeting": "Hello, this is portero's demo agent. Say something and I will "
        "repeat it. Press a key and I will name it; press hash to hang up.",
        "goodbye": "Thank you for calling. Goodbye!",
        "listening": "Go on, I am listening.",
        "still_there": "Are you still there?",
        "done": "That is done.",
        "apology": "I am sorry, I cannot continue this call just now. "
        "One moment, please.",
        "moment": "One moment, please.",
        "star": "star",
        "hash": "hash",
        "0": "zero",
        "1": "one",
        "2": "two",
        "3": "three",
        "4": "four",
        "5": "five",
        "6": "six",
        "7": "seven",
        "8": "eight",
        "9": "nine",
    },
    "es": {
        "greeting": "Hola, soy el agente de prueba de portero. Diga algo y lo "
        "repetiré. Pulse una tecla y la nombraré; pulse almohadilla para colgar.",
        "goodbye": "Gracias por llamar. ¡Adiós!",
        "listening": "Siga, le escucho.",
        "still_there": "¿Sigue usted ahí?",
        "done": "Ya está hecho.",
        "apology": "Lo siento, ahora mismo no puedo continuar esta llamada. "
        "Un momento, por favor.",
        "moment": "Un momento, por favor.",
        "star": "asterisco",
        "hash": "almohadilla",
        "0": "cero",
        "1": "uno",
        "2": "dos",
        "3": "tres",
        "4": "cuatro",
        "5": "cinco",
        "6": "seis",
        "7": "siete",
        "8": "ocho",
        "9": "nueve",
    },
}
"""By language and name: what each prompt says."""


@cache
def load(name: str, language: str) -> tuple[int, bytes]:
    """
    Read one prompt; the second time it comes from memory.

    @param name: A name of L{WORDS}.
    @param language: C{en}, C{es}, or a longer tag such as C{es-MX}; English is taken
        for any other.
    @return: The rate in Hz, and the PCM.
    @raise FileNotFoundError: There is no such prompt.
    """
    folder = files(__name__)
    spoken = folder / f"{name}.{language.lower().partition('-')[0]}.wav"
    if not spoken.is_file():
        spoken = folder / f"{name}.{FALLBACK}.wav"
    return read_wav(spoken.read_bytes())
