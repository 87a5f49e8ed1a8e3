"""What does a cached read through vaultlet cost, compared with hyper answering the same bytes?

Starts an OpenBao dev server, vaultlet in front of it, and `bare`, a server that is hyper and
nothing else and gives the very head and body that vaultlet gave. Then it loads the two in turn,
the servers on one core and the load on another, and prints the medians as Markdown, for
docs/performance.md. `make bench` runs it; it needs Linux and two cores.
"""

import argparse
import contextlib
import json
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile
import time

from servers import (START, Failed, call, complain, cores, cpu, load, openbao, start, vaultlet)
import report

SECRET = "secret/data/measured"


def main() -> int:
    """Measures, prints, and says what went wrong in one line."""
    options = arguments()
    try:
        with contextlib.ExitStack() as running:
            text = measure(options, *cores(), running)
    except (Failed, OSError, subprocess.SubprocessError) as problem:
        return complain(problem)
    report.give(text, options.out)
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    report.common(parser)
    parser.add_argument("--value-bytes", type=int, default=400, help="length of the secret")
    return parser.parse_args()


def measure(options, server_core: int, load_core: int, running: contextlib.ExitStack) -> str:
    """The whole measurement; what it starts is stopped when `running` ends."""
    directory = pathlib.Path(running.enter_context(tempfile.TemporaryDirectory()))
    bao, root = openbao(running, directory, load_core)
    token = secret(bao, root, options.value_bytes)
    url, _, proxy = vaultlet(running, directory, server_core, options.build, bao)
    wire = directory / "answer"
    wire.write_bytes(cached_answer(url, token))
    bare_url, bare = bare_server(running, server_core, options.build, wire)

    servers = {"bare": (bare_url, bare.pid), "vaultlet": (url, proxy.pid)}

    def run(name: str, seconds: int) -> dict:
        target, pid = servers[name]
        return load(options, f"{target}/v1/{SECRET}", token, pid, load_core, seconds)

    runs = report.in_turn(options, servers, run)
    misses = report.misses(runs["vaultlet"])
    return markdown(options, runs, len(wire.read_bytes()), misses)


# ---- The servers ---------------------------------------------------------------------------


def secret(bao: str, root: str, value_bytes: int) -> str:
    """Writes the secret; the token that may read it."""
    call("POST", f"{bao}/v1/{SECRET}", root, {"data": {"value": "x" * value_bytes}})
    policy = f'path "{SECRET}" {{ capabilities = ["read"] }}'
    call("PUT", f"{bao}/v1/sys/policies/acl/measured", root, {"policy": policy})
    made = call("POST", f"{bao}/v1/auth/token/create", root, {"policies": ["measured"]})
    return json.loads(made)["auth"]["client_token"]


def bare_server(running, core: int, build, wire) -> tuple[str, subprocess.Popen]:
    """hyper alone, giving the answer in the file `wire`."""
    process = start(running, [build / "bare", "--answer", wire], core,
                    stdout=subprocess.PIPE, text=True)
    said = process.stdout.readline().split()
    if said[:2] != ["listening", "on"]:
        raise Failed(f"{build / 'bare'} did not start")
    return f"http://{said[2]}", process


def cached_answer(url: str, token: str) -> bytes:
    """A hit as it comes over the wire: what `bare` is to give too."""
    host, _, port = url.removeprefix("http://").partition(":")
    end = time.monotonic() + START
    while time.monotonic() < end:
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(f"GET /v1/{SECRET} HTTP/1.1\r\nHost: {host}:{port}\r\n"
                               f"X-Vault-Token: {token}\r\n\r\n".encode())
            wire = b""
            while b"\r\n\r\n" not in wire:
                wire += received(connection)
            head, _, body = wire.partition(b"\r\n\r\n")
            fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
            if b"content-length" not in fields:
                raise Failed(f"a read of {SECRET} has no Content-Length: {head[:300]!r}")
            while len(body) < int(fields[b"content-length"]):
                body += received(connection)
        if fields.get(b"x-cache") == b"hit":
            return head + b"\r\n\r\n" + body
        time.sleep(0.1)
    raise Failed(f"{SECRET} is still not answered from the cache after {START:.0f} s")


def received(connection: socket.socket) -> bytes:
    """What has come; a connection that ends instead is a failure."""
    piece = connection.recv(65536)
    if not piece:
        raise Failed("the connection ended within an answer")
    return piece


# ---- The report ----------------------------------------------------------------------------


def markdown(options, runs: dict, wire_bytes: int, misses: int) -> str:
    """The medians, and the ratio of each round with its range."""
    pairs = list(zip(runs["vaultlet"], runs["bare"], strict=True))
    of_cpu = [cpu(ours) / cpu(bare) for ours, bare in pairs]
    of_rate = [ours["per_second"] / bare["per_second"] for ours, bare in pairs]
    return "\n".join([
        report.table({"bare hyper": runs["bare"], "vaultlet, cached read": runs["vaultlet"]}),
        "",
        f"vaultlet to bare hyper: **{statistics.median(of_cpu):.2f} x the CPU per answer** "
        f"({min(of_cpu):.2f} to {max(of_cpu):.2f}), "
        f"**{statistics.median(of_rate):.2f} x the answers per second** "
        f"({min(of_rate):.2f} to {max(of_rate):.2f}).",
        "",
        f"{report.here()} Medians of "
        f"{options.rounds} interleaved runs of {options.seconds} s each, ratios per round; "
        f"{options.connections} connections, answers of {wire_bytes} bytes with the same headers; "
        f"server on one core, load on another; {misses} of vaultlet's answers were no hits.",
    ])


if __name__ == "__main__":
    sys.exit(main())
