"""gevent's StreamServer: a greenlet for each connection; recv, split, one sendall."""

import socket

from _listening import announce, parser
from gevent.server import StreamServer

CHUNK = b"\0" * 65536


def handle(sock: socket.socket, addr: object) -> None:  # noqa: C901 (inlined, as the asyncio protocol)
    """Answer until the client goes away."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    recv, sendall = sock.recv, sock.sendall
    data = b""
    try:
        while True:
            # `data` was received and not used yet; it holds no whole line.
            if b"\r\n" not in data:
                parts = [data]
                while True:
                    more = recv(65536)
                    if not more:
                        return
                    if more[0] == 10 and parts[-1][-1:] == b"\r":
                        parts[-1] = parts[-1][:-1]
                        more = b"\r" + more
                    parts.append(more)
                    if b"\r\n" in more:
                        break
                data = b"".join(parts)
            lines = data.split(b"\r\n")
            tail = lines.pop()
            out = []
            position = 0
            for line in lines:
                size = len(line)
                position += size + 2
                if size > 4096:
                    out.append(b"LEN %d\r\n" % size)
                    continue
                command = line[:4]
                if command == b"PUT ":
                    size_of_body = int(line[4:])
                    body = data[position : position + size_of_body]
                    tail = data[position + size_of_body :]
                    got = len(body)
                    if got < size_of_body:
                        parts = [body]
                        while got < size_of_body:
                            more = recv(min(size_of_body - got, 262144))
                            if not more:
                                return
                            parts.append(more)
                            got += len(more)
                        body = b"".join(parts)
                    out.append(b"OK %d\r\n" % len(body))
                    break
                if command == b"GET ":
                    if out:
                        sendall(b"".join(out))
                        out = []
                    left = int(line[4:])
                    while left > 0:
                        sendall(CHUNK if left >= 65536 else CHUNK[:left])
                        left -= 65536
                else:
                    out.append(line + b"\r\n")
            data = tail
            if out:
                sendall(b"".join(out))
    except OSError:
        pass
    finally:
        sock.close()


server = StreamServer(("127.0.0.1", parser().parse_args().port), handle, backlog=4096)
server.start()
announce(server.server_port)
server.serve_forever()
