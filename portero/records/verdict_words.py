"""The words of what L{portero.records.verdict} finds."""

from __future__ import annotations

from typing import Final

WORDS: Final[dict[str, tuple[str, str]]] = {
    "broken": (
        "Something failed in portero itself ({why}). The log has the details at "
        "call {id}: please report them.",
        "Algo falló en el propio portero ({why}). El registro del programa tiene "
        "los detalles en la llamada {id}: por favor, comuníquelos.",
    ),
    "not_reached": (
        "The voice service was never ready: {why}. Look at /readyz, and at the "
        "network and the key of [provider].",
        "El servicio de voz nunca estuvo listo: {why}. Mire /readyz, la red y la "
        "clave de [provider].",
    ),
    "lost": (
        "The connection to the voice service was lost; in this call {times} in all,"
        " first because: {why}. If it happens in many calls, look at the network, "
        "at proxies and firewalls, and at the service's own status page.",
        "Se perdió la conexión con el servicio de voz; en esta llamada, {times} en "
        "total; la primera, por: {why}. Si ocurre en muchas llamadas, mire la red, "
        "los proxies y cortafuegos, y la página de estado del servicio.",
    ),
    "not_heard": (
        "Nothing of the caller arrived in {seconds} s. The sound of the phone does "
        "not reach Asterisk: look at NAT and firewall (external_media_address, "
        "rtp_symmetric, direct_media = no); rtp set debug on shows whether packets "
        "come.",
        "En {seconds} s no llegó nada de quien llama. El sonido del teléfono no "
        "llega a Asterisk: mire NAT y cortafuegos (external_media_address, "
        "rtp_symmetric, direct_media = no); rtp set debug on muestra si llegan "
        "paquetes.",
    ),
    "silent_agent": (
        "The agent was never heard, though the voice service was ready for "
        "{seconds} s. Look for errors of the service in the log, and at the agent's"
        " greeting.",
        "El agente nunca se oyó, aunque el servicio de voz estuvo listo {seconds} "
        "s. Busque errores del servicio en el registro del programa, y mire el "
        "greeting del agente.",
    ),
    "silent_caller": (
        "Sound of the caller arrived for {seconds} s, but nobody spoke in it: the "
        "microphone was muted, or very quiet. If callers did speak, lower "
        "vad_threshold.",
        "Llegó sonido de quien llama durante {seconds} s, pero nadie hablaba: el "
        "micrófono estaba silenciado o muy bajo. Si sí hablaban, baje "
        "vad_threshold.",
    ),
    "missing": (
        "Of {seconds} s, {missing} s of the caller's sound never came, and silence "
        "stood in. A phone that is muted, or sends nothing in silence, does that; "
        "else packets are lost on the way to Asterisk (pjsip show channelstats).",
        "De {seconds} s, {missing} s del sonido de quien llama no llegaron, y hubo "
        "silencio en su lugar. Lo hace un teléfono silenciado o que no envía nada "
        "en los silencios; si no, se pierden paquetes antes de Asterisk (pjsip show"
        " channelstats).",
    ),
    "uneven": (
        "The caller's sound came unevenly, by {ms} ms. Look at the phone's network "
        "(wireless?); Set(JITTERBUFFER(adaptive)=default) in the dialplan, before "
        "portero, evens it out.",
        "El sonido de quien llama llegó desigual, en {ms} ms. Mire la red del "
        "teléfono (¿inalámbrica?); Set(JITTERBUFFER(adaptive)=default) en el "
        "dialplan, antes de portero, lo iguala.",
    ),
    "odd_sound": (
        "Asterisk sent what is no sound that portero can take ({what}). The log "
        "says what it was, the first time in the call.",
        "Asterisk envió algo que no es sonido que portero pueda usar ({what}). El "
        "registro del programa dice qué era, la primera vez en la llamada.",
    ),
    "stood_still": (
        "portero stood still for {ms} ms in all, which callers hear as gaps. The "
        "machine is too busy or was suspended: look at its load and memory, and at "
        "max_calls.",
        "portero estuvo parado {ms} ms en total, que se oyen como cortes. La "
        "máquina está demasiado ocupada o fue suspendida: mire su carga y memoria, "
        "y max_calls.",
    ),
    "late": (
        "One frame in a hundred left {ms} ms late or more: the machine is busy. "
        "Look at its load, and at max_calls.",
        "Una de cada cien tramas salió con {ms} ms de retraso o más: la máquina "
        "está ocupada. Mire su carga, y max_calls.",
    ),
    "ran_dry": (
        "The agent's speech ran dry {times} times in the middle: the voice service "
        "sent it more slowly than it is spoken. Look at the network to the service;"
        " [listen] prebuffer_frames = 10 lets more of it gather first.",
        "La voz del agente se quedó sin sonido {times} veces a mitad de frase: el "
        "servicio de voz la envió más despacio de lo que se habla. Mire la red "
        "hacia el servicio; con [listen] prebuffer_frames = 10 se acumula más antes"
        " de sonar.",
    ),
    "slow_to_connect": (
        "The voice service took {seconds} s to be ready. Look at the network to it,"
        " and at name resolution; a greeting_file is heard meanwhile.",
        "El servicio de voz tardó {seconds} s en estar listo. Mire la red hacia él "
        "y la resolución de nombres; un greeting_file se oye mientras tanto.",
    ),
    "slow_service": (
        "The voice service began to answer after {seconds} s (median of {turns} "
        "turns). A smaller model, shorter instructions, less reasoning_effort and "
        "fewer tools are faster.",
        "El servicio de voz empezó a responder a los {seconds} s (mediana de "
        "{turns} turnos). Un modelo más pequeño, instrucciones más cortas, menos "
        "reasoning_effort y menos herramientas son más rápidos.",
    ),
    "held_back": (
        "portero held each answer for {ms} ms (median) before it sounded, to have "
        "enough of it. The service sends unevenly, or [listen] prebuffer_frames is "
        "high.",
        "portero retuvo cada respuesta {ms} ms (mediana) antes de que sonara, para "
        "tener bastante. El servicio envía de forma desigual, o [listen] "
        "prebuffer_frames es alto.",
    ),
    "echo": (
        "The agent was interrupted {times} times within 2 s of its first word: that"
        ' may be its own echo from the phone. Try interruption = "polite", and '
        'noise_reduction = "far_field" for loudspeakers.',
        "El agente fue interrumpido {times} veces en los 2 s siguientes a su "
        "primera palabra: puede ser su propio eco en el teléfono. Pruebe "
        'interruption = "polite", y noise_reduction = "far_field" con altavoces.',
    ),
    "noise": (
        "Sounds of the caller's that were no speech made the agent pause {times} "
        "times. For noisy callers raise vad_threshold, or set noise_reduction = "
        '"near_field".',
        "Ruidos de quien llama que no eran habla hicieron callar al agente {times} "
        "veces. Con llamadas ruidosas, suba vad_threshold o ponga noise_reduction ="
        ' "near_field".',
    ),
    "slow_tool": (
        "The tool {name} took {seconds} s, and the caller waited. Look at the "
        "server that it asks.",
        "La herramienta {name} tardó {seconds} s, y quien llama esperó. Mire el "
        "servidor al que pregunta.",
    ),
    "failing_tool": (
        "The tool {name} did not do what it was asked {times} times. The log "
        "portero.audit has the reason of each.",
        "La herramienta {name} no hizo lo que se le pidió {times} veces. El "
        "registro portero.audit tiene el motivo de cada una.",
    ),
}
"""Of each rule: in English and in Spanish, with gaps for what was measured."""
