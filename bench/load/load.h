/* What the parts of the load generator share. */
#ifndef LOAD_H
#define LOAD_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#define EVENTS 512

/* What was asked for on the command line; times in seconds unless the name has another unit. */
struct options {
    int port;
    pid_t server;          /* whose CPU, memory and page faults are read; 0: nobody's */
    int connections;       /* 0: the mode's own number */
    int depth;             /* lines of a pipelined batch */
    long size;             /* bytes of a body or a line; 0: the mode's own number */
    const char *idle;      /* numbers of idle connections, ascending, separated by commas */
    int gap_us;            /* between two segments of drip */
    long most_connections; /* that churn opens: ports are finite */
    int spin;              /* poll without blocking: keeps this side's wake-up out of the latency */
    double seconds, warm_up, limit;
};
extern struct options options;

/* One connection of a load. */
struct connection {
    int fd;
    size_t received, sent;
    uint64_t since; /* when its present operation began */
    char *buffer;
};

/* The time in which operations count, and what the server used meanwhile. */
struct window {
    uint64_t begin, end, since, server_cpu, own_cpu, operations, bytes;
    long faults;
    int measuring;
};

/* clock.c: nanoseconds, and the server's figures */
uint64_t now(void);
uint64_t own_cpu(void);
uint64_t server_cpu(void);
long server_memory_kb(void);
long server_faults(void);
double seconds_between(uint64_t from, uint64_t to);

/* window.c */
void open_window(struct window *window);
int window_is_over(struct window *window, uint64_t time);
void add_latency(uint64_t nanoseconds);
void close_window(struct window *window);
void print_sample(const struct window *window, const char *mode, double rate, const char *more);

/* network.c: 127.0.0.1 only; whatever fails ends the program with {"error": ...} */
extern FILE *output;
extern void (*last_words)(const char *reason); /* called, if set, instead of printing an error */
void fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
void *allocate(size_t size);
int connect_to_server(void);
int connect_from_next_port(void);
void watch(int poll_fd, int fd, uint32_t events, void *data);
void watch_for(int poll_fd, int fd, uint32_t events, void *data);
int new_poll(void);
void send_small(int fd, const char *data, size_t size);
void expect(int fd, const char *wanted, size_t size, double limit);
void fill_lines(char *target, int count, int length, int salt);

/* the modes */
void run_echo(const char *mode, int connections, int lines, int length, const char *more);
void run_idle(int connections);
void run_scale(int connections);
void run_upload(int connections, size_t size);
void run_download(int connections, size_t size);
void run_drip(size_t size);
void run_churn(int slots);
void run_check(void);

#endif
