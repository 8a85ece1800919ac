"""A mail server of the outside world: it speaks SMTP (RFC 5321) on a socket and keeps what it accepts."""

from __future__ import annotations

import socketserver
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from threading import Thread

EHLO = b"250-mail.test\r\n250-8BITMIME\r\n250 SIZE 10485760\r\n"


@dataclass
class MailServer:
    port: int
    accepted: list[tuple[str, list[str], EmailMessage]] = field(default_factory=list)
    refusing: bool = False  # answers 451 to every sender, as a server that is busy


class _Session(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        mail: MailServer = self.server.mail  # type: ignore[attr-defined]
        self.wfile.write(b"220 mail.test ESMTP\r\n")
        sender, recipients = "", []
        while line := self.rfile.readline(2048):
            verb, _, rest = line.decode("ascii").strip().partition(" ")
            match verb.upper():
                case "EHLO" | "HELO":
                    self.wfile.write(EHLO)
                case "MAIL" if mail.refusing:
                    self.wfile.write(b"451 4.3.0 busy\r\n")
                case "MAIL":
                    sender, recipients = _address(rest), []
                    self.wfile.write(b"250 2.1.0 OK\r\n")
                case "RCPT":
                    recipients.append(_address(rest))
                    self.wfile.write(b"250 2.1.5 OK\r\n")
                case "DATA":
                    self.wfile.write(b"354 End with .\r\n")
                    mail.accepted.append((sender, recipients, self._message()))
                    self.wfile.write(b"250 2.0.0 queued\r\n")
                case "QUIT":
                    self.wfile.write(b"221 2.0.0 bye\r\n")
                    return
                case "RSET" | "NOOP":
                    self.wfile.write(b"250 2.0.0 OK\r\n")
                case _:
                    self.wfile.write(b"502 5.5.1 not implemented\r\n")

    def _message(self) -> EmailMessage:
        lines = []
        while (line := self.rfile.readline()) not in {b".\r\n", b""}:
            lines.append(line[1:] if line.startswith(b".") else line)
        message = message_from_bytes(b"".join(lines), policy=policy.default)
        assert isinstance(message, EmailMessage)
        return message


def _address(text: str) -> str:
    return text[text.index("<") + 1 : text.index(">")]


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address, daemon_threads = True, True


@contextmanager
def mail_server() -> Iterator[MailServer]:
    with _Server(("127.0.0.1", 0), _Session) as server:
        mail = MailServer(server.server_address[1])
        server.mail = mail  # type: ignore[attr-defined]
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield mail
        finally:
            server.shutdown()
            thread.join()
