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
    "dead_caller": (
        "In {seconds} s, all that came from the caller was digital silence: "
        "packets arrive, but the microphone is muted or dead, or something on the "
        "way (a gateway, a codec that fails) puts silence in. Call that phone from "
        "another one; then look at its microphone and its codecs (pjsip show "
        "channelstats, core show channel).",
        "En {seconds} s, todo lo que llegó de quien llama fue silencio digital: "
        "llegan paquetes, pero el micrófono está silenciado o averiado, o algo en "
        "el camino (una pasarela, un códec que falla) pone silencio. Llame a ese "
        "teléfono desde otro; después mire su micrófono y sus códecs (pjsip show "
        "channelstats, core show channel).",
    ),
    "silent_agent": (
        "The agent was never heard, though the voice service was ready for "
        "{seconds} s. Look for errors of the service in the log, and at the agent's"
        " greeting.",
        "El agente nunca se oyó, aunque el servicio de voz estuvo listo {seconds} "
        "s. Busque errores del servicio en el registro del programa, y mire el "
        "greeting del agente.",
    ),
    "unheard": (
        "The caller spoke for about {seconds} s, at {level} dBFS, and the voice "
        "service took none of it for speech. Make the caller louder before "
        "portero, with Set(VOLUME(RX)=3) or Set(AGC(rx)=8000) in the dialplan, or "
        "lower vad_threshold; and see that no noise_gate is set.",
        "Quien llama habló unos {seconds} s, a {level} dBFS, y el servicio de voz "
        "no lo tomó por habla. Suba su volumen antes de portero, con "
        "Set(VOLUME(RX)=3) o Set(AGC(rx)=8000) en el dialplan, o baje "
        "vad_threshold; y compruebe que no haya noise_gate.",
    ),
    "silent_caller": (
        "Sound of the caller arrived for {seconds} s, but nobody spoke in it: the "
        "microphone was muted, or very quiet. If callers did speak, lower "
        "vad_threshold.",
        "Llegó sonido de quien llama durante {seconds} s, pero nadie hablaba: el "
        "micrófono estaba silenciado o muy bajo. Si sí hablaban, baje "
        "vad_threshold.",
    ),
    "lossy": (
        "The caller's speech had {holes} holes, {ms} ms in all, that begin and end "
        "in the middle of a sound: packets were lost on the way to Asterisk "
        "({missing} s never came). Look at that phone's network (wireless?), and "
        "at the loss that pjsip show channelstats has; what is lost there no "
        "setting brings back.",
        "El habla de quien llama tuvo {holes} cortes, {ms} ms en total, que "
        "empiezan y acaban en mitad de un sonido: se perdieron paquetes antes de "
        "Asterisk ({missing} s no llegaron). Mire la red de ese teléfono "
        "(¿inalámbrica?) y las pérdidas que da pjsip show channelstats; lo que se "
        "pierde ahí no lo recupera ningún ajuste.",
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
    "echo_cut": (
        "The caller seemed to speak over the agent {all} times, and {times} times "
        "it was the agent's own voice, which the line returned {down} dB down and "
        '{ms} ms late: echo at the phone. Try interruption = "polite"; turn the '
        "loudspeaker of that phone down, or its echo canceller on; with "
        'loudspeakers, noise_reduction = "far_field".',
        "Quien llama pareció hablar sobre el agente {all} veces, y {times} veces "
        "era la propia voz del agente, que la línea devolvía {down} dB más débil y "
        '{ms} ms más tarde: eco en el teléfono. Pruebe interruption = "polite"; '
        "baje el altavoz de ese teléfono, o active su cancelador de eco; con "
        'altavoces, noise_reduction = "far_field".',
    ),
    "clipped": (
        "The caller's speech was cut off at full scale in {percent} % of its "
        "samples, which sounds distorted and is badly understood. It is too loud "
        "before it reaches portero: turn the phone's microphone down, or the gain "
        "of the line (rxgain, VOLUME(RX)).",
        "El habla de quien llama llegó recortada a plena escala en el {percent} % "
        "de sus muestras: suena distorsionada y se entiende mal. Llega demasiado "
        "fuerte a portero: baje el micrófono del teléfono o la ganancia de la "
        "línea (rxgain, VOLUME(RX)).",
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
    "quiet": (
        "The caller's speech was at {level} dBFS, where -26 is usual: the service "
        "may miss words. Turn the phone's microphone up, or make the line louder "
        "before portero: Set(VOLUME(RX)=3) or Set(AGC(rx)=8000) in the dialplan.",
        "El habla de quien llama estaba a {level} dBFS, cuando lo normal es -26: "
        "el servicio puede perder palabras. Suba el micrófono del teléfono o el "
        "volumen de la línea antes de portero: Set(VOLUME(RX)=3) o "
        "Set(AGC(rx)=8000) en el dialplan.",
    ),
    "loud": (
        "The caller's speech was at {level} dBFS, where -26 is usual: a little "
        "more, and it is cut off. Turn the phone's microphone down, or the gain of "
        "the line (rxgain, VOLUME(RX)).",
        "El habla de quien llama estaba a {level} dBFS, cuando lo normal es -26: "
        "un poco más y se recorta. Baje el micrófono del teléfono o la ganancia de "
        "la línea (rxgain, VOLUME(RX)).",
    ),
    "echo": (
        "The agent was interrupted {times} times within 2 s of its first word: that"
        ' may be its own echo from the phone. Try interruption = "polite", and '
        'noise_reduction = "far_field" for loudspeakers.',
        "El agente fue interrumpido {times} veces en los 2 s siguientes a su "
        "primera palabra: puede ser su propio eco en el teléfono. Pruebe "
        'interruption = "polite", y noise_reduction = "far_field" con altavoces.',
    ),
    "echo_heard": (
        "The line returned the agent's own voice, {down} dB down and {ms} ms late: "
        "echo at the phone. It interrupted nobody this time; with interruption = "
        '"polite" it would not. Turn the loudspeaker of that phone down, or its echo '
        "canceller on.",
        "La línea devolvía la propia voz del agente, {down} dB más débil y {ms} ms "
        "más tarde: eco en el teléfono. Esta vez no interrumpió a nadie; con "
        'interruption = "polite" no lo haría. Baje el altavoz de ese teléfono, o '
        "active su cancelador de eco.",
    ),
    "hum": (
        "There is a hum of the mains in the caller's sound: {hz} Hz and its "
        "harmonics at {level} dBFS, {percent} % of all the noise. Look for a "
        "ground loop or a power supply that fails, at the phone, its adapter or "
        "the analog line.",
        "En el sonido de quien llama hay un zumbido de la red eléctrica: {hz} Hz y "
        "sus armónicos a {level} dBFS, el {percent} % de todo el ruido. Busque un "
        "bucle de masa o una fuente de alimentación defectuosa en el teléfono, su "
        "adaptador o la línea analógica.",
    ),
    "noisy": (
        "The noise at the caller's was at {floor} dBFS, and the speech only {over} "
        'dB above it. Set noise_reduction = "near_field", or Set(DENOISE(rx)=on) '
        "in the dialplan, before portero; raise vad_threshold if the agent stops "
        "for the noise.",
        "El ruido de quien llama estaba a {floor} dBFS, y el habla solo {over} dB "
        'por encima. Ponga noise_reduction = "near_field", o Set(DENOISE(rx)=on) '
        "en el dialplan, antes de portero; suba vad_threshold si el agente se "
        "calla por el ruido.",
    ),
    "offset": (
        "The caller's sound is shifted by {percent} % of full scale (DC), which "
        "telephones do not do: a converter at the phone, its adapter or the analog "
        "card is faulty. Exchange it; meanwhile let noise_gate be 0, for it would "
        "take the shift for sound.",
        "El sonido de quien llama está desplazado un {percent} % de plena escala "
        "(continua), algo que un teléfono no hace: falla un conversor del "
        "teléfono, de su adaptador o de la tarjeta analógica. Cámbielo; mientras "
        "tanto deje noise_gate en 0, pues tomaría el desplazamiento por sonido.",
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
