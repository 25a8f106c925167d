/* The load generator of the benchmark: one thread, epoll, 127.0.0.1, bounded in time.
 *
 * Prints one JSON object. Every reply is compared with what was expected; one that differs, a connection that
 * the server closes, or a limit that passes ends the program with {"error": ...} and status 1. */
#define _GNU_SOURCE
#include "load.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static const char usage[] =
    "usage: loadgen MODE -p PORT [option ...]\n"
    "modes: check pingpong pipeline upload download churn drip idle scale\n"
    "  -P PID      the server: its CPU time, memory and page faults are read\n"
    "  -t SECONDS  to measure (1)            -w SECONDS  to warm up (0.25)\n"
    "  -n COUNT    connections               -d COUNT    lines of a pipelined batch (64)\n"
    "  -s BYTES    of a body or a line       -i COUNTS   of idle connections (9000; scale: 10,100,...)\n"
    "  -g US       between drip's segments   -k COUNT    connections of churn at most (60000)\n"
    "  -H SECONDS  that set-up or drip may take (60)    -S  poll without blocking\n";

struct options options = {
    .depth = 64, .gap_us = 20, .most_connections = 60000, .seconds = 1, .warm_up = 0.25, .limit = 60, .idle = "9000"};

static void read_options(int count, char **arguments) {
    int option;
    optind = 2;
    while ((option = getopt(count, arguments, "p:P:n:t:w:d:s:i:g:k:H:S")) != -1) switch (option) {
            case 'p':
                options.port = atoi(optarg);
                break;
            case 'P':
                options.server = atoi(optarg);
                break;
            case 'n':
                options.connections = atoi(optarg);
                break;
            case 't':
                options.seconds = atof(optarg);
                break;
            case 'w':
                options.warm_up = atof(optarg);
                break;
            case 'd':
                options.depth = atoi(optarg);
                break;
            case 's':
                options.size = atol(optarg);
                break;
            case 'i':
                options.idle = optarg;
                break;
            case 'g':
                options.gap_us = atoi(optarg);
                break;
            case 'k':
                options.most_connections = atol(optarg);
                break;
            case 'H':
                options.limit = atof(optarg);
                break;
            case 'S':
                options.spin = 1;
                break;
            default:
                fputs(usage, stderr);
                exit(2);
        }
}

static int is(const char *mode, const char *name) { return !strcmp(mode, name); }

static int connections(int by_default) { return options.connections ? options.connections : by_default; }

static size_t size(size_t by_default) { return options.size ? (size_t)options.size : by_default; }

static void run(const char *mode) {
    if (is(mode, "check"))
        run_check();
    else if (is(mode, "pingpong"))
        run_echo(mode, connections(1), 1, 64, "");
    else if (is(mode, "pipeline"))
        run_echo(mode, connections(16), options.depth, 32, "");
    else if (is(mode, "upload"))
        run_upload(connections(4), size(1 << 20));
    else if (is(mode, "download"))
        run_download(connections(4), size(16 << 20));
    else if (is(mode, "churn"))
        run_churn(connections(16));
    else if (is(mode, "drip"))
        run_drip(size(8 << 20));
    else if (is(mode, "idle"))
        run_idle(connections(50));
    else if (is(mode, "scale"))
        run_scale(connections(50));
    else {
        fputs(usage, stderr);
        exit(2);
    }
}

int main(int count, char **arguments) {
    struct rlimit files;
    output = stdout;
    if (count < 2) {
        fputs(usage, stderr);
        return 2;
    }
    read_options(count, arguments);
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    run(arguments[1]);
    return 0;
}
