/* Closed loops of echoed lines, alone or beside idle connections. */
#include "load.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define BURST 128 /* connections that are opened before the first of them is waited for */
#define STALLED_MS 20000

static const char greeting[] = "hi\r\n";

/* Opens `count` connections, each of which has had its answer. Returns 0 if that took longer than `limit` seconds. */
static int open_greeted(struct connection *connections, int count, double limit) {
    uint64_t start = now();
    for (int opened = 0, answered = 0; opened < count;) {
        connections[opened].fd = connect_to_server();
        send_small(connections[opened++].fd, greeting, 4);
        if (opened - answered < BURST && opened < count) continue;
        while (answered < opened) expect(connections[answered++].fd, greeting, 4, STALLED_MS / 1000);
        if (seconds_between(start, now()) > limit) return 0;
    }
    return 1;
}

static void receive_reply(struct connection *one, const char *message, size_t size, struct window *window,
                          const char *mode, int lines) {
    ssize_t count = recv(one->fd, one->buffer + one->received, size - one->received, 0);
    if (count < 0 && errno == EAGAIN) return;
    if (count <= 0) fail("%s: the server closed a connection", mode);
    one->received += (size_t)count;
    if (one->received < size) return;
    if (memcmp(one->buffer, message, size)) fail("%s: a reply differs", mode);
    uint64_t time = now();
    if (window->measuring) {
        add_latency(time - one->since);
        window->operations += (uint64_t)lines;
    }
    one->received = 0;
    one->since = time;
    send_small(one->fd, message, size);
}

static void exchange(int poll_fd, const char *message, size_t size, struct window *window, const char *mode,
                     int lines) {
    struct epoll_event events[EVENTS];
    for (;;) {
        int count = epoll_wait(poll_fd, events, EVENTS, options.spin ? 0 : STALLED_MS);
        uint64_t time = now();
        if (!count && options.spin && time < window->end + 5000000000u) continue;
        if (count <= 0) fail("%s stalled", mode);
        if (window_is_over(window, time)) return;
        for (int i = 0; i < count; i++) receive_reply(events[i].data.ptr, message, size, window, mode, lines);
    }
}

/* `lines` lines of `length` bytes on each connection at a time: sent, awaited, sent again. */
void run_echo(const char *mode, int connections, int lines, int length, const char *more) {
    size_t size = (size_t)lines * (size_t)length;
    char *message = allocate(size);
    struct connection *all = allocate((size_t)connections * sizeof *all);
    struct window window;
    int poll_fd = new_poll();
    fill_lines(message, lines, length, 1);
    open_greeted(all, connections, options.limit);
    open_window(&window);
    for (int i = 0; i < connections; i++) {
        all[i].buffer = allocate(size);
        watch(poll_fd, all[i].fd, EPOLLIN, &all[i]);
        all[i].since = now();
        send_small(all[i].fd, message, size);
    }
    exchange(poll_fd, message, size, &window, mode, lines);
    close_window(&window);
    print_sample(&window, mode, (double)window.operations / seconds_between(window.since, window.end), more);
    for (int i = 0; i < connections; i++) {
        close(all[i].fd);
        free(all[i].buffer);
    }
    free(all);
    free(message);
    close(poll_fd);
}

static long memory_before;
static double set_up_seconds;
static int idle_count;

/* Brings the idle connections to `wanted`, and measures beside them. Returns 0 if that is too slow. */
static int run_beside(const char *mode, int wanted, int connections) {
    char more[160];
    uint64_t start = now();
    struct connection *idle = allocate((size_t)(wanted - idle_count) * sizeof *idle);
    int done = open_greeted(idle, wanted - idle_count, options.limit - set_up_seconds);
    free(idle); /* the descriptors stay open until the program ends */
    set_up_seconds += seconds_between(start, now());
    if (!done) return 0;
    idle_count = wanted;
    snprintf(more, sizeof more, "\"idle\":%d,\"rss0_kb\":%ld,\"rss1_kb\":%ld,\"setup_s\":%.3f,", wanted, memory_before,
             server_memory_kb(), set_up_seconds);
    run_echo(mode, connections, 1, 64, more);
    return 1;
}

void run_idle(int connections) {
    memory_before = server_memory_kb();
    if (!run_beside("idle", atoi(options.idle), connections))
        fail("opening %s idle connections took over %.0f s", options.idle, options.limit);
    fprintf(output, "\n");
}

static char *points;
static size_t points_size;

/* What was measured before a server gave up counts. */
static void print_points(const char *reason) {
    fflush(output);
    if (points_size && points[points_size - 1] == ',') points[points_size - 1] = 0;
    printf("{\"mode\":\"scale\",\"setup_s\":%.3f,\"points\":[%s]", set_up_seconds, points);
    if (reason) printf(",\"stopped\":\"%s\"", reason);
    printf("}\n");
    fflush(stdout);
    exit(0);
}

void run_scale(int connections) {
    char reason[80];
    output = open_memstream(&points, &points_size);
    if (!output) fail("out of memory");
    fflush(output);
    memory_before = server_memory_kb();
    last_words = print_points;
    for (const char *at = options.idle; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) {
        if (idle_count) fprintf(output, ",");
        if (run_beside("scale", atoi(at), connections)) continue;
        snprintf(reason, sizeof reason, "set-up of %d took over %.0f s", atoi(at), options.limit);
        print_points(reason);
    }
    print_points(NULL);
}
