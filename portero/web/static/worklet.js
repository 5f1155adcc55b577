// Sound between the page and its audio device; all of this runs in the audio thread.

/** Plays s16le PCM at the rate of its context, shortly after it came. */
class Pcm extends AudioWorkletProcessor {
  constructor() {
    super();
    this.skip = 0; // bytes that are no sound
    this.odd = []; // the beginning of a sample that came in two pieces
    this.waiting = []; // of [Int16Array, index of its next sample]
    this.samples = 0;
    this.sounding = false;
    this.ahead = 0.08; // seconds that have to be here before it sounds
    this.port.onmessage = ({ data }) => this.take(new Uint8Array(data));
  }

  take(bytes) {
    const skipped = Math.min(this.skip, bytes.length);
    this.skip -= skipped;
    const all = Uint8Array.from([...this.odd, ...bytes.subarray(skipped)]);
    const whole = all.length - (all.length % 4); // both channels
    this.odd = all.slice(whole);
    this.waiting.push([new Int16Array(all.buffer, 0, whole / 2), 0]);
    this.samples += whole / 2;
    // After a pause of the network, or when two clocks drift: rather skip than lag.
    while (this.samples > sampleRate && this.waiting.length > 1) {
      const [old, next] = this.waiting.shift();
      this.samples -= old.length - next;
    }
  }

  next() {
    while (this.waiting[0][1] === this.waiting[0][0].length) this.waiting.shift();
    return this.waiting[0][0][this.waiting[0][1]++] / 32768;
  }

  process(inputs, [channels]) {
    const wanted = channels[0].length * channels.length;
    if (this.sounding && this.samples < wanted) {
      this.sounding = false;
      this.ahead = Math.min(0.4, this.ahead * 1.5); // this network is not so steady
    }
    this.sounding ||= this.samples >= this.ahead * sampleRate * channels.length;
    if (!this.sounding) return true; // silence
    this.samples -= wanted;
    for (let at = 0; at < channels[0].length; at++)
      for (const channel of channels) channel[at] = this.next();
    return true;
  }
}

/** The same, from a WAV file that is still being written. */
class Wav extends Pcm {
  constructor() {
    super();
    this.skip = 44;
  }
}

/** Gives what the microphone hears as s16le PCM at 24 kHz, 40 ms at a time. */
class Microphone extends AudioWorkletProcessor {
  constructor() {
    super();
    this.step = sampleRate / 24000;
    this.position = 0; // of the next sample for us, in samples of the device
    this.last = 0;
    this.kept = [0, 0, 0, 0];
    this.pcm = new Int16Array(960);
    this.filled = 0;
    // Two poles, twice: what 24 kHz cannot hold must not fold back (RBJ's low pass).
    const angle = 2 * Math.PI * Math.min(0.45, 10500 / sampleRate);
    const cos = Math.cos(angle);
    const alpha = Math.sin(angle) / Math.SQRT2;
    this.filter = [(1 - cos) / 2, -2 * cos, 1 - alpha].map((one) => one / (1 + alpha));
  }

  smooth(value, at) {
    const [gain, first, second] = this.filter;
    const kept = this.kept;
    const inner = value - first * kept[at] - second * kept[at + 1];
    const out = gain * (inner + 2 * kept[at] + kept[at + 1]);
    [kept[at], kept[at + 1]] = [inner, kept[at]];
    return out;
  }

  process([[heard]]) {
    if (!heard) return true; // not connected yet
    for (const sample of heard) {
      const value = this.step > 1 ? this.smooth(this.smooth(sample, 0), 2) : sample;
      for (; this.position <= 1; this.position += this.step)
        this.give(this.last + (value - this.last) * this.position);
      this.position -= 1;
      this.last = value;
    }
    return true;
  }

  give(value) {
    this.pcm[this.filled++] = 32767 * Math.max(-1, Math.min(1, value));
    if (this.filled < this.pcm.length) return;
    this.port.postMessage(this.pcm.buffer, [this.pcm.buffer]);
    this.pcm = new Int16Array(960);
    this.filled = 0;
  }
}

registerProcessor("pcm", Pcm);
registerProcessor("wav", Wav);
registerProcessor("microphone", Microphone);
