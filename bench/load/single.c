/* One line that comes in small segments, and connections that carry one line each. */
#include "load.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define SEGMENT 4096
#define LINE 64
#define STALLED_MS 20000

/* Sends a line of `size` bytes, each segment an arrival of its own. Returns the server's CPU time, nanoseconds. */
static uint64_t drip_line(size_t size, double *wall) {
    static char segment[SEGMENT];
    char wanted[64];
    int fd = connect_to_server();
    uint64_t used = server_cpu(), start = now(), next = start;
    memset(segment, 'x', sizeof segment);
    for (size_t sent = 0; sent < size; sent += SEGMENT) {
        while (now() < next) continue;
        send_small(fd, segment, size - sent < SEGMENT ? size - sent : SEGMENT);
        next = now() + (uint64_t)options.gap_us * 1000;
        if (seconds_between(start, now()) > options.limit) fail("drip took over %.0f s", options.limit);
    }
    send_small(fd, "\r\n", 2);
    int wanted_size = snprintf(wanted, sizeof wanted, "LEN %zu\r\n", size);
    expect(fd, wanted, (size_t)wanted_size, options.limit);
    *wall = seconds_between(start, now());
    used = server_cpu() - used;
    close(fd);
    return used;
}

void run_drip(size_t size) {
    double warm_up, half_wall, wall;
    drip_line(65536, &warm_up);
    long faults = server_faults();
    uint64_t own = own_cpu(), half = drip_line(size / 2, &half_wall), used = drip_line(size, &wall);
    fprintf(output, "{\"mode\":\"drip\",\"rate\":%.6g,\"cpu_us\":%.6g,\"faults\":%ld,\"growth\":%.3f,\"ops\":1,",
            (double)size / 1e6 / wall, (double)used / 1e3, server_faults() - faults,
            half ? (double)used / (double)half : 0.0);
    fprintf(output, "\"wall\":%.4f,\"server_cpu\":%.4f,\"generator_cpu\":%.4f}\n", wall,
            (double)(half + used) / 1e9 / (half_wall + wall), (double)(own_cpu() - own) / 1e9 / (half_wall + wall));
}

static void open_slot(int poll_fd, struct connection *slot, const char *line) {
    slot->received = 0;
    slot->since = now();
    slot->fd = connect_from_next_port();
    watch(poll_fd, slot->fd, EPOLLIN, slot);
    send_small(slot->fd, line, LINE);
}

/* Whether the slot's line was answered and its connection closed. */
static int finish_slot(struct connection *slot, const char *line, struct window *window) {
    ssize_t count = recv(slot->fd, slot->buffer + slot->received, LINE - slot->received, 0);
    if (count < 0 && errno == EAGAIN) return 0;
    if (count <= 0) fail("churn: the server closed a connection");
    slot->received += (size_t)count;
    if (slot->received < LINE) return 0;
    if (memcmp(slot->buffer, line, LINE)) fail("churn: a reply differs");
    close(slot->fd);
    if (window->measuring) {
        add_latency(now() - slot->since);
        window->operations++;
    }
    return 1;
}

void run_churn(int slots) {
    struct connection *all = allocate((size_t)slots * sizeof *all);
    struct epoll_event events[EVENTS];
    struct window window;
    char line[LINE];
    int poll_fd = new_poll();
    long opened = slots;
    fill_lines(line, 1, LINE, 3);
    open_window(&window);
    for (int i = 0; i < slots; i++) {
        all[i].buffer = allocate(LINE);
        open_slot(poll_fd, &all[i], line);
    }
    for (;;) {
        int count = epoll_wait(poll_fd, events, EVENTS, STALLED_MS);
        if (count <= 0) fail("churn stalled");
        if (window_is_over(&window, now()) || opened > options.most_connections) break;
        for (int i = 0; i < count; i++) {
            if (!finish_slot(events[i].data.ptr, line, &window)) continue;
            open_slot(poll_fd, events[i].data.ptr, line);
            opened++;
        }
    }
    if (!window.measuring) fail("churn: %ld connections in the warm-up", opened);
    close_window(&window);
    print_sample(&window, "churn", (double)window.operations / seconds_between(window.since, window.end), "");
    fprintf(output, "\n");
}
