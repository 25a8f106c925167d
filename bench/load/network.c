/* Connections to the server, and what to do when one of them misbehaves: end. */
#define _GNU_SOURCE
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define FIRST_PORT 10000
#define LAST_PORT 32700 /* below Linux's ephemeral ports, which begin at 32768 */
#define STALLED_MS 20000

FILE *output;
void (*last_words)(const char *reason);

void fail(const char *format, ...) {
    char reason[400];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    if (last_words) last_words(reason);
    printf("{\"error\": \"%s\"}\n", reason);
    fflush(stdout);
    exit(1);
}

void *allocate(size_t size) {
    void *memory = calloc(1, size);
    if (!memory) fail("out of memory");
    return memory;
}

static struct sockaddr_in loopback(int last_byte, int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl((INADDR_LOOPBACK & 0xffffff00u) | (uint32_t)last_byte);
    return address;
}

static int new_socket(void) {
    struct timeval limit = {15, 0}; /* bounds connect() too */
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) fail("socket: %s", strerror(errno));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    return fd;
}

static int made_ready(int fd) {
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    return fd;
}

/* Comes from 127.0.0.1 and, when that has no port left, from 127.0.0.2 and so on. */
int connect_to_server(void) {
    static int source = 1;
    struct sockaddr_in server = loopback(1, options.port);
    for (;;) {
        int one = 1, fd = new_socket();
        struct sockaddr_in own = loopback(source, 0);
        if (source > 1) {
            setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
            if (bind(fd, (void *)&own, sizeof own)) fail("bind: %s", strerror(errno));
        }
        if (!connect(fd, (void *)&server, sizeof server)) return made_ready(fd);
        if (errno != EADDRNOTAVAIL || source == 254) fail("connect: %s", strerror(errno));
        close(fd);
        source++;
    }
}

/* For many short connections: the kernel's search for a free port among thousands in TIME_WAIT would be measured. */
int connect_from_next_port(void) {
    static int port;
    struct sockaddr_in server = loopback(1, options.port);
    if (!port) port = FIRST_PORT + (int)(now() / 1000 % (LAST_PORT - FIRST_PORT));
    for (int attempt = 0; attempt < 200; attempt++) {
        int one = 1, fd = new_socket();
        port = port < LAST_PORT ? port + 1 : FIRST_PORT;
        struct sockaddr_in own = loopback(1, port);
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        if (!bind(fd, (void *)&own, sizeof own) && !connect(fd, (void *)&server, sizeof server)) return made_ready(fd);
        if (errno != EADDRINUSE && errno != EADDRNOTAVAIL) fail("connect: %s", strerror(errno));
        close(fd);
    }
    fail("connect: no port free among 200");
}

int new_poll(void) {
    int fd = epoll_create1(EPOLL_CLOEXEC);
    if (fd < 0) fail("epoll_create1: %s", strerror(errno));
    return fd;
}

static void control(int poll_fd, int operation, int fd, uint32_t events, void *data) {
    struct epoll_event event = {.events = events, .data.ptr = data};
    if (epoll_ctl(poll_fd, operation, fd, &event)) fail("epoll_ctl: %s", strerror(errno));
}

void watch(int poll_fd, int fd, uint32_t events, void *data) { control(poll_fd, EPOLL_CTL_ADD, fd, events, data); }

void watch_for(int poll_fd, int fd, uint32_t events, void *data) { control(poll_fd, EPOLL_CTL_MOD, fd, events, data); }

void send_small(int fd, const char *data, size_t size) {
    for (size_t sent = 0; sent < size;) {
        ssize_t count = send(fd, data + sent, size - sent, MSG_NOSIGNAL);
        struct pollfd writable = {fd, POLLOUT, 0};
        if (count > 0)
            sent += (size_t)count;
        else if (errno != EAGAIN)
            fail("send: %s", strerror(errno));
        else if (poll(&writable, 1, STALLED_MS) <= 0)
            fail("send stalled");
    }
}

/* Waits until these very bytes have come; `limit` in seconds. */
void expect(int fd, const char *wanted, size_t size, double limit) {
    char *found = allocate(size + 1);
    for (size_t received = 0; received < size;) {
        struct pollfd readable = {fd, POLLIN, 0};
        if (poll(&readable, 1, (int)(limit * 1000)) <= 0)
            fail("wanted %zu bytes, found %zu after %.0f s", size, received, limit);
        ssize_t count = recv(fd, found + received, size - received, 0);
        if (count <= 0) fail("wanted %zu bytes, found the connection closed after %zu", size, received);
        received += (size_t)count;
    }
    if (memcmp(found, wanted, size)) fail("wanted another reply of %zu bytes", size);
    free(found);
}

/* `count` lines of `length` bytes, CR LF included. */
void fill_lines(char *target, int count, int length, int salt) {
    for (int i = 0; i < count; i++) {
        char *line = target + (size_t)i * (size_t)length;
        for (int j = 0; j < length - 2; j++) line[j] = (char)('a' + (i * 7 + j * 3 + salt) % 26);
        line[length - 2] = '\r';
        line[length - 1] = '\n';
    }
}
