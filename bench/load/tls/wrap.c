/* TLS under the load generator: linked with -Wl,--wrap=connect,... its calls of the system go through OpenSSL.
 *
 * No certificate is verified: it is the server's cost that is measured. Under load, a read wants all of a record, so
 * nothing stays behind in OpenSSL, where epoll would not tell of it. */
#define _GNU_SOURCE
#include <errno.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define MOST_DESCRIPTORS 65536

void fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

int __real_connect(int fd, const struct sockaddr *address, socklen_t size);
ssize_t __real_sendmsg(int fd, const struct msghdr *message, int flags);
int __real_poll(struct pollfd *descriptors, nfds_t count, int timeout);
int __real_close(int fd);

static SSL *connections[MOST_DESCRIPTORS];

static SSL_CTX *context(void) {
    static SSL_CTX *one;
    if (one) return one;
    one = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_mode(one, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    return one;
}

int __wrap_connect(int fd, const struct sockaddr *address, socklen_t size) {
    int failed = __real_connect(fd, address, size);
    if (failed || address->sa_family != AF_INET) return failed;
    if (fd >= MOST_DESCRIPTORS) fail("descriptor %d is out of bounds", fd);
    connections[fd] = SSL_new(context());
    SSL_set_fd(connections[fd], fd);
    if (SSL_connect(connections[fd]) != 1) fail("the handshake of TLS failed");
    return 0;
}

static ssize_t outcome(SSL *connection, int count) {
    if (count > 0) return count;
    switch (SSL_get_error(connection, count)) {
        case SSL_ERROR_WANT_READ:
        case SSL_ERROR_WANT_WRITE:
            errno = EAGAIN;
            return -1;
        case SSL_ERROR_ZERO_RETURN:
            return 0;
        default:
            errno = ECONNRESET;
            return -1;
    }
}

ssize_t __wrap_recv(int fd, void *data, size_t size, int flags) {
    (void)flags;
    return outcome(connections[fd], SSL_read(connections[fd], data, (int)size));
}

ssize_t __wrap_send(int fd, const void *data, size_t size, int flags) {
    (void)flags;
    return outcome(connections[fd], SSL_write(connections[fd], data, (int)size));
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags) {
    ssize_t total = 0;
    for (size_t i = 0; i < message->msg_iovlen; i++) {
        const char *data = message->msg_iov[i].iov_base;
        for (size_t left = message->msg_iov[i].iov_len; left;) {
            ssize_t count = __wrap_send(fd, data, left, flags);
            if (count <= 0) return total ? total : count;
            data += count;
            left -= (size_t)count;
            total += count;
        }
    }
    return total;
}

/* Readable is what has data: a ticket for a session is none. */
int __wrap_poll(struct pollfd *descriptors, nfds_t count, int timeout) {
    SSL *connection = connections[descriptors->fd];
    char byte;
    for (;;) {
        if (descriptors->events == POLLIN && connection) {
            ssize_t found = outcome(connection, SSL_peek(connection, &byte, 1));
            if (found >= 0 || errno != EAGAIN) return 1;
        }
        int ready = __real_poll(descriptors, count, timeout);
        if (ready <= 0 || descriptors->events != POLLIN) return ready;
    }
}

int __wrap_close(int fd) {
    if (fd < MOST_DESCRIPTORS && connections[fd]) {
        SSL_shutdown(connections[fd]);
        SSL_free(connections[fd]);
        connections[fd] = NULL;
    }
    return __real_close(fd);
}
