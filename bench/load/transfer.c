/* Large bodies: up with PUT, down with GET. */
#define _GNU_SOURCE
#include "load.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define BLOCK 65536 /* one block that stays in the cache, sent over and over */
#define PIECES 20
#define DOWNLOAD_BUFFER (1 << 18)
#define STALLED_MS 20000

/* Noise with a CR LF in it now and then, which must not end a body. */
static char *new_block(void) {
    char *block = allocate(BLOCK);
    uint64_t state = 88172645463325252u; /* xorshift64 (Marsaglia 2003) */
    for (size_t i = 0; i < BLOCK; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        block[i] = (char)state;
    }
    for (size_t i = 1000; i + 2 < BLOCK; i += 9973) memcpy(block + i, "\r\n", 2);
    return block;
}

static char header[64], answer[64];
static size_t header_size, answer_size, message_size;
static char *block;

/* Whether the whole answer is here; it may come when the whole message was sent and not before. */
static int receive_answer(struct connection *one) {
    ssize_t count = recv(one->fd, one->buffer + one->received, answer_size - one->received, 0);
    if (!count || (count < 0 && errno != EAGAIN)) fail("upload: the server closed a connection");
    if (count > 0) one->received += (size_t)count;
    if (one->received < answer_size) return 0;
    if (memcmp(one->buffer, answer, answer_size) || one->sent != message_size) fail("upload: bad reply");
    one->received = one->sent = 0;
    return 1;
}

static void send_more(struct connection *one, struct window *window) {
    struct iovec pieces[PIECES];
    size_t count = 0, at = one->sent;
    if (at < header_size) {
        pieces[count++] = (struct iovec){header + at, header_size - at};
        at = header_size;
    }
    while (at < message_size && count < PIECES) {
        size_t offset = (at - header_size) % BLOCK, size = BLOCK - offset;
        if (size > message_size - at) size = message_size - at;
        pieces[count++] = (struct iovec){block + offset, size};
        at += size;
    }
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = count};
    ssize_t sent = sendmsg(one->fd, &message, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) fail("upload: send: %s", strerror(errno));
    if (sent > 0) {
        one->sent += (size_t)sent;
        window->bytes += (uint64_t)sent;
    }
}

static void upload_event(int poll_fd, struct connection *one, uint32_t events, uint64_t time, struct window *window) {
    if (events & EPOLLIN && receive_answer(one)) {
        if (window->measuring) {
            add_latency(now() - one->since);
            window->operations++;
        }
        watch_for(poll_fd, one->fd, EPOLLIN | EPOLLOUT, one);
        return;
    }
    if (!(events & EPOLLOUT) || one->sent == message_size) return;
    if (!one->sent) one->since = time;
    send_more(one, window);
    if (one->sent == message_size) watch_for(poll_fd, one->fd, EPOLLIN, one);
}

static void download_event(struct connection *one, size_t size, struct window *window) {
    static char buffer[DOWNLOAD_BUFFER];
    size_t wanted = size - one->received < sizeof buffer ? size - one->received : sizeof buffer;
    ssize_t count = recv(one->fd, buffer, wanted, 0);
    if (count < 0 && errno == EAGAIN) return;
    if (count <= 0) fail("download: the server closed a connection");
    if (buffer[0] || buffer[count - 1] || buffer[count / 2]) fail("download: a byte that is not zero");
    if (!one->received) one->since = now();
    one->received += (size_t)count;
    window->bytes += (uint64_t)count;
    if (one->received < size) return;
    if (window->measuring) {
        add_latency(now() - one->since);
        window->operations++;
    }
    one->received = 0;
    send_small(one->fd, header, header_size);
}

static void print_transfer(struct window *window, const char *mode) {
    close_window(window);
    print_sample(window, mode, (double)window->bytes / 1e6 / seconds_between(window->since, window->end), "");
    fprintf(output, "\n");
}

void run_upload(int connections, size_t size) {
    struct connection *all = allocate((size_t)connections * sizeof *all);
    struct epoll_event events[EVENTS];
    struct window window;
    int poll_fd = new_poll();
    header_size = (size_t)snprintf(header, sizeof header, "PUT %zu\r\n", size);
    answer_size = (size_t)snprintf(answer, sizeof answer, "OK %zu\r\n", size);
    message_size = header_size + size;
    block = new_block();
    for (int i = 0; i < connections; i++) {
        all[i] = (struct connection){.fd = connect_to_server(), .buffer = allocate(sizeof answer)};
        watch(poll_fd, all[i].fd, EPOLLIN | EPOLLOUT, &all[i]);
    }
    open_window(&window);
    for (;;) {
        int count = epoll_wait(poll_fd, events, EVENTS, STALLED_MS);
        if (count <= 0) fail("upload stalled");
        uint64_t time = now();
        if (window_is_over(&window, time)) break;
        for (int i = 0; i < count; i++) upload_event(poll_fd, events[i].data.ptr, events[i].events, time, &window);
    }
    print_transfer(&window, "upload");
}

void run_download(int connections, size_t size) {
    struct connection *all = allocate((size_t)connections * sizeof *all);
    struct epoll_event events[EVENTS];
    struct window window;
    int poll_fd = new_poll();
    header_size = (size_t)snprintf(header, sizeof header, "GET %zu\r\n", size);
    for (int i = 0; i < connections; i++) {
        all[i].fd = connect_to_server();
        watch(poll_fd, all[i].fd, EPOLLIN, &all[i]);
        send_small(all[i].fd, header, header_size);
    }
    open_window(&window);
    for (;;) {
        int count = epoll_wait(poll_fd, events, EVENTS, STALLED_MS);
        if (count <= 0) fail("download stalled");
        if (window_is_over(&window, now())) break;
        for (int i = 0; i < count; i++) download_event(events[i].data.ptr, size, &window);
    }
    print_transfer(&window, "download");
}
