/* Both far ends of a bridge on loopback: N telephone calls as Asterisk's
 * AudioSocket makes them, and the voice service they are bridged to.
 *
 * One thread, epoll, one timerfd. Prints one JSON object on stdout; on stderr
 * "window begin" and "window end", so that whoever started it can take the
 * bridge's CPU time over exactly the measured window.
 *
 * A call: the 19-byte UUID frame, then 320 bytes of 8 kHz PCM every 20 ms on a
 * fixed grid; phases of the calls are spread over the 20 ms by the golden ratio.
 * Calls are started one after the other, each only when the conversation of the
 * call before has arrived: so it is known which conversation is whose.
 *
 * A cycle of 8 s, entered by every call at a different point:
 *   0.00  speech_started       (the caller's audio is speech from 0 to 5 s)
 *   2.40  speech_stopped, committed, the caller's item
 *   2.45  response.created ... deltas of 200 ms, 4 to 8 times real time
 *   7.5   about here the reply (5 s) has been played out
 * Barge-ins (every K-th turn) send speech_started while the reply sounds; first
 * 1.6 s after its first delta (generation is over, only the bridge's queue
 * sounds), the next time after 0.5 s (still generating: one late delta follows,
 * as the real service may send it, then response.done cancelled), and so on;
 * calls with an odd number the other way round.
 *
 * A frame's time of arrival is the kernel's (SO_TIMESTAMPNS, one frame for each
 * recv), so that this program's own delays are not charged to the bridge;
 * --stamp recv takes CLOCK_MONOTONIC after recv instead. own_lateness_ms says how
 * late this program was with its own frames.
 *
 * The reply is a chirp, so that a frame tells its place in the item. Through
 * G.711 every frame is compared bit by bit; through PCM 24 kHz the chirp is
 * fitted to the frame at the place it should have: "broken" is a remainder
 * above -40 dB or a level off by 5 %. First and last frames of a PCM reply are
 * exempt from that (a filter has a delay), but not from being counted.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define MS 1000000LL
#define SEC 1000000000LL
#define FRAME 160                       /* samples in 20 ms at 8 kHz */
#define CYCLE (8 * SEC)
#define STOPPED (2400 * MS)
#define REPLY (2450 * MS)
#define BARGE_PLAYING (1600 * MS)
#define BARGE_GENERATING (500 * MS)
#define VARIANTS 4
#define AMPLITUDE 8000.0
#define SILENT 200                      /* peak below this: a frame of silence */
#define NEVER INT64_MAX

typedef int64_t ns;
enum { PCMU, PCM };
static const char *FORMAT_NAME[] = {"pcmu", "pcm"};

/* ---------------------------------------------------------------- options */

static struct {
    int calls, service_port, format, barge_every, stamp_recv;
    double seconds, ramp_ms, grace, reply;
    char host[256], port[16];
} opt = {.calls = 10, .format = PCMU, .barge_every = 0, .seconds = 16,
         .ramp_ms = 20, .grace = 8, .reply = 5};

static void die(const char *what) { perror(what); exit(1); }

static ns now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * SEC + t.tv_nsec;
}

/* -------------------------------------------------------------- samples of figures */

typedef struct { float *v; size_t n, cap; } Figures;

static void put(Figures *f, double v) {
    if (f->n == f->cap) {
        f->cap = f->cap ? 2 * f->cap : 1024;
        if (!(f->v = realloc(f->v, f->cap * sizeof *f->v))) die("realloc");
    }
    f->v[f->n++] = v;
}
static int by_value(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}
static void print_figures(const char *name, Figures *f) {
    qsort(f->v, f->n, sizeof *f->v, by_value);
    if (!f->n) { printf(", \"%s\": null", name); return; }
    printf(", \"%s\": {\"n\": %zu, \"p50\": %.3f, \"p99\": %.3f, \"max\": %.3f}", name,
           f->n, f->v[f->n / 2], f->v[(size_t)((f->n - 1) * 0.99)], f->v[f->n - 1]);
}

/* ------------------------------------------------------------ SHA-1, base64, G.711 */

static uint32_t rol(uint32_t x, int n) { return x << n | x >> (32 - n); }

static void sha1(const char *text, uint8_t out[20]) {
    uint8_t block[256] = {0};
    size_t n = strlen(text), total = (n + 8) / 64 * 64 + 64;
    uint32_t h[5] = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0};
    if (total > sizeof block) { memset(out, 0, 20); return; }
    memcpy(block, text, n);
    block[n] = 0x80;
    for (int i = 0; i < 8; i++) block[total - 1 - i] = (uint64_t)n * 8 >> (8 * i);
    for (size_t at = 0; at < total; at += 64) {
        uint32_t w[80], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
        for (int i = 0; i < 16; i++)
            w[i] = (uint32_t)block[at + 4 * i] << 24 | block[at + 4 * i + 1] << 16 |
                   block[at + 4 * i + 2] << 8 | block[at + 4 * i + 3];
        for (int i = 16; i < 80; i++)
            w[i] = rol(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
        for (int i = 0; i < 80; i++) {
            uint32_t f, k;
            if (i < 20) f = (b & c) | (~b & d), k = 0x5A827999;
            else if (i < 40) f = b ^ c ^ d, k = 0x6ED9EBA1;
            else if (i < 60) f = (b & c) | (b & d) | (c & d), k = 0x8F1BBCDC;
            else f = b ^ c ^ d, k = 0xCA62C1D6;
            uint32_t t = rol(a, 5) + f + e + k + w[i];
            e = d, d = c, c = rol(b, 30), b = a, a = t;
        }
        h[0] += a, h[1] += b, h[2] += c, h[3] += d, h[4] += e;
    }
    for (int i = 0; i < 20; i++) out[i] = h[i / 4] >> (24 - 8 * (i % 4));
}

static size_t base64(const uint8_t *in, size_t n, char *out) {
    static const char A[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *o = out;
    for (size_t i = 0; i < n; i += 3) {
        uint32_t v = in[i] << 16 | (i + 1 < n ? in[i + 1] << 8 : 0) |
                     (i + 2 < n ? in[i + 2] : 0);
        *o++ = A[v >> 18], *o++ = A[v >> 12 & 63];
        *o++ = i + 1 < n ? A[v >> 6 & 63] : '=';
        *o++ = i + 2 < n ? A[v & 63] : '=';
    }
    return o - out;
}

static int16_t ulaw_decode(uint8_t u) {         /* ITU-T G.711, table 2a */
    u = ~u;
    int v = (((u & 15) << 3) + 0x84) << ((u & 0x70) >> 4);
    return u & 0x80 ? 0x84 - v : v - 0x84;
}
static uint8_t ulaw_encode(int v) {
    int sign = v < 0 ? 0x80 : 0, e = 7;
    v = (v < 0 ? -v : v) + 0x84;
    if (v > 0x7FFF) v = 0x7FFF;
    while (e > 0 && !(v & (0x80 << e))) e--;
    return ~(sign | e << 4 | ((v >> (e + 3)) & 15));
}

/* -------------------------------------------------------------- what is heard: signals */

/* The reply in four variants, so that two items in a row differ: a chirp up or
 * down. sine/cosine at 8 kHz are for fitting; linear is the G.711 reply as a
 * bridge must play it; delta holds the base64 of each 200 ms of either format. */
static struct {
    float *sine, *cosine;
    int16_t *linear;
    double from, to;
    char **delta[2];
    size_t *delta_len[2];
} reply[VARIANTS];
static int reply_len, reply_deltas;             /* in 8 kHz samples; in 200 ms */
#define PAD 4800                                /* a fit may look past the ends */

static double chirp_phase(int v, double n) {    /* n in 8 kHz samples */
    double t = n / 8000, T = reply_len / 8000.0;
    return 2 * M_PI * (reply[v].from * t + (reply[v].to - reply[v].from) * t * t / (2 * T));
}
static double chirp_hz(int v, double n) {
    return reply[v].from + (reply[v].to - reply[v].from) * n / reply_len;
}

static void make_replies(void) {
    static const double range[VARIANTS][2] = {
        {400, 2800}, {2800, 400}, {600, 2600}, {2600, 600}};
    reply_deltas = (int)(opt.reply * 5 + 0.5);
    reply_len = reply_deltas * 1600;
    uint8_t raw[9600];
    for (int v = 0; v < VARIANTS; v++) {
        reply[v].from = range[v][0], reply[v].to = range[v][1];
        reply[v].sine = (float *)calloc(reply_len + 2 * PAD, sizeof(float)) + PAD;
        reply[v].cosine = (float *)calloc(reply_len + 2 * PAD, sizeof(float)) + PAD;
        reply[v].linear = (int16_t *)calloc(reply_len + 2 * PAD, 2) + PAD;
        uint8_t *law = malloc(reply_len);
        int16_t *wide = malloc(reply_len * 6);
        for (int n = -PAD; n < reply_len + PAD; n++) {
            double p = chirp_phase(v, n);
            reply[v].sine[n] = sin(p), reply[v].cosine[n] = cos(p);
        }
        for (int n = 0; n < reply_len; n++) {
            law[n] = ulaw_encode(lrint(AMPLITUDE * sin(chirp_phase(v, n))));
            reply[v].linear[n] = ulaw_decode(law[n]);
        }
        for (int n = 0; n < reply_len * 3; n++)
            wide[n] = lrint(AMPLITUDE * sin(chirp_phase(v, n / 3.0)));
        for (int f = 0; f < 2; f++) {
            reply[v].delta[f] = calloc(reply_deltas, sizeof(char *));
            reply[v].delta_len[f] = calloc(reply_deltas, sizeof(size_t));
            for (int d = 0; d < reply_deltas; d++) {
                size_t n = f == PCMU ? 1600 : 9600;
                memcpy(raw, f == PCMU ? (void *)(law + d * 1600) : (void *)(wide + d * 4800), n);
                char *text = malloc(n * 4 / 3 + 16);
                size_t len = base64(raw, n, text);
                memcpy(text + len, "\"}", 2);
                reply[v].delta[f][d] = text;
                reply[v].delta_len[f][d] = len + 2;
            }
        }
        free(law), free(wide);
    }
}

/* Speech-like audio, 5 s: harmonics of a wandering pitch, syllables at 4 Hz. */
#define SPEECH_FRAMES 250
static uint8_t speech[SPEECH_FRAMES][323], silence[323];

static void make_speech(void) {
    double pitch = 0;
    for (int f = 0; f < SPEECH_FRAMES; f++) {
        memcpy(speech[f], "\x10\x01\x40", 3);
        for (int i = 0; i < FRAME; i++) {
            double t = (f * FRAME + i) / 8000.0, x = 0;
            pitch += 2 * M_PI * (120 + 25 * sin(2 * M_PI * 0.7 * t)) / 8000;
            for (int h = 1; h <= 20; h++) {
                double hz = 120.0 * h, formant = 400 + 300 * sin(2 * M_PI * 1.3 * t);
                x += sin(h * pitch) * (exp(-pow((hz - formant) / 200, 2)) +
                                       0.4 * exp(-pow((hz - 1700) / 300, 2)) + 0.05);
            }
            x *= 2500 * (0.55 - 0.45 * cos(2 * M_PI * 4 * t));
            int16_t s = x > 32767 ? 32767 : x < -32768 ? -32768 : lrint(x);
            memcpy(speech[f] + 3 + 2 * i, &s, 2);
        }
    }
    memcpy(silence, "\x10\x01\x40", 3);
}

/* ------------------------------------------------------------------------- state */

typedef struct Conversation Conversation;
enum { QUIET, SOUNDING, CUT };

typedef struct {                        /* one reply, as written and as heard */
    int number, variant, len, format;   /* len in 8 kHz samples */
    ns first_delta, stopped;            /* when written; stopped 0 for a greeting */
} Item;

typedef struct {
    int kind;                           /* first member of everything in epoll */
    int index, fd, connected, ended;
    ns phase, began;
    uint8_t rest[330], in[4096];
    int rest_len, in_len;
    int64_t sent;                       /* frames */
    Conversation *talk;
    /* arrivals within the window */
    ns *arrival;
    int arrivals, arrivals_cap;
    /* the reply being heard */
    int state, locked, pending_silence, heard;
    double place, delay;                /* next frame's place in the item, samples */
    Item item, next;
    int has_next;
    /* a barge-in being watched */
    ns cut_at, cut_last;
    int cut_kind, cut_tail, cut_sound, cut_truncated, cut_item;
    int cut_heard;                      /* samples of the item, in all */
    /* at the beginning of the window */
    int64_t sent_0, received_0;
    double expected, got;               /* seconds of caller's audio in the window */
} Call;

struct Conversation {
    int kind;
    int fd, open, format_in, format_out, heap_at, want_out, listed;
    Call *call;
    char *in, *out;
    size_t in_len, in_cap, out_len, out_cap;
    int64_t received;                   /* bytes of caller's audio, decoded */
    ns due, turn_at, delta_at, barge_at, origin;
    int turn_step, turns, barges, interrupted, items, events;
    int delta, deltas, variant;
    ns delta_every;
};

enum { K_TIMER, K_LISTEN, K_CALL, K_TALK };
static int ep, timer_fd, listen_fd;
static int K_timer = K_TIMER, K_listen = K_LISTEN;
static Call *calls;
static int *ring;                       /* calls in order of their phase */
static Conversation **talks;
static int talks_n, ready, to_start, open_talks;
static int measuring, ended_early;
static int64_t stamped;                 /* recvs with a time from the kernel */
static ns window_begin, window_end;

static struct {
    int64_t sent, received, bad_frames, hangups, blocked, lost, repeated, broken,
        silence_inside, stray, replies, reply_frames, truncate_missing,
        truncate_unknown, refused, reconnects, reconnect_failed, format_mismatch,
        errors, late_cuts;
    Figures lateness, latency, latency_delta, tail_frames, tail_ms, tail_frames_gen,
        tail_ms_gen,
        tail_sound, tail_sound_gen, truncate_error;
} sum;

static void count(int64_t *what, int64_t n) { if (measuring) *what += n; }
static void note(Figures *f, double v) { if (measuring) put(f, v); }

/* ---------------------------------------------------------- heap of conversations */

static Conversation **heap;
static int heap_n, heap_cap;

static void heap_set(int i, Conversation *t) { heap[i] = t; t->heap_at = i; }
static void heap_fix(Conversation *t) {
    int i = t->heap_at;
    while (i && heap[(i - 1) / 2]->due > t->due) heap_set(i, heap[(i - 1) / 2]), i = (i - 1) / 2;
    for (;;) {
        int c = 2 * i + 1;
        if (c >= heap_n) break;
        if (c + 1 < heap_n && heap[c + 1]->due < heap[c]->due) c++;
        if (heap[c]->due >= t->due) break;
        heap_set(i, heap[c]);
        i = c;
    }
    heap_set(i, t);
}
static void heap_add(Conversation *t) {
    if (heap_n == heap_cap) {
        heap_cap = heap_cap ? 2 * heap_cap : 256;
        heap = realloc(heap, heap_cap * sizeof *heap);
    }
    heap_set(heap_n++, t);
    heap_fix(t);
}
static void heap_remove(Conversation *t) {
    Conversation *last = heap[--heap_n];
    if (last == t) return;
    heap_set(t->heap_at, last);
    heap_fix(last);
}
static void schedule(Conversation *t) {
    ns due = t->turn_at < t->delta_at ? t->turn_at : t->delta_at;
    t->due = due < t->barge_at ? due : t->barge_at;
    heap_fix(t);
}

/* --------------------------------------------------------- checking what is heard */

typedef struct { double remainder, level, shift; } Fit;

/* Fit item's chirp to a frame thought to begin at (whole) place n. shift: how
 * many samples later than n the frame really begins, within half a period. */
static Fit fit(const float *x, int v, int n) {
    float xs = 0, xc = 0, ss = 0, cc = 0, sc = 0, xx = 0;
    const float *s = reply[v].sine + n, *c = reply[v].cosine + n;
    for (int i = 0; i < FRAME; i++) {
        xs += x[i] * s[i], xc += x[i] * c[i], xx += x[i] * x[i];
        ss += s[i] * s[i], cc += c[i] * c[i], sc += s[i] * c[i];
    }
    double det = (double)ss * cc - (double)sc * sc;
    double a = (cc * (double)xs - sc * (double)xc) / det;
    double b = (ss * (double)xc - sc * (double)xs) / det;
    double hz = chirp_hz(v, n + FRAME / 2);
    double left = xx - a * xs - b * xc;
    return (Fit){.remainder = (left > 0 ? left : 0) / (xx + 1), .level = hypot(a, b),
                 .shift = atan2(b, a) * 8000 / (2 * M_PI * hz)};
}

static int inside(Item *it, double place) { return place > -PAD + FRAME && place < it->len + PAD - FRAME * 2; }

/* Is this frame the one at place? 0 no, 1 recognised but damaged, 2 clean. */
static int is_at(Call *k, const int16_t *pcm, const float *x, double place, double *found) {
    Item *it = &k->item;
    int n = lrint(place);
    if (!inside(it, place)) return 0;
    if (it->format == PCMU && n >= 0 && n + FRAME <= it->len &&
        !memcmp(pcm, reply[it->variant].linear + n, 2 * FRAME)) {
        *found = n;
        return 2;
    }
    Fit f = fit(x, it->variant, n);
    double off = n + f.shift - place;
    if (f.remainder > 0.05 || fabs(off) > 1) return 0;
    *found = place + off;
    if (it->format == PCMU) return 1;
    return f.remainder < 1e-4 && fabs(f.level / AMPLITUDE - 1) < 0.05 ? 2 : 1;
}

static int look_for(Call *k, const int16_t *pcm, const float *x, double from, double to,
                    double *found) {
    double best = 0.05, at = 0;
    if (k->item.format == PCMU)         /* nothing but the very same samples will do */
        for (int n = from < 0 ? 0 : from; n <= to && n + FRAME <= k->item.len; n++)
            if (!memcmp(pcm, reply[k->item.variant].linear + n, 2 * FRAME)) {
                *found = n;
                return 2;
            }
    for (double p = from; p <= to; p += 2) {
        if (!inside(&k->item, p)) continue;
        Fit f = fit(x, k->item.variant, lrint(p));
        if (f.remainder < best && fabs(f.shift) < 6)
            best = f.remainder, at = lrint(p) + f.shift;
    }
    return best < 0.05 ? is_at(k, pcm, x, at, found) : 0;
}

/* How many whole frames too late (lost) or too early (repeated) it is; 0 unknown. */
static int whole_frames(Call *k, const int16_t *pcm, const float *x, int need, double *found) {
    for (int m = 1; m <= 50; m++) {
        if (is_at(k, pcm, x, k->place + m * FRAME, found) >= need) return m;
        if (is_at(k, pcm, x, k->place - m * FRAME, found) >= need) return -m;
    }
    return 0;
}

static void reply_over(Call *k) {
    if (k->state == SOUNDING) {
        int missing = lrint((k->item.len - k->place) / FRAME);
        if (missing > 0 && k->locked) count(&sum.lost, missing);
        count(&sum.replies, 1);
        k->state = QUIET;
    }
}

static void cut_settled(Call *k) {
    if (!k->cut_at) return;
    int gen = k->cut_kind;
    note(gen ? &sum.tail_frames_gen : &sum.tail_frames, k->cut_tail);
    note(gen ? &sum.tail_ms_gen : &sum.tail_ms,
         k->cut_tail ? (k->cut_last - k->cut_at) / 1e6 : 0);
    note(gen ? &sum.tail_sound_gen : &sum.tail_sound, k->cut_sound / 8.0);
    if (k->cut_truncated < 0) count(&sum.truncate_missing, 1);
    else note(&sum.truncate_error, fabs(k->cut_truncated - k->cut_heard / 8.0));
    k->cut_at = 0;
    if (k->state == CUT) k->state = QUIET;
}

static void check_frame(Call *k, const int16_t *pcm, ns t) {
    int peak = 0;
    for (int i = 0; i < FRAME; i++) {
        int a = pcm[i] < 0 ? -pcm[i] : pcm[i];
        peak = a > peak ? a : peak;
    }
    int silent = peak < SILENT;
    if (k->state == CUT) {
        if (silent) return;
        int last = FRAME - 1;           /* a fade ends within the frame */
        while (pcm[last] < SILENT && pcm[last] > -SILENT) last--;
        k->cut_heard += last + 1;
        if (t <= k->cut_at) return;     /* it was on its way already */
        k->cut_tail++, k->cut_last = t;
        k->cut_sound += last + 1;
        return;
    }
    if (silent) {
        if (k->state != SOUNDING) return;
        if (k->locked && k->place > k->item.len - FRAME) reply_over(k);
        else if (++k->pending_silence > 100) k->pending_silence = 0, reply_over(k);
        return;
    }
    if (k->state == SOUNDING && k->locked && k->place >= k->item.len - 8) reply_over(k);
    if (k->state == QUIET) {
        if (!k->has_next) { count(&sum.stray, 1); return; }
        k->item = k->next, k->has_next = 0;
        k->state = SOUNDING, k->locked = 0, k->heard = 0, k->pending_silence = 0;
        k->place = -k->delay;
        note(&sum.latency_delta, (t - k->item.first_delta) / 1e6);
        if (k->item.stopped) note(&sum.latency, (t - k->item.stopped) / 1e6);
    }
    count(&sum.reply_frames, 1);
    count(&sum.silence_inside, k->pending_silence);
    k->pending_silence = 0;
    k->heard++;

    float x[FRAME];
    for (int i = 0; i < FRAME; i++) x[i] = pcm[i];
    double found = k->place;
    int edge = k->heard == 1 || k->place + FRAME > k->item.len - 40;
    int how = is_at(k, pcm, x, k->place, &found);
    if (!k->locked) {
        if (how < 2 && k->heard > 1)
            how = look_for(k, pcm, x, k->place - 3 * FRAME, k->place + 3 * FRAME, &found);
        if (how && (how == 2 || k->heard > 1)) {
            int late = lrint((found - (k->heard - 1) * FRAME) / FRAME);
            if (late > 0) count(&sum.lost, late);
            k->delay = (k->heard - 1 + late) * FRAME - found;
            k->locked = 1;
        }
    } else if (!how && !edge) {
        /* Whole frames away and clean; anywhere near; whole frames away, damaged. */
        double near = 0;
        int moved = 0, away = whole_frames(k, pcm, x, 2, &found);
        if (!away) {
            moved = look_for(k, pcm, x, k->place - 2 * FRAME, k->place + 2 * FRAME, &near);
            if (moved < 2) away = whole_frames(k, pcm, x, 1, &found);
            if (!away && moved) found = near, how = 1;
        }
        if (away > 0) count(&sum.lost, away);
        if (away < 0) count(&sum.repeated, -away);
        if (away) how = is_at(k, pcm, x, found, &near);
    }
    if (how < 2 && !edge) count(&sum.broken, 1);
    k->place = (how ? found : k->place) + FRAME;
}

/* --------------------------------------------------------------- the service: writing */

static void watch(int fd, void *what, uint32_t events, int op) {
    struct epoll_event e = {.events = events, .data.ptr = what};
    if (epoll_ctl(ep, op, fd, &e)) die("epoll_ctl");
}

static void talk_closed(Conversation *t);

static void flush_out(Conversation *t) {
    while (t->out_len) {
        ssize_t n = send(t->fd, t->out, t->out_len, MSG_NOSIGNAL);
        if (n < 0) {
            if (errno != EAGAIN) t->out_len = 0;
            break;
        }
        memmove(t->out, t->out + n, t->out_len - n);
        t->out_len -= n;
    }
    if (t->want_out != (t->out_len > 0)) {
        t->want_out = t->out_len > 0;
        watch(t->fd, t, EPOLLIN | (t->want_out ? EPOLLOUT : 0), EPOLL_CTL_MOD);
    }
}

static void write_parts(Conversation *t, struct iovec *v, int n) {
    size_t total = 0, done = 0;
    if (t->fd < 0) return;
    for (int i = 0; i < n; i++) total += v[i].iov_len;
    if (!t->out_len) {
        struct msghdr m = {.msg_iov = v, .msg_iovlen = n};
        ssize_t r = sendmsg(t->fd, &m, MSG_NOSIGNAL);
        if (r < 0 && errno != EAGAIN) return;
        done = r < 0 ? 0 : r;
    }
    if (done == total) return;
    if (t->out_len + total - done > t->out_cap) {
        t->out_cap = 2 * (t->out_len + total - done);
        if (!(t->out = realloc(t->out, t->out_cap))) die("realloc");
    }
    for (int i = 0; i < n; i++) {
        size_t skip = done < v[i].iov_len ? done : v[i].iov_len;
        done -= skip;
        memcpy(t->out + t->out_len, (char *)v[i].iov_base + skip, v[i].iov_len - skip);
        t->out_len += v[i].iov_len - skip;
    }
    flush_out(t);
}

static int frame_head(uint8_t *h, int opcode, size_t n) {
    h[0] = 0x80 | opcode;
    if (n < 126) { h[1] = n; return 2; }
    if (n < 65536) { h[1] = 126, h[2] = n >> 8, h[3] = n; return 4; }
    h[1] = 127;
    for (int i = 0; i < 8; i++) h[2 + i] = (uint64_t)n >> (56 - 8 * i);
    return 10;
}

static void send_ws(Conversation *t, int opcode, const char *text, size_t n,
                    const char *more, size_t more_n) {
    uint8_t head[10];
    struct iovec v[3] = {{head, frame_head(head, opcode, n + more_n)},
                         {(void *)text, n}, {(void *)more, more_n}};
    write_parts(t, v, more_n ? 3 : 2);
}

__attribute__((format(printf, 2, 3)))
static void say(Conversation *t, const char *format, ...) {
    char text[4096];
    int n = snprintf(text, sizeof text, "{\"event_id\": \"event_%d_%d\", ", t->fd, t->events++);
    va_list a;
    va_start(a, format);
    n += vsnprintf(text + n, sizeof text - n, format, a);
    va_end(a);
    send_ws(t, 1, text, n, NULL, 0);
}

/* ------------------------------------------------------------- the service: a turn */

#define IDS "\"response_id\": \"resp_%d\", \"item_id\": \"item_%d\", \"output_index\": 0, \"content_index\": 0"
#define ITEM "{\"id\": \"item_%d\", \"object\": \"realtime.item\", \"type\": \"message\", \"status\": \"%s\", \"role\": \"assistant\", \"content\": [%s]}"
#define SPOKEN "{\"type\": \"output_audio\", \"transcript\": \"A reply of this length.\"}"

static void begin_reply(Conversation *t, ns now, int deltas, ns stopped) {
    int id = ++t->items;
    t->variant = (t->call->index + id) % VARIANTS;
    t->delta = 0, t->deltas = deltas;
    t->delta_every = 200 * MS / (4 + (t->call->index * 7 + id * 3) % 5);
    say(t, "\"type\": \"response.created\", \"response\": {\"object\": \"realtime.response\", "
           "\"id\": \"resp_%d\", \"status\": \"in_progress\", \"output\": []}}", id);
    say(t, "\"type\": \"response.output_item.added\", \"response_id\": \"resp_%d\", "
           "\"output_index\": 0, \"item\": " ITEM "}", id, id, "in_progress", "");
    say(t, "\"type\": \"conversation.item.added\", \"previous_item_id\": null, \"item\": " ITEM "}",
        id, "in_progress", "");
    say(t, "\"type\": \"response.content_part.added\", " IDS
           ", \"part\": {\"type\": \"audio\", \"transcript\": \"\"}}", id, id);
    Call *k = t->call;
    k->next = (Item){id, t->variant, deltas * 1600, t->format_out, 0, stopped};
    t->delta_at = now;
}

static void send_delta(Conversation *t) {
    char text[256];
    int n = snprintf(text, sizeof text,
        "{\"type\": \"response.output_audio.delta\", \"event_id\": \"event_%d_%d\", " IDS
        ", \"delta\": \"", t->fd, t->events++, t->items, t->items);
    int f = t->format_out, v = t->variant, d = t->delta++;
    send_ws(t, 1, text, n, reply[v].delta[f][d], reply[v].delta_len[f][d]);
    say(t, "\"type\": \"response.output_audio_transcript.delta\", " IDS
           ", \"delta\": \" word\"}", t->items, t->items);
}

static void end_reply(Conversation *t, const char *status, const char *details) {
    int id = t->items;
    const char *kept = *details ? "incomplete" : "completed";
    t->delta_at = NEVER;
    t->deltas = 0;
    say(t, "\"type\": \"response.output_audio.done\", " IDS "}", id, id);
    say(t, "\"type\": \"response.output_audio_transcript.done\", " IDS
           ", \"transcript\": \"A reply of this length.\"}", id, id);
    say(t, "\"type\": \"response.content_part.done\", " IDS
           ", \"part\": {\"type\": \"audio\", \"transcript\": \"A reply of this length.\"}}", id, id);
    say(t, "\"type\": \"response.output_item.done\", \"response_id\": \"resp_%d\", "
           "\"output_index\": 0, \"item\": " ITEM "}", id, id, kept, SPOKEN);
    say(t, "\"type\": \"conversation.item.done\", \"previous_item_id\": null, \"item\": " ITEM "}",
        id, kept, SPOKEN);
    say(t, "\"type\": \"response.done\", \"response\": {\"object\": \"realtime.response\", "
           "\"id\": \"resp_%d\", \"status\": \"%s\", \"status_details\": %s, \"output\": [" ITEM "], "
           "\"usage\": {\"total_tokens\": 200, \"input_tokens\": 100, \"output_tokens\": 100}}}",
        id, status, *details ? details : "null", id, kept, SPOKEN);
}

static void started(Conversation *t) {
    say(t, "\"type\": \"input_audio_buffer.speech_started\", \"audio_start_ms\": %lld, "
           "\"item_id\": \"caller_%d\"}", (long long)t->received / 16, t->turns);
}

static void barge_in(Conversation *t) {
    Call *k = t->call;
    t->barge_at = NEVER;
    if (k->state != SOUNDING) { count(&sum.late_cuts, 1); return; }
    t->interrupted = 1;
    started(t);
    k->cut_at = now_ns();
    k->state = CUT;
    k->cut_kind = t->deltas > 0, k->cut_tail = k->cut_sound = 0, k->cut_heard = k->heard * FRAME, k->cut_truncated = -1, k->cut_item = t->items;
    count(&sum.replies, 1);
    if (t->deltas) {
        if (t->delta < t->deltas) send_delta(t);
        end_reply(t, "cancelled", "{\"type\": \"cancelled\", \"reason\": \"turn_detected\"}");
    }
}

static void turn(Conversation *t, ns now) {
    Call *k = t->call;
    if (t->turn_step == 0) {
        if (!t->interrupted) started(t);
        t->interrupted = 0;
        t->turn_at = t->origin + STOPPED;
        t->turn_step = 1;
    } else if (t->turn_step == 1) {
        cut_settled(k);
        long long at = t->received / 16;
        int n = t->turns++;
        say(t, "\"type\": \"input_audio_buffer.speech_stopped\", \"audio_end_ms\": %lld, "
               "\"item_id\": \"caller_%d\"}", at, n);
        k->next.stopped = now_ns();
        say(t, "\"type\": \"input_audio_buffer.committed\", \"previous_item_id\": null, "
               "\"item_id\": \"caller_%d\"}", n);
        for (int i = 0; i < 2; i++)
            say(t, "\"type\": \"conversation.item.%s\", \"previous_item_id\": null, \"item\": "
                   "{\"id\": \"caller_%d\", \"object\": \"realtime.item\", \"type\": \"message\", "
                   "\"status\": \"completed\", \"role\": \"user\", \"content\": "
                   "[{\"type\": \"input_audio\", \"transcript\": null}]}}", i ? "done" : "added", n);
        t->turn_at = t->origin + REPLY;
        t->turn_step = 2;
    } else {
        if (!t->deltas) {
            begin_reply(t, now, reply_deltas, k->next.stopped);
            if (opt.barge_every && t->turns % opt.barge_every == 0)
                t->barge_at = now + ((t->barges++ + k->index) % 2 ? BARGE_GENERATING : BARGE_PLAYING);
        }
        t->origin += CYCLE;
        t->turn_at = t->origin;
        t->turn_step = 0;
    }
}

static void run_talk(Conversation *t, ns now) {
    if (t->barge_at <= now) barge_in(t);
    else if (t->delta_at <= now) {
        if (t->delta == 0) {
            if (t->call->state == SOUNDING) reply_over(t->call);
            t->call->next.first_delta = now_ns();
            t->call->has_next = 1;
        }
        send_delta(t);
        t->delta_at += t->delta_every;
        if (t->delta == t->deltas) end_reply(t, "completed", "");
    } else if (t->turn_at <= now) turn(t, now);
    schedule(t);
}

/* ------------------------------------------------------------ the service: reading */

static const char *find(const char *in, size_t n, const char *what) {
    return memmem(in, n, what, strlen(what));
}

/* The format asked for one direction: the first name after that key. */
static int asked(const char *in, size_t n, const char *key, int otherwise) {
    const char *at = find(in, n, "\"audio\"");
    at = at ? find(at, in + n - at, key) : NULL;
    at = at ? find(at, in + n - at, "\"audio/pcm") : NULL;
    return !at ? otherwise : at[10] == 'u' ? PCMU : PCM;
}

static const char *format_json(int f) {
    return f == PCMU ? "{\"type\": \"audio/pcmu\"}" : "{\"type\": \"audio/pcm\", \"rate\": 24000}";
}

static void message(Conversation *t, const char *in, size_t n) {
    Call *k = t->call;
    size_t head = n < 200 ? n : 200;
    if (find(in, head, "input_audio_buffer.append") || find(in, n, "\"input_audio_buffer.append\"")) {
        const char *at = find(in, n, "\"audio\":");
        at = at ? memchr(at + 8, '"', in + n - at - 8) : NULL;
        const char *end = at ? memchr(at + 1, '"', in + n - at - 1) : NULL;
        if (!end) { count(&sum.errors, 1); return; }
        size_t len = end - at - 1;
        t->received += len / 4 * 3 - (len && end[-1] == '=') - (len && end[-2] == '=');
    } else if (find(in, n, "\"session.update\"")) {
        t->format_in = asked(in, n, "\"input\"", t->format_in);
        t->format_out = asked(in, n, "\"output\"", t->format_out);
        if (t->format_in != opt.format || t->format_out != opt.format)
            sum.format_mismatch++;
        say(t, "\"type\": \"session.updated\", \"session\": {\"type\": \"realtime\", \"object\": "
               "\"realtime.session\", \"id\": \"sess_%d\", \"model\": \"load\", \"expires_at\": %lld, "
               "\"output_modalities\": [\"audio\"], \"audio\": {\"input\": {\"format\": %s, "
               "\"turn_detection\": {\"type\": \"server_vad\", \"threshold\": 0.5, "
               "\"prefix_padding_ms\": 300, \"silence_duration_ms\": 500, \"create_response\": true, "
               "\"interrupt_response\": true}}, \"output\": {\"format\": %s, \"voice\": \"marin\", "
               "\"speed\": 1.0}}}}", t->fd, (long long)time(NULL) + 3600,
            format_json(t->format_in), format_json(t->format_out));
        if (!t->listed) {
            t->listed = 1;
            ready++;
            ns now = now_ns();
            t->origin = now + 3 * SEC - (ns)(fmod(k->index * 0.6180339887, 1) * CYCLE);
            if (t->origin < now) t->origin += CYCLE;
            k->began = t->origin;
            t->turn_at = t->origin, t->turn_step = 0;
            schedule(t);
        }
    } else if (find(in, n, "\"response.create\"")) {
        if (t->deltas) say(t, "\"type\": \"error\", \"error\": {\"type\": \"invalid_request_error\", "
               "\"code\": \"conversation_already_has_active_response\", \"message\": \"busy\"}}");
        else begin_reply(t, now_ns(), 5, 0), schedule(t);
    } else if (find(in, n, "\"response.cancel\"")) {
        if (t->deltas) {
            end_reply(t, "cancelled", "{\"type\": \"cancelled\", \"reason\": \"client_cancelled\"}");
            schedule(t);
        } else say(t, "\"type\": \"error\", \"error\": {\"type\": \"invalid_request_error\", \"code\": "
               "\"response_cancel_not_active\", \"message\": \"no active response\"}}");
    } else if (find(in, n, "\"conversation.item.truncate\"")) {
        const char *item = find(in, n, "\"item_"), *ms = find(in, n, "\"audio_end_ms\"");
        while (item && (item[6] < '0' || item[6] > '9')) item = find(item + 1, in + n - item - 1, "\"item_");
        int id = item ? atoi(item + 6) : -1, end = -1;
        if (ms && (ms = memchr(ms + 14, ':', in + n - ms - 14))) end = atoi(ms + 1);
        if (id == k->cut_item && k->cut_at && k->cut_truncated < 0 && end >= 0) k->cut_truncated = end;
        else count(&sum.truncate_unknown, 1);
        say(t, "\"type\": \"conversation.item.truncated\", \"item_id\": \"item_%d\", "
               "\"content_index\": 0, \"audio_end_ms\": %d}", id, end);
    }
}

static int handshake(Conversation *t) {
    char *end = memmem(t->in, t->in_len, "\r\n\r\n", 4);
    if (!end) return 0;
    char line[160] = "";
    *end = 0;
    char *key = strcasestr(t->in, "\r\nSec-WebSocket-Key:");
    if (!key) { talk_closed(t); return 0; }
    sscanf(key + 20, " %100[^ \r\n]", line);
    strcat(line, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    uint8_t digest[20];
    char answer[32] = "", text[256];
    sha1(line, digest);
    answer[base64(digest, 20, answer)] = 0;
    int n = snprintf(text, sizeof text,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", answer);
    struct iovec v = {text, n};
    write_parts(t, &v, 1);
    size_t used = end + 4 - t->in;
    memmove(t->in, t->in + used, t->in_len - used);
    t->in_len -= used;
    /* Whose is it? The call started last; else the one that lost its own. */
    Call *k = NULL;
    if (to_start && !calls[to_start - 1].talk) k = &calls[to_start - 1];
    for (int i = 0; i < to_start && !k; i++)
        if (!calls[i].talk && !calls[i].ended) k = &calls[i], sum.reconnects++;
    if (!k) { sum.reconnect_failed++; talk_closed(t); return 0; }
    t->call = k, k->talk = t;
    k->has_next = 0;
    t->open = 1;
    heap_add(t);
    say(t, "\"type\": \"session.created\", \"session\": {\"type\": \"realtime\", \"object\": "
           "\"realtime.session\", \"id\": \"sess_%d\", \"model\": \"load\", \"expires_at\": %lld, "
           "\"output_modalities\": [\"audio\"], \"audio\": {\"input\": {\"format\": %s}, \"output\": "
           "{\"format\": %s, \"voice\": \"marin\"}}}}", t->fd, (long long)time(NULL) + 3600,
        format_json(PCM), format_json(PCM));
    return 1;
}

static void talk_closed(Conversation *t) {
    if (t->fd < 0) return;
    close(t->fd);
    t->fd = -1;
    if (t->open) heap_remove(t);
    if (t->call && t->call->talk == t) t->call->talk = NULL;
    t->open = 0;
    open_talks--;
    free(t->in), free(t->out);
    t->in = t->out = NULL;
    t->in_len = t->out_len = 0;
}

static void read_frames(Conversation *t) {
    size_t at = 0;
    while (t->fd >= 0) {
        uint8_t *p = (uint8_t *)t->in + at;
        size_t left = t->in_len - at, head = 6;
        if (left < 2) break;
        uint64_t n = p[1] & 127;
        if (n == 126) head = 8; else if (n == 127) head = 14;
        if (!(p[1] & 128)) { talk_closed(t); return; }
        if (left < head) break;
        if (n == 126) n = p[2] << 8 | p[3];
        else if (n == 127) { n = 0; for (int i = 0; i < 8; i++) n = n << 8 | p[2 + i]; }
        if (left < head + n) break;
        uint8_t *mask = p + head - 4, *body = p + head;
        uint32_t m4;
        memcpy(&m4, mask, 4);
        uint64_t m8 = (uint64_t)m4 << 32 | m4, word;
        size_t i = 0;
        for (; i + 8 <= n; i += 8) memcpy(&word, body + i, 8), word ^= m8, memcpy(body + i, &word, 8);
        for (; i < n; i++) body[i] ^= mask[i & 3];
        switch (p[0] & 15) {
        case 1: message(t, (char *)body, n); break;
        case 8: send_ws(t, 8, (char *)body, n < 2 ? n : 2, NULL, 0); talk_closed(t); return;
        case 9: send_ws(t, 10, (char *)body, n, NULL, 0); break;
        }
        at += head + n;
    }
    if (t->fd < 0) return;
    memmove(t->in, t->in + at, t->in_len - at);
    t->in_len -= at;
}

static void talk_ready(Conversation *t, uint32_t events) {
    if (t->fd < 0) return;
    if (events & EPOLLOUT) flush_out(t);
    if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR))) return;
    for (;;) {
        if (t->in_cap - t->in_len < 16384) {
            t->in_cap = t->in_cap ? 2 * t->in_cap : 32768;
            if (!(t->in = realloc(t->in, t->in_cap))) die("realloc");
        }
        size_t room = t->in_cap - t->in_len;
        ssize_t n = recv(t->fd, t->in + t->in_len, room, 0);
        if (n < 0 && errno == EAGAIN) return;
        if (n <= 0) { talk_closed(t); return; }
        t->in_len += n;
        if (!t->open && !handshake(t)) return;
        read_frames(t);
        if (t->fd < 0 || (size_t)n < room) return;
    }
}

static void accept_talks(void) {
    int fd, one = 1;
    while ((fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        Conversation *t = calloc(1, sizeof *t);
        t->kind = K_TALK, t->fd = fd;
        t->format_in = t->format_out = PCM;
        t->due = t->turn_at = t->delta_at = t->barge_at = NEVER;
        if (talks_n % 256 == 0) talks = realloc(talks, (talks_n + 256) * sizeof *talks);
        talks[talks_n++] = t;
        open_talks++;
        watch(fd, t, EPOLLIN, EPOLL_CTL_ADD);
    }
}

/* ------------------------------------------------------------------- the telephone */

static struct addrinfo *bridge;

static void end_call(Call *k) {
    if (k->fd >= 0) close(k->fd);
    k->fd = -1;
    k->ended = 1;
    k->connected = 0;
}

static void start_call(Call *k) {
    int one = 1;
    k->fd = socket(bridge->ai_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (k->fd < 0) die("socket");
    setsockopt(k->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (!opt.stamp_recv) setsockopt(k->fd, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof one);
    if (connect(k->fd, bridge->ai_addr, bridge->ai_addrlen) && errno != EINPROGRESS) {
        sum.refused++;
        end_call(k);
        return;
    }
    watch(k->fd, k, EPOLLIN | EPOLLOUT, EPOLL_CTL_ADD);
}

static void send_frame(Call *k, ns due) {
    ns at = (due - k->began) % CYCLE;
    if (at < 0) at += CYCLE;
    int f = at / (20 * MS);
    const uint8_t *frame = f < SPEECH_FRAMES ? speech[f] : silence;
    k->sent++;
    count(&sum.sent, 1);
    if (k->rest_len) {                  /* the rest of a frame comes first, always */
        ssize_t n = send(k->fd, k->rest, k->rest_len, MSG_NOSIGNAL);
        if (n > 0) memmove(k->rest, k->rest + n, k->rest_len -= n);
        if (k->rest_len) { count(&sum.blocked, 1); return; }
    }
    ssize_t n = send(k->fd, frame, 323, MSG_NOSIGNAL);
    if (n < 0) {
        count(&sum.blocked, 1);
        if (errno != EAGAIN) end_call(k);
    } else if (n < 323) memcpy(k->rest, frame + n, k->rest_len = 323 - n);
}

static void call_frame(Call *k, const uint8_t *p, int len, ns t) {
    if (p[0] == 0) { sum.hangups++; return; }
    if (p[0] != 0x10 || len != 2 * FRAME) { count(&sum.bad_frames, 1); return; }
    if (measuring) {
        sum.received++;
        if (k->arrivals == k->arrivals_cap) {
            k->arrivals_cap = k->arrivals_cap ? 2 * k->arrivals_cap : 1024;
            k->arrival = realloc(k->arrival, k->arrivals_cap * sizeof *k->arrival);
        }
        k->arrival[k->arrivals++] = t;
    }
    int16_t pcm[FRAME];
    memcpy(pcm, p + 3, sizeof pcm);
    check_frame(k, pcm, t);
}

static ns real_minus_monotonic;

static ssize_t receive(Call *k, int want, ns *t) {
    char control[128];
    struct iovec v = {k->in + k->in_len, want};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control,
                       .msg_controllen = sizeof control};
    ssize_t n = opt.stamp_recv ? recv(k->fd, v.iov_base, want, 0) : recvmsg(k->fd, &m, 0);
    *t = now_ns();
    if (n <= 0 || opt.stamp_recv) return n;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c))
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_TIMESTAMPNS) {
            struct timespec s;
            memcpy(&s, CMSG_DATA(c), sizeof s);
            *t = s.tv_sec * SEC + s.tv_nsec - real_minus_monotonic;
            stamped++;
        }
    return n;
}

static void call_ready(Call *k, uint32_t events) {
    if (k->fd < 0) return;
    if (!k->connected && events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) {
        int bad = 0;
        socklen_t n = sizeof bad;
        getsockopt(k->fd, SOL_SOCKET, SO_ERROR, &bad, &n);
        if (bad) { sum.refused++; end_call(k); return; }
        uint8_t hello[19] = {1, 0, 16, 'l', 'o', 'a', 'd', 0, 0, 0x40, 0, 0x80};
        for (int i = 0; i < 4; i++) hello[15 + i] = k->index >> (24 - 8 * i);
        if (send(k->fd, hello, sizeof hello, MSG_NOSIGNAL) != sizeof hello) { end_call(k); return; }
        k->connected = 1;
        watch(k->fd, k, EPOLLIN, EPOLL_CTL_MOD);
    }
    if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR))) return;
    for (;;) {
        int want = k->in_len < 3 ? 323 - k->in_len
                                 : 3 + (k->in[1] << 8 | k->in[2]) - k->in_len;
        ns t;
        ssize_t n = receive(k, want, &t);
        if (n < 0 && errno == EAGAIN) return;
        if (n <= 0) {
            if (measuring) sum.errors++;
            end_call(k);
            return;
        }
        k->in_len += n;
        int at = 0;
        while (k->in_len - at >= 3) {
            int len = k->in[at + 1] << 8 | k->in[at + 2];
            if (len > 4000) { count(&sum.bad_frames, 1); end_call(k); return; }
            if (k->in_len - at < 3 + len) break;
            call_frame(k, k->in + at, len, t);
            at += 3 + len;
        }
        memmove(k->in, k->in + at, k->in_len - at);
        k->in_len -= at;
        if (n < want || !opt.stamp_recv) return;    /* level-triggered: we come again */
    }
}

/* --------------------------------------------------------------------- the results */

static int by_time(const void *a, const void *b) {
    ns x = *(const ns *)a, y = *(const ns *)b;
    return (x > y) - (x < y);
}

/* Deviation of a call's frames from its own 20 ms grid: fixed 20 ms, the origin
 * that fits best (median). A shift of more than 15 ms that the next half second
 * does not take back is a missing (or extra) frame, and the grid goes on from there. */
static void grid(Call *k, Figures *deviation, int *missing, int *extra) {
    int n = k->arrivals, slot = 0;
    *missing = *extra = 0;
    if (n < 50) { *missing = n ? 0 : -1; return; }
    ns *late = malloc(n * sizeof *late), *sorted = malloc(n * sizeof *late);
    ns level = 0;
    for (int i = 0; i < n; i++) {
        ns lo = NEVER, hi = -NEVER;
        for (int j = i; j < n && j < i + 25; j++) {
            ns d = k->arrival[j] - k->arrival[0] - (ns)(slot + j) * 20 * MS - level;
            lo = d < lo ? d : lo, hi = d > hi ? d : hi;
        }
        if (i + 25 <= n && (lo > 15 * MS || hi < -15 * MS)) {
            int shift = lrint((lo > 0 ? lo : hi) / (20.0 * MS));
            slot += shift;
            if (shift > 0) *missing += shift; else *extra -= shift;
        }
        late[i] = k->arrival[i] - k->arrival[0] - (ns)(slot + i) * 20 * MS;
        level += (late[i] - level) / 50;        /* follows the first frames' own noise */
    }
    memcpy(sorted, late, n * sizeof *late);
    qsort(sorted, n, sizeof *sorted, by_time);
    for (int i = 0; i < n; i++) put(deviation, fabs((late[i] - sorted[n / 2]) / 1e6));
    free(late), free(sorted);
}

static void report(void) {
    Figures deviation = {0}, up_missing = {0}, worst = {0};
    int missing = 0, extra = 0, silent_calls = 0, calls_with = 0;
    double up = 0, up_expected = 0;
    for (int i = 0; i < opt.calls; i++) {
        Call *k = &calls[i];
        int m, e;
        size_t before = deviation.n;
        grid(k, &deviation, &m, &e);
        if (m < 0) silent_calls++, m = 0;
        missing += m, extra += e, calls_with += m || e;
        float top = 0;
        for (size_t j = before; j < deviation.n; j++) top = deviation.v[j] > top ? deviation.v[j] : top;
        put(&worst, top);
        up += k->got, up_expected += k->expected;
        put(&up_missing, fabs(k->expected - k->got) * 1000);
    }
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    printf("{\"calls\": %d, \"seconds\": %.3f, \"format\": \"%s\"", opt.calls,
           (window_end - window_begin) / 1e9, FORMAT_NAME[opt.format]);
    printf(", \"ready\": %d, \"refused\": %ld, \"ended_early\": %d, \"hangups\": %ld"
           ", \"reconnects\": %ld, \"format_mismatch\": %ld, \"left_open\": %d, \"errors\": %ld",
           ready, sum.refused, ended_early, sum.hangups, sum.reconnects + sum.reconnect_failed,
           sum.format_mismatch, open_talks, sum.errors);
    printf(", \"frames_sent\": %ld, \"frames_received\": %ld, \"blocked\": %ld, \"bad_frames\": %ld",
           sum.sent, sum.received, sum.blocked, sum.bad_frames);
    printf(", \"stamp\": \"%s\"", stamped ? "kernel" : "recv");
    printf(", \"missing\": %d, \"extra\": %d, \"calls_missing_or_extra\": %d, \"silent_calls\": %d",
           missing, extra, calls_with, silent_calls);
    print_figures("deviation_ms", &deviation);
    print_figures("worst_deviation_of_a_call_ms", &worst);
    printf(", \"replies\": %ld, \"reply_frames\": %ld, \"lost\": %ld, \"repeated\": %ld, "
           "\"broken\": %ld, \"silence_inside\": %ld, \"stray\": %ld",
           sum.replies, sum.reply_frames, sum.lost, sum.repeated, sum.broken,
           sum.silence_inside, sum.stray);
    print_figures("tail_frames", &sum.tail_frames);
    print_figures("tail_ms", &sum.tail_ms);
    print_figures("tail_frames_while_generating", &sum.tail_frames_gen);
    print_figures("tail_ms_while_generating", &sum.tail_ms_gen);
    print_figures("tail_sound_ms", &sum.tail_sound);
    print_figures("tail_sound_ms_while_generating", &sum.tail_sound_gen);
    print_figures("truncate_error_ms", &sum.truncate_error);
    printf(", \"truncate_missing\": %ld, \"truncate_unexpected\": %ld, \"barge_in_too_late\": %ld",
           sum.truncate_missing, sum.truncate_unknown, sum.late_cuts);
    printf(", \"uplink_seconds\": %.2f, \"uplink_expected\": %.2f", up, up_expected);
    print_figures("uplink_missing_ms", &up_missing);
    print_figures("latency_ms", &sum.latency);
    print_figures("latency_from_delta_ms", &sum.latency_delta);
    print_figures("own_lateness_ms", &sum.lateness);
    printf(", \"own_cpu_s\": %.3f}\n", u.ru_utime.tv_sec + u.ru_stime.tv_sec +
           (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6);
}

/* ------------------------------------------------------------------------ the loop */

static int by_phase(const void *a, const void *b) {
    ns x = calls[*(const int *)a].phase, y = calls[*(const int *)b].phase;
    return (x > y) - (x < y);
}

static void begin_window(ns now) {
    measuring = 1;
    window_begin = now;
    for (int i = 0; i < opt.calls; i++) {
        Call *k = &calls[i];
        k->sent_0 = k->sent;
        k->received_0 = k->talk ? k->talk->received : 0;
    }
    fprintf(stderr, "window begin\n");
}

/* Take what the calls' end would change, then hang up as Asterisk does: a plain
 * FIN. Conversations that the bridge does not close within 3 s are reported. */
static void end_window(ns now) {
    fprintf(stderr, "window end\n");
    window_end = now;
    for (int i = 0; i < opt.calls; i++) {
        Call *k = &calls[i];
        if (now - k->cut_at > SEC) cut_settled(k);
        ended_early += k->ended;
        k->expected = (k->sent - k->sent_0) * 0.02;
        if (k->talk) k->got = (k->talk->received - k->received_0) /
                              (k->talk->format_in == PCMU ? 8000.0 : 48000.0);
    }
    measuring = 0;
    for (int i = 0; i < opt.calls; i++) end_call(&calls[i]);
}

static void usage(void) {
    fprintf(stderr,
        "usage: load --audiosocket HOST:PORT --service-port P [--calls N] [--seconds S]\n"
        "            [--format pcmu|pcm] [--ramp MS] [--barge-every K] [--grace S] [--reply S]\n"
        "            [--stamp kernel|recv]\n"
        "  --seconds  length of the measured window (16; best a multiple of the 8 s cycle)\n"
        "  --format   what the bridge is expected to ask for; anything else is reported\n"
        "  --ramp     at least this long between two calls (20 ms)\n"
        "  --barge-every  interrupt every K-th reply of a call (0 = never)\n"
        "  --grace    between the last call's session and the window (8 s)\n"
        "  --reply    length of a reply (5 s; steps of 0.2, at most 5)\n");
    exit(2);
}

static void options(int n, char **a) {
    for (int i = 1; i < n; i += 2) {
        if (i + 1 >= n) usage();
        char *v = a[i + 1];
        if (!strcmp(a[i], "--calls")) opt.calls = atoi(v);
        else if (!strcmp(a[i], "--seconds")) opt.seconds = atof(v);
        else if (!strcmp(a[i], "--service-port")) opt.service_port = atoi(v);
        else if (!strcmp(a[i], "--ramp")) opt.ramp_ms = atof(v);
        else if (!strcmp(a[i], "--barge-every")) opt.barge_every = atoi(v);
        else if (!strcmp(a[i], "--grace")) opt.grace = atof(v);
        else if (!strcmp(a[i], "--reply")) opt.reply = atof(v);
        else if (!strcmp(a[i], "--stamp")) opt.stamp_recv = !strcmp(v, "recv");
        else if (!strcmp(a[i], "--format") && !strcmp(v, "pcmu")) opt.format = PCMU;
        else if (!strcmp(a[i], "--format") && !strcmp(v, "pcm")) opt.format = PCM;
        else if (!strcmp(a[i], "--audiosocket") && strrchr(v, ':')) {
            snprintf(opt.host, sizeof opt.host, "%.*s", (int)(strrchr(v, ':') - v), v);
            snprintf(opt.port, sizeof opt.port, "%s", strrchr(v, ':') + 1);
        } else usage();
    }
    if (opt.calls < 1 || !*opt.port || !opt.service_port || opt.reply < 2 || opt.reply > 5) usage();
}

int main(int argc, char **argv) {
    options(argc, argv);
    prctl(PR_SET_TIMERSLACK, 1);
    struct rlimit files = {2 * opt.calls + 64, 2 * opt.calls + 64}, have;
    getrlimit(RLIMIT_NOFILE, &have);
    if (have.rlim_cur < files.rlim_cur && setrlimit(RLIMIT_NOFILE, &files)) die("setrlimit");
    if (getaddrinfo(opt.host, opt.port, &(struct addrinfo){.ai_socktype = SOCK_STREAM}, &bridge)) die("getaddrinfo");
    make_speech();
    make_replies();

    ep = epoll_create1(0);
    int one = 1;
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(opt.service_port),
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listen_fd, (void *)&here, sizeof here) || listen(listen_fd, 1024)) die("service port");
    timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    watch(listen_fd, &K_listen, EPOLLIN, EPOLL_CTL_ADD);
    watch(timer_fd, &K_timer, EPOLLIN, EPOLL_CTL_ADD);

    ns epoch = now_ns() + 100 * MS;
    calls = calloc(opt.calls, sizeof *calls);
    ring = calloc(opt.calls, sizeof *ring);
    for (int i = 0; i < opt.calls; i++) {
        calls[i] = (Call){.kind = K_CALL, .index = i, .fd = -1, .began = epoch,
                          .phase = fmod(i * 0.6180339887, 1) * 20 * MS};
        ring[i] = i;
    }
    qsort(ring, opt.calls, sizeof *ring, by_phase);

    ns turn_of_ring = epoch, next_start = epoch, give_up = 0, begin_at = NEVER, stop_at = NEVER;
    ns patience = epoch + (ns)(opt.calls * opt.ramp_ms * MS) + 30 * SEC, over_at = NEVER;
    int at = 0;
    for (;;) {
        ns due = turn_of_ring + calls[ring[at]].phase;
        if (heap_n && heap[0]->due < due) due = heap[0]->due;
        struct itimerspec when = {.it_value = {due / SEC, due % SEC}};
        timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
        struct epoll_event ev[64];
        int n = epoll_wait(ep, ev, 64, -1);
        struct timespec wall;
        clock_gettime(CLOCK_REALTIME, &wall);
        real_minus_monotonic = wall.tv_sec * SEC + wall.tv_nsec - now_ns();
        for (int i = 0; i < n; i++) {
            int kind = *(int *)ev[i].data.ptr;
            if (kind == K_CALL) call_ready(ev[i].data.ptr, ev[i].events);
            else if (kind == K_TALK) talk_ready(ev[i].data.ptr, ev[i].events);
            else if (kind == K_LISTEN) accept_talks();
        }
        ns now = now_ns();
        while (turn_of_ring + calls[ring[at]].phase <= now) {
            Call *k = &calls[ring[at]];
            ns frame_due = turn_of_ring + k->phase;
            if (k->connected) {
                send_frame(k, frame_due);
                note(&sum.lateness, (now_ns() - frame_due) / 1e6);
            }
            if (++at == opt.calls) at = 0, turn_of_ring += 20 * MS;
        }
        while (heap_n && heap[0]->due <= now) run_talk(heap[0], now);

        if (to_start < opt.calls && now >= next_start && over_at == NEVER) {
            if (!to_start || calls[to_start - 1].talk || calls[to_start - 1].ended || now > give_up) {
                start_call(&calls[to_start++]);
                next_start += opt.ramp_ms * MS;
                if (next_start < now) next_start = now;
                give_up = now + 5 * SEC;
            }
        }
        if (begin_at == NEVER && ready >= opt.calls) begin_at = now + opt.grace * SEC;
        if (begin_at == NEVER && now > patience) {
            fprintf(stderr, "only %d of %d calls have a session; measuring all the same\n",
                    ready, opt.calls);
            begin_at = now;
            to_start = opt.calls;
        }
        if (!measuring && now >= begin_at && over_at == NEVER) {
            begin_window(now);
            stop_at = now + opt.seconds * SEC;
        }
        if (measuring && now >= stop_at) {
            end_window(now);
            over_at = now + 3 * SEC;
        }
        if (over_at != NEVER && (!open_talks || now > over_at)) break;
    }
    report();
    return 0;
}
