"""A client made of Python's ssl module, for the wire tests.

Connects with a client certificate, sends seeded bytes and reads as many back from an echoing backend, both
at once, then closes with close_notify and prints one JSON object about what happened. With --twice it
connects again with the first connection's session and says whether that was resumed.
"""

import argparse
import hashlib
import json
import random
import select
import socket
import ssl

CHUNK_BYTES = 64 * 1024
PATIENCE_S = 60
VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def main():
    arguments = parse_arguments()
    context = make_context(arguments)
    report = converse(arguments, context, session=None)
    session = report.pop("session")
    if arguments.twice:
        second = converse(arguments, context, session=session)
        report["second_resumed"] = second["resumed"]
    print(json.dumps(report))


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--ca", required=True)
    parser.add_argument("--certificate", required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--version", choices=VERSIONS, required=True)
    parser.add_argument("--bytes", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--twice", action="store_true")
    return parser.parse_args()


def make_context(arguments):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = context.maximum_version = VERSIONS[arguments.version]
    context.load_verify_locations(arguments.ca)
    context.load_cert_chain(arguments.certificate, arguments.key)
    return context


def converse(arguments, context, session):
    plain = socket.create_connection(("127.0.0.1", arguments.port), timeout=PATIENCE_S)
    connection = context.wrap_socket(plain, server_hostname="localhost", session=session)
    sent, received = exchange(connection, arguments.seed, arguments.bytes)
    report = {
        "version": connection.version(),
        "cipher": connection.cipher()[0],
        "sent_sha256": sent,
        "received_sha256": received,
        "resumed": connection.session_reused,
        "session": connection.session,
    }
    connection.settimeout(PATIENCE_S)
    # Sends close_notify and waits for the peer's: raises where the stream ends without one.
    connection.unwrap().close()
    return report


def exchange(connection, seed, length):
    """Sends `length` bytes and receives `length` bytes; returns the SHA-256 of both."""
    connection.setblocking(False)
    source = random.Random(seed)
    sent, received = hashlib.sha256(), hashlib.sha256()
    to_make, to_receive, pending = length, length, memoryview(b"")
    while to_make or pending or to_receive > 0:
        if not pending and to_make:
            chunk = source.randbytes(min(CHUNK_BYTES, to_make))
            to_make -= len(chunk)
            sent.update(chunk)
            pending = memoryview(chunk)
        moved = False
        if pending:
            count = attempt(lambda: connection.send(pending))
            if count:
                pending = pending[count:]
                moved = True
        if to_receive > 0:
            data = attempt(lambda: connection.recv(CHUNK_BYTES))
            if data == b"":
                raise SystemExit(f"the stream ended {to_receive} bytes too early")
            if data:
                received.update(data)
                to_receive -= len(data)
                moved = True
        if not moved:
            await_readiness(connection, bool(pending))
    if to_receive < 0:
        raise SystemExit(f"{-to_receive} bytes too many")
    return sent.hexdigest(), received.hexdigest()


def attempt(operation):
    """The operation's result, or None if it would block."""
    try:
        return operation()
    except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
        return None


def await_readiness(connection, writable):
    readable, writable, _ = select.select([connection], [connection] if writable else [], [], PATIENCE_S)
    if not readable and not writable:
        raise SystemExit(f"nothing moved for {PATIENCE_S} s")


if __name__ == "__main__":
    main()
