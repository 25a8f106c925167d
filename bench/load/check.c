/* Does the server speak the protocol? Split terminators, bodies with CR LF in them, the limit of a line. */
#include "load.h"

#include <string.h>
#include <unistd.h>

#define LONGEST_ECHO 4096
#define LIMIT 10.0

static void check_text(int fd, const char *sent, const char *wanted, size_t wanted_size) {
    send_small(fd, sent, strlen(sent));
    expect(fd, wanted, wanted_size, LIMIT);
}

static void check_bytewise(int fd, const char *sent, const char *wanted, size_t wanted_size) {
    for (const char *at = sent; *at; at++) {
        send_small(fd, at, 1);
        usleep(1500); /* so that it is a read of its own */
    }
    expect(fd, wanted, wanted_size, LIMIT);
}

void run_check(void) {
    static const char commands[] = "hello\r\nPUT 12\r\nab\r\ncd\r\nef\r\nGET 5\r\n";
    static const char replies[] = "hello\r\nOK 12\r\n\0\0\0\0";
    static const char odd[] = "a\rb\nc\r\r\n\r\n";
    static char line[5002];
    int fd = connect_to_server();
    check_text(fd, commands, replies, sizeof replies);
    check_bytewise(fd, commands, replies, sizeof replies);
    check_text(fd, odd, odd, sizeof odd - 1);

    memset(line, 'y', sizeof line);
    memcpy(line + 5000, "\r\n", 2);
    send_small(fd, line, sizeof line);
    expect(fd, "LEN 5000\r\n", 10, LIMIT);
    memcpy(line + LONGEST_ECHO, "\r\n", 2);
    send_small(fd, line, LONGEST_ECHO + 2);
    expect(fd, line, LONGEST_ECHO + 2, LIMIT);
    fprintf(output, "{\"mode\":\"check\",\"rate\":1}\n");
}
