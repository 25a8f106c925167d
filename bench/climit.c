/* The limit: a single-threaded, level-triggered epoll server of the benchmark's protocol.
 *
 * Does the same work as the other servers: a body and a long line are each held whole in memory before they are
 * answered, and the replies to what one read brought leave in one send. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <malloc.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_SIZE 65536
#define KEPT_SIZE 65536 /* a buffer that grew beyond this is freed when it is empty */
#define LONGEST_ECHO 4096
#define SENDS_PER_TURN 32
#define ACCEPTS_PER_TURN 64

struct buffer {
    char *data;
    size_t size, room;
};

struct connection {
    int fd, waits_to_write;
    struct buffer line; /* a line of which the end is missing */
    struct buffer replies;
    size_t replies_sent;
    char *body;
    size_t body_size, body_got;
    size_t zeros_left; /* to be sent for GET */
};

static int poll_fd;
static char received[READ_SIZE], zeros[65536];

static void append(struct buffer *buffer, const char *data, size_t size, size_t first_room) {
    if (buffer->size + size > buffer->room) {
        while (buffer->size + size > buffer->room) buffer->room = buffer->room ? buffer->room * 2 : first_room;
        buffer->data = realloc(buffer->data, buffer->room);
        if (!buffer->data) abort();
    }
    memcpy(buffer->data + buffer->size, data, size);
    buffer->size += size;
}

static void empty(struct buffer *buffer) {
    buffer->size = 0;
    if (buffer->room <= KEPT_SIZE) return;
    free(buffer->data);
    buffer->data = NULL;
    buffer->room = 0;
}

static void reply(struct connection *one, const char *data, size_t size) { append(&one->replies, data, size, 4096); }

static void reply_with_number(struct connection *one, const char *format, size_t number) {
    char text[48];
    reply(one, text, (size_t)snprintf(text, sizeof text, format, number));
}

static void wait_to_write(struct connection *one, int wanted) {
    struct epoll_event event = {.events = EPOLLIN | (wanted ? EPOLLOUT : 0), .data.ptr = one};
    if (one->waits_to_write == wanted) return;
    one->waits_to_write = wanted;
    epoll_ctl(poll_fd, EPOLL_CTL_MOD, one->fd, &event);
}

static void end(struct connection *one) {
    close(one->fd);
    free(one->line.data);
    free(one->replies.data);
    free(one->body);
    free(one);
}

/* Bytes sent; 0 if the kernel takes none now; -1 if the connection is dead. */
static ssize_t send_some(struct connection *one, const char *data, size_t size) {
    ssize_t sent = send(one->fd, data, size, MSG_NOSIGNAL);
    if (sent >= 0) return sent;
    if (errno != EAGAIN) return -1;
    wait_to_write(one, 1);
    return 0;
}

/* Sends what there is. Returns -1 if the connection is dead. */
static int flush(struct connection *one) {
    while (one->replies_sent < one->replies.size) {
        ssize_t sent = send_some(one, one->replies.data + one->replies_sent, one->replies.size - one->replies_sent);
        if (sent <= 0) return (int)sent;
        one->replies_sent += (size_t)sent;
    }
    one->replies_sent = 0;
    empty(&one->replies);
    for (int turn = 0; one->zeros_left; turn++) {
        size_t size = one->zeros_left < sizeof zeros ? one->zeros_left : sizeof zeros;
        if (turn == SENDS_PER_TURN) {
            wait_to_write(one, 1);
            return 0;
        }
        ssize_t sent = send_some(one, zeros, size);
        if (sent <= 0) return (int)sent;
        one->zeros_left -= (size_t)sent;
    }
    wait_to_write(one, 0);
    return 0;
}

/* `line` has `size` bytes and then CR LF. */
static void on_line(struct connection *one, const char *line, size_t size) {
    if (size > LONGEST_ECHO) {
        reply_with_number(one, "LEN %zu\r\n", size);
    } else if (size > 4 && !memcmp(line, "PUT ", 4)) {
        one->body_size = strtoul(line + 4, NULL, 10);
        one->body_got = 0;
        one->body = malloc(one->body_size);
        if (!one->body) abort();
    } else if (size > 4 && !memcmp(line, "GET ", 4)) {
        one->zeros_left += strtoul(line + 4, NULL, 10);
    } else {
        reply(one, line, size + 2);
    }
}

static void count_body(struct connection *one, size_t size) {
    one->body_got += size;
    if (one->body_got < one->body_size) return;
    reply_with_number(one, "OK %zu\r\n", one->body_size);
    free(one->body);
    one->body = NULL;
    one->body_size = 0;
}

static size_t body_missing(struct connection *one, size_t at_most) {
    size_t missing = one->body_size - one->body_got;
    return missing < at_most ? missing : at_most;
}

/* The LF of the first CR LF, or NULL. */
static const char *find_end_of_line(const char *from, const char *end) {
    for (const char *at = from; at < end && (at = memchr(at, '\n', (size_t)(end - at))); at++)
        if (at > from && at[-1] == '\r') return at;
    return NULL;
}

/* Takes a line, or what there is of one, from the front. Returns where the rest begins. */
static const char *take_line(struct connection *one, const char *from, const char *end) {
    struct buffer *line = &one->line;
    const char *last = NULL;
    if (line->size && line->data[line->size - 1] == '\r' && *from == '\n')
        last = from;
    else
        last = find_end_of_line(from, end);
    if (last && !line->size) {
        on_line(one, from, (size_t)(last - 1 - from));
        return last + 1;
    }
    append(line, from, (size_t)((last ? last + 1 : end) - from), 1024);
    if (!last) return end;
    on_line(one, line->data, line->size - 2);
    empty(line);
    return last + 1;
}

/* Returns -1 if the connection is dead. */
static int on_readable(struct connection *one) {
    if (one->body_size) { /* straight into the body */
        ssize_t count = recv(one->fd, one->body + one->body_got, body_missing(one, READ_SIZE), 0);
        if (count <= 0) return count < 0 && errno == EAGAIN ? 0 : -1;
        count_body(one, (size_t)count);
        return one->body_size ? 0 : flush(one);
    }
    ssize_t count = recv(one->fd, received, READ_SIZE, 0);
    if (count <= 0) return count < 0 && errno == EAGAIN ? 0 : -1;
    for (const char *at = received, *end = received + count; at < end;) {
        if (!one->body_size) {
            at = take_line(one, at, end);
            continue;
        }
        size_t size = body_missing(one, (size_t)(end - at));
        memcpy(one->body + one->body_got, at, size);
        count_body(one, size);
        at += size;
    }
    return (one->replies.size || one->zeros_left) && !one->waits_to_write ? flush(one) : 0;
}

static void accept_some(int listener) {
    int one = 1, fd;
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) return;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct connection *accepted = calloc(1, sizeof *accepted);
        if (!accepted) abort();
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = accepted};
        accepted->fd = fd;
        epoll_ctl(poll_fd, EPOLL_CTL_ADD, fd, &event);
    }
}

static int listen_on(int port) {
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    socklen_t size = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (void *)&address, size) || listen(fd, 4096) || getsockname(fd, (void *)&address, &size)) {
        perror("climit");
        exit(1);
    }
    printf("READY %d\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

static void on_event(struct connection *one, uint32_t events) {
    int dead = 0;
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) dead = on_readable(one);
    if (!dead && events & EPOLLOUT) dead = flush(one);
    if (dead) end(one);
}

int main(int count, char **arguments) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL}, events[512];
    struct rlimit files;
    int port = 0;
    /* Freed bodies stay mapped: page faults would be measured otherwise, not copying. */
    mallopt(M_MMAP_THRESHOLD, 1 << 30);
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
    for (int i = 1; i + 1 < count; i++)
        if (!strcmp(arguments[i], "--port")) port = atoi(arguments[i + 1]);
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    int listener = listen_on(port);
    poll_fd = epoll_create1(EPOLL_CLOEXEC);
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int ready = epoll_wait(poll_fd, events, 512, -1);
        for (int i = 0; i < ready; i++)
            if (events[i].data.ptr)
                on_event(events[i].data.ptr, events[i].events);
            else
                accept_some(listener);
    }
}
