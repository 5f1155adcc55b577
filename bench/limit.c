/* The lower limit: a bridge that does only the byte work.
 *
 * AudioSocket server and WebSocket client (ws://, loopback) in one thread: epoll
 * and one timerfd. G.711 by table, or PCM 24 kHz through a 97-tap FIR, polyphase
 * up and the same filter down, state kept. JSON is constant text; events are
 * recognised by searching for strings. No TLS, no reconnecting, no resampling
 * to other rates, no check of what the service says: nobody should use this to
 * talk to people. It is the denominator of the ratios in README.rst.
 *
 * usage: limit --port P --service-port P [--format pcmu|pcm] [--upload-ms 20]
 *              [--fault lose|repeat|break|hole]
 *
 * A fault spoils one frame of each reply, to show that load finds it.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define FRAME 160
#define TAPS 97
#define UP_TAPS 33                      /* taps of one phase, rounded up */
#define SLOTS 20                        /* of 1 ms in the 20 ms grid */
enum { PCMU, PCM };
enum { K_LISTEN, K_TIMER, K_LEG, K_TALK };

static int fault;                       /* first letter of its name; 0 = none */
static int format = PCMU, upload_frames = 1, port, service_port, ep;

typedef struct Leg Leg;
typedef struct { int kind, fd; Leg *leg; } End;

struct Leg {
    End phone, talk;
    int upgraded, ready, slot, uploading, queued, head;   /* queue in samples */
    uint8_t in[2048];
    int in_len;
    uint8_t *ws;
    size_t ws_len, ws_cap;
    int16_t *queue;
    int queue_cap, filled;              /* queue[head .. filled) */
    float up[UP_TAPS - 1], down[TAPS - 1];  /* what the filters remember */
    int down_phase;
    uint8_t batch[5 * 960];
    char item[64];
    int heard, given;                   /* samples of that item */
    Leg *next, **link;
    int dead;
};

static Leg *slots[SLOTS], *dead_legs;
static End listener = {K_LISTEN, -1, NULL}, ticker = {K_TIMER, -1, NULL};
static uint8_t encode_law[65536];
static int16_t decode_law[256];
static char pair64[4096][2];
static uint8_t from64[256];
static float taps[TAPS], phase_taps[3][UP_TAPS];
static int now_slot;

static void die(const char *what) { perror(what); exit(1); }

static void watch(End *e, uint32_t events, int op) {
    struct epoll_event v = {.events = events, .data.ptr = e};
    if (epoll_ctl(ep, op, e->fd, &v)) die("epoll_ctl");
}

/* ------------------------------------------------------------------------- tables */

static double bessel(double x) {
    double sum = 1, term = 1;
    for (int k = 1; k < 40; k++) term *= x / (2 * k) * (x / (2 * k)), sum += term;
    return sum;
}

static void make_tables(void) {
    static const char A[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (int i = 0; i < 4096; i++) pair64[i][0] = A[i >> 6], pair64[i][1] = A[i & 63];
    for (int i = 0; i < 64; i++) from64[(uint8_t)A[i]] = i;
    for (int i = 0; i < 256; i++) {
        uint8_t u = ~i;
        int v = (((u & 15) << 3) + 0x84) << ((u & 0x70) >> 4);
        decode_law[i] = u & 0x80 ? 0x84 - v : v - 0x84;
    }
    for (int i = 0; i < 65536; i++) {
        int v = (int16_t)i, sign = v < 0 ? 0x80 : 0, e = 7;
        v = (v < 0 ? -v : v) + 0x84;
        if (v > 0x7FFF) v = 0x7FFF;
        while (e > 0 && !(v & (0x80 << e))) e--;
        encode_law[i] = ~(sign | e << 4 | ((v >> (e + 3)) & 15));
    }
    double sum = 0, beta = 0.1102 * (77 - 8.7);     /* Kaiser window for 77 dB */
    for (int n = 0; n < TAPS; n++) {
        double t = n - (TAPS - 1) / 2.0, r = 2.0 * n / (TAPS - 1) - 1;
        double sinc = t == 0 ? 1 / 3.0 : sin(M_PI * t / 3) / (M_PI * t);
        taps[n] = sinc * bessel(beta * sqrt(1 - r * r)) / bessel(beta);
        sum += taps[n];
    }
    for (int n = 0; n < TAPS; n++) taps[n] /= sum;
    /* output 3i+p = sum_j 3 taps[3j+p] x[i-j]; reversed, to run along the input */
    for (int n = 0; n < TAPS; n++) phase_taps[n % 3][UP_TAPS - 1 - n / 3] = 3 * taps[n];
}

static int16_t round16(float v) {
    long r = lrintf(v);
    return r > 32767 ? 32767 : r < -32768 ? -32768 : r;
}

static float product(const float *a, const float *b, int n) {
    float sum = 0;
    for (int i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

/* ------------------------------------------------------------------------- upwards */

static void send_ws(Leg *l, int opcode, const char *a, size_t an, const char *b, size_t bn,
                    const char *c, size_t cn) {
    static uint8_t out[16384];
    size_t n = an + bn + cn, at = 2;
    uint32_t mask = (uint32_t)random() | 1;
    uint64_t m8 = (uint64_t)mask << 32 | mask, w;
    out[0] = 0x80 | opcode;
    if (n < 126) out[1] = 0x80 | n;
    else out[1] = 0x80 | 126, out[2] = n >> 8, out[3] = n, at = 4;
    memcpy(out + at, &mask, 4);
    uint8_t *body = out + at + 4;
    if (a != (char *)body) memcpy(body, a, an);
    memcpy(body + an, b, bn);
    memcpy(body + an + bn, c, cn);
    for (size_t i = 0; i < n; i += 8)
        memcpy(&w, body + i, 8), w ^= m8, memcpy(body + i, &w, 8);
    if (send(l->talk.fd, out, at + 4 + n, MSG_NOSIGNAL) < 0) return;   /* full: lost */
}

static size_t base64(const uint8_t *in, size_t n, char *o) {
    char *start = o;
    size_t i = 0;
    for (; i + 3 <= n; i += 3, o += 4) {
        uint32_t v = in[i] << 16 | in[i + 1] << 8 | in[i + 2];
        memcpy(o, pair64[v >> 12], 2);
        memcpy(o + 2, pair64[v & 4095], 2);
    }
    if (i < n) {
        uint32_t v = in[i] << 16 | (i + 1 < n ? in[i + 1] << 8 : 0);
        memcpy(o, pair64[v >> 12], 2);
        o[2] = i + 1 < n ? pair64[v & 4095][0] : '=';
        o[3] = '=';
        o += 4;
    }
    return o - start;
}

static void caller_audio(Leg *l, const int16_t *pcm) {
    static const char HEAD[] = "{\"type\":\"input_audio_buffer.append\",\"audio\":\"";
    char text[8192];
    if (!l->ready) return;
    if (format == PCMU) {
        uint8_t *o = l->batch + l->uploading * FRAME;
        for (int i = 0; i < FRAME; i++) o[i] = encode_law[(uint16_t)pcm[i]];
    } else {
        int16_t *o = (int16_t *)(l->batch + l->uploading * 6 * FRAME);
        float x[UP_TAPS - 1 + FRAME];
        memcpy(x, l->up, sizeof l->up);
        for (int i = 0; i < FRAME; i++) x[UP_TAPS - 1 + i] = pcm[i];
        for (int i = 0; i < FRAME; i++)
            for (int p = 0; p < 3; p++)
                o[3 * i + p] = round16(product(x + i, phase_taps[p], UP_TAPS));
        memcpy(l->up, x + FRAME, sizeof l->up);
    }
    if (++l->uploading < upload_frames) return;
    size_t n = base64(l->batch, l->uploading * FRAME * (format == PCMU ? 1 : 6), text);
    l->uploading = 0;
    send_ws(l, 1, HEAD, sizeof HEAD - 1, text, n, "\"}", 2);
}

/* ----------------------------------------------------------------------- downwards */

static int16_t *room(Leg *l, int samples) {
    if (l->head == l->filled) l->head = l->filled = 0;
    if (l->filled + samples > l->queue_cap && l->head) {
        memmove(l->queue, l->queue + l->head, (l->filled - l->head) * 2);
        l->filled -= l->head, l->head = 0;
    }
    if (l->filled + samples > l->queue_cap) {
        l->queue_cap = 2 * (l->filled + samples);
        if (!(l->queue = realloc(l->queue, l->queue_cap * 2))) die("realloc");
    }
    return l->queue + l->filled;
}

static void agent_audio(Leg *l, const char *text, size_t n) {
    static uint8_t raw[65536];
    uint8_t *o = raw;
    if (n > 80000) return;
    for (size_t i = 0; i + 4 <= n; i += 4, o += 3) {
        uint32_t v = from64[(uint8_t)text[i]] << 18 | from64[(uint8_t)text[i + 1]] << 12 |
                     from64[(uint8_t)text[i + 2]] << 6 | from64[(uint8_t)text[i + 3]];
        o[0] = v >> 16, o[1] = v >> 8, o[2] = v;
    }
    int bytes = o - raw - (n && text[n - 1] == '=') - (n > 1 && text[n - 2] == '=');
    if (format == PCMU) {
        int16_t *q = room(l, bytes);
        for (int i = 0; i < bytes; i++) q[i] = decode_law[raw[i]];
        l->filled += bytes, l->given += bytes;
        return;
    }
    int samples = bytes / 2, made = 0;
    const int16_t *in = (const int16_t *)raw;
    int16_t *q = room(l, samples / 3 + 1);
    static float x[TAPS - 1 + sizeof raw / 2];
    memcpy(x, l->down, sizeof l->down);
    for (int i = 0; i < samples; i++) x[TAPS - 1 + i] = in[i];
    for (int i = l->down_phase; i < samples; i += 3)
        q[made++] = round16(product(x + i, taps, TAPS));
    l->down_phase = (l->down_phase + made * 3) - samples;
    memcpy(l->down, x + samples, sizeof l->down);
    l->filled += made, l->given += made;
}

static void event(Leg *l, const char *in, size_t n) {
    const char *head = in;
    size_t head_n = n < 160 ? n : 160;
    if (memmem(head, head_n, "\"response.output_audio.delta\"", 29 - 1)) {
        const char *at = memmem(in, n, "\"delta\"", 7), *id = memmem(in, n, "\"item_id\"", 9);
        if (!at || !id) return;
        id = memchr(id + 9, '"', in + n - id - 9) + 1;
        size_t id_n = (const char *)memchr(id, '"', in + n - id) - id;
        if (id_n < sizeof l->item && (strlen(l->item) != id_n || memcmp(l->item, id, id_n))) {
            memcpy(l->item, id, id_n);
            l->item[id_n] = 0;
            l->heard = l->given = 0;
        }
        at = memchr(at + 7, '"', in + n - at - 7) + 1;
        agent_audio(l, at, (const char *)memchr(at, '"', in + n - at) - at);
    } else if (memmem(head, head_n, "speech_started", 14)) {
        if (l->head == l->filled) return;
        char text[200];
        int m = snprintf(text, sizeof text, "{\"type\":\"conversation.item.truncate\",\"item_id\":\"%s\","
                         "\"content_index\":0,\"audio_end_ms\":%d}", l->item, l->heard / 8);
        l->head = l->filled = 0;
        send_ws(l, 1, text, m, "", 0, "", 0);
    } else if (memmem(head, head_n, "\"session.updated\"", 17)) l->ready = 1;
    else if (memmem(head, head_n, "\"session.created\"", 17)) {
        const char *f = format == PCMU ? "{\"type\":\"audio/pcmu\"}"
                                       : "{\"type\":\"audio/pcm\",\"rate\":24000}";
        char text[400];
        int m = snprintf(text, sizeof text, "{\"type\":\"session.update\",\"session\":{\"type\":\"realtime\","
            "\"output_modalities\":[\"audio\"],\"audio\":{\"input\":{\"format\":%s,\"turn_detection\":"
            "{\"type\":\"server_vad\"}},\"output\":{\"format\":%s,\"voice\":\"marin\"}}}}", f, f);
        send_ws(l, 1, text, m, "", 0, "", 0);
    }
}

/* Spoil this frame. @return: how many samples of the queue it used. */
static int spoil(Leg *l, uint8_t *frame) {
    if (fault == 'l') {
        if (l->filled - l->head < 2 * FRAME) return FRAME;
        l->head += FRAME, l->heard += FRAME;
        memcpy(frame + 3, l->queue + l->head, 2 * FRAME);
    } else if (fault == 'b') memset(frame + 103, 0, 40);
    else {
        if (fault == 'h') memset(frame + 3, 0, 2 * FRAME);
        l->heard += FRAME;              /* so that it happens once */
        return 0;
    }
    return FRAME;
}

static void play(Leg *l) {
    uint8_t frame[323] = {0x10, 0x01, 0x40};
    int n = l->filled - l->head;
    if (n > FRAME) n = FRAME;
    if (n) memcpy(frame + 3, l->queue + l->head, 2 * n);
    if (fault && n == FRAME && l->heard / FRAME == 120) n = spoil(l, frame);
    l->head += n, l->heard += n;
    if (send(l->phone.fd, frame, sizeof frame, MSG_NOSIGNAL) < 0) return;
}

/* ------------------------------------------------------------------------- sockets */

static void end_leg(Leg *l) {
    if (l->dead) return;
    l->dead = 1;
    close(l->phone.fd);
    if (l->talk.fd >= 0) close(l->talk.fd);
    if (l->link) {
        *l->link = l->next;
        if (l->next) l->next->link = l->link;
    }
    l->next = dead_legs, dead_legs = l;         /* freed after this round of events */
}

static void open_talk(Leg *l) {
    char text[256];
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(service_port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1;
    l->talk.fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(l->talk.fd, (void *)&to, sizeof to)) { end_leg(l); return; }
    setsockopt(l->talk.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    int n = snprintf(text, sizeof text, "GET /v1/realtime?model=x HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n"
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        "Sec-WebSocket-Version: 13\r\nAuthorization: Bearer bench\r\n\r\n", service_port);
    if (send(l->talk.fd, text, n, MSG_NOSIGNAL) != n) { end_leg(l); return; }
    watch(&l->talk, EPOLLIN, EPOLL_CTL_ADD);
    l->slot = now_slot;
    l->next = slots[l->slot];
    if (l->next) l->next->link = &l->next;
    l->link = &slots[l->slot];
    slots[l->slot] = l;
}

static void phone_ready(Leg *l) {
    ssize_t n = recv(l->phone.fd, l->in + l->in_len, sizeof l->in - l->in_len, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) { end_leg(l); return; }
    l->in_len += n;
    int at = 0;
    while (l->in_len - at >= 3 && !l->dead) {
        int len = l->in[at + 1] << 8 | l->in[at + 2];
        if (len > 1024) { end_leg(l); return; }
        if (l->in_len - at < 3 + len) break;
        int16_t pcm[FRAME];
        if (l->in[at] == 1) open_talk(l);
        else if (l->in[at] == 0x10 && len == 320)
            memcpy(pcm, l->in + at + 3, 320), caller_audio(l, pcm);
        at += 3 + len;
    }
    memmove(l->in, l->in + at, l->in_len - at);
    l->in_len -= at;
}

static void talk_ready(Leg *l) {
    if (l->ws_cap - l->ws_len < 4096) {
        l->ws_cap = l->ws_cap ? 2 * l->ws_cap : 8192;
        if (!(l->ws = realloc(l->ws, l->ws_cap))) die("realloc");
    }
    ssize_t n = recv(l->talk.fd, l->ws + l->ws_len, l->ws_cap - l->ws_len, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) { end_leg(l); return; }
    l->ws_len += n;
    size_t at = 0;
    if (!l->upgraded) {
        uint8_t *end = memmem(l->ws, l->ws_len, "\r\n\r\n", 4);
        if (!end) return;
        l->upgraded = 1;
        at = end + 4 - l->ws;
    }
    while (l->ws_len - at >= 2) {
        uint8_t *p = l->ws + at;
        size_t len = p[1] & 127, head = len == 126 ? 4 : len == 127 ? 10 : 2;
        if (l->ws_len - at < head) break;
        if (len == 126) len = p[2] << 8 | p[3];
        else if (len == 127) len = (size_t)p[6] << 24 | p[7] << 16 | p[8] << 8 | p[9];
        if (l->ws_len - at < head + len) break;
        int opcode = p[0] & 15;
        if (opcode == 1) event(l, (char *)p + head, len);
        else if (opcode == 9) send_ws(l, 10, (char *)p + head, len, "", 0, "", 0);
        else if (opcode == 8) { end_leg(l); return; }
        at += head + len;
    }
    memmove(l->ws, l->ws + at, l->ws_len - at);
    l->ws_len -= at;
}

static void accept_legs(void) {
    int fd, one = 1;
    while ((fd = accept4(listener.fd, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        Leg *l = calloc(1, sizeof *l);
        if (!l) die("calloc");
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        l->phone = (End){K_LEG, fd, l};
        l->talk = (End){K_TALK, -1, l};
        watch(&l->phone, EPOLLIN, EPOLL_CTL_ADD);
    }
}

int main(int argc, char **argv) {
    for (int i = 1; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--port")) port = atoi(argv[i + 1]);
        else if (!strcmp(argv[i], "--service-port")) service_port = atoi(argv[i + 1]);
        else if (!strcmp(argv[i], "--format")) format = strcmp(argv[i + 1], "pcm") ? PCMU : PCM;
        else if (!strcmp(argv[i], "--fault")) fault = argv[i + 1][0];
        else if (!strcmp(argv[i], "--upload-ms")) upload_frames = atoi(argv[i + 1]) / 20;
    }
    if (!port || !service_port || upload_frames < 1 || upload_frames > 5) {
        fprintf(stderr, "usage: limit --port P --service-port P [--format pcmu|pcm] [--upload-ms 20..100]\n"
                        "             [--fault lose|repeat|break|hole]\n");
        return 2;
    }
    prctl(PR_SET_TIMERSLACK, 1);
    make_tables();
    ep = epoll_create1(0);
    int one = 1;
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(port),
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    listener.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(listener.fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener.fd, (void *)&here, sizeof here) || listen(listener.fd, 1024)) die("port");
    ticker.fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    struct itimerspec every = {{0, 1000000}, {0, 1000000}};
    timerfd_settime(ticker.fd, 0, &every, NULL);
    watch(&listener, EPOLLIN, EPOLL_CTL_ADD);
    watch(&ticker, EPOLLIN, EPOLL_CTL_ADD);
    for (;;) {
        struct epoll_event ev[64];
        int n = epoll_wait(ep, ev, 64, -1);
        for (int i = 0; i < n; i++) {
            End *e = ev[i].data.ptr;
            uint64_t ticks = 0;
            if (e->kind == K_LISTEN) accept_legs();
            else if (e->kind == K_TIMER) {
                if (read(e->fd, &ticks, sizeof ticks) != sizeof ticks) continue;
                /* a slot missed by a stall is served late, never skipped */
                while (ticks--) {
                    now_slot = (now_slot + 1) % SLOTS;
                    for (Leg *l = slots[now_slot]; l; l = l->next) play(l);
                }
            } else if (e->leg->dead) continue;
            else if (e->kind == K_LEG) phone_ready(e->leg);
            else talk_ready(e->leg);
        }
        while (dead_legs) {
            Leg *l = dead_legs;
            dead_legs = l->next;
            free(l->ws), free(l->queue), free(l);
        }
    }
}
