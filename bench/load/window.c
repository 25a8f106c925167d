/* What is measured: a window of time after a warm-up, the operations in it, and how long each took. */
#include "load.h"

#include <stdlib.h>

static uint32_t *latencies; /* nanoseconds */
static size_t latency_count, latency_room;

void add_latency(uint64_t nanoseconds) {
    if (latency_count == latency_room) {
        latency_room = latency_room ? latency_room * 2 : 1 << 16;
        latencies = realloc(latencies, latency_room * sizeof *latencies);
        if (!latencies) fail("out of memory");
    }
    latencies[latency_count++] = nanoseconds > UINT32_MAX ? UINT32_MAX : (uint32_t)nanoseconds;
}

void open_window(struct window *window) {
    *window = (struct window){.begin = now() + (uint64_t)(options.warm_up * 1e9)};
    window->end = window->begin + (uint64_t)(options.seconds * 1e9);
}

/* Begins to count when the warm-up is over; says when the time is. */
int window_is_over(struct window *window, uint64_t time) {
    if (!window->measuring && time >= window->begin) {
        window->measuring = 1;
        window->operations = window->bytes = 0;
        latency_count = 0;
        window->since = time;
        window->faults = server_faults();
        window->own_cpu = own_cpu();
        window->server_cpu = server_cpu();
    }
    return window->measuring && time >= window->end;
}

/* Turns the counters into differences. */
void close_window(struct window *window) {
    window->end = now();
    window->server_cpu = server_cpu() - window->server_cpu;
    window->own_cpu = own_cpu() - window->own_cpu;
    window->faults = server_faults() - window->faults;
}

static int by_value(const void *left, const void *right) {
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return a < b ? -1 : a > b;
}

static void print_latencies(void) {
    static const double percentiles[] = {1, 5, 10, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 99.95, 99.99};
    qsort(latencies, latency_count, sizeof *latencies, by_value);
    fprintf(output, "\"latency_us\":{");
    for (size_t i = 0; i < sizeof percentiles / sizeof *percentiles && latency_count; i++) {
        size_t at = (size_t)(percentiles[i] / 100 * (double)latency_count);
        if (at >= latency_count) at = latency_count - 1;
        fprintf(output, "%s\"%g\":%.1f", i ? "," : "", percentiles[i], latencies[at] / 1000.0);
    }
    fprintf(output, "}");
}

/* `more`: further members of the JSON object, each followed by a comma. */
void print_sample(const struct window *window, const char *mode, double rate, const char *more) {
    double wall = seconds_between(window->since, window->end);
    double operations = window->operations ? (double)window->operations : 1;
    fprintf(output, "{\"mode\":\"%s\",%s\"rate\":%.6g,\"cpu_us\":%.6g,\"faults\":%.4g,", mode, more, rate,
            (double)window->server_cpu / 1e3 / operations, (double)window->faults / operations);
    fprintf(output, "\"ops\":%llu,\"wall\":%.4f,\"server_cpu\":%.4f,\"generator_cpu\":%.4f,",
            (unsigned long long)window->operations, wall, (double)window->server_cpu / 1e9 / wall,
            (double)window->own_cpu / 1e9 / wall);
    print_latencies();
    fprintf(output, "}");
}
