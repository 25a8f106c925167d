/* Clocks, and what the system tells about the server: its CPU time, memory and page faults. */
#define _GNU_SOURCE
#include "load.h"

#include <string.h>
#include <time.h>

static uint64_t read_clock(clockid_t clock) {
    struct timespec time;
    if (clock_gettime(clock, &time)) return 0;
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

uint64_t now(void) { return read_clock(CLOCK_MONOTONIC); }

uint64_t own_cpu(void) { return read_clock(CLOCK_PROCESS_CPUTIME_ID); }

uint64_t server_cpu(void) {
    clockid_t clock;
    if (!options.server || clock_getcpuclockid(options.server, &clock)) return 0;
    return read_clock(clock);
}

double seconds_between(uint64_t from, uint64_t to) { return (double)(to - from) / 1e9; }

static FILE *open_of_server(const char *name) {
    char path[64];
    if (!options.server) return NULL;
    snprintf(path, sizeof path, "/proc/%d/%s", (int)options.server, name);
    return fopen(path, "r");
}

long server_memory_kb(void) {
    char line[256];
    long kilobytes = -1;
    FILE *file = open_of_server("status");
    if (!file) return -1;
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "VmRSS: %ld", &kilobytes) == 1) break;
    fclose(file);
    return kilobytes;
}

long server_faults(void) {
    char line[1024], *rest = NULL;
    long faults = 0;
    FILE *file = open_of_server("stat");
    if (!file) return 0;
    /* proc_pid_stat(5): the name may hold blanks and parentheses; minflt is the 8th field after it. */
    if (fgets(line, sizeof line, file)) rest = strrchr(line, ')');
    if (rest) sscanf(rest + 1, " %*c %*d %*d %*d %*d %*d %*u %ld", &faults);
    fclose(file);
    return faults;
}
