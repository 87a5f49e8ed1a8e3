"""What does a cached read through vaultlet cost, compared with hyper answering the same bytes?

Starts an OpenBao dev server, vaultlet in front of it, and `bare`, a server that is hyper and
nothing else and gives the very head and body that vaultlet gave. Then it loads the two in turn,
the servers on one core and the load on another, and prints the medians as Markdown, for
docs/performance.md. `make bench` runs it; it needs Linux and two cores.
"""

import argparse
import contextlib
import datetime
import http.client
import json
import os
import pathlib
import platform
import secrets
import socket
import statistics
import subprocess
import sys
import tempfile
import time

# A server that has not said that it is ready by then will not.
START = 20.0
SECRET = "secret/data/measured"


def main() -> int:
    """Measures, prints, and says what went wrong in one line."""
    options = arguments()
    try:
        cores = sorted(os.sched_getaffinity(0))
    except AttributeError:
        return complain("this needs Linux: nothing else can pin a process to a core")
    if len(cores) < 2:
        return complain("this needs two cores, one for the server and one for the load")
    if "BAO_BIN" not in os.environ:
        return complain("BAO_BIN names no server; run it through `make bench`")
    try:
        with contextlib.ExitStack() as running:
            report = measure(options, cores[0], cores[-1], running)
    except (Failed, OSError, subprocess.SubprocessError) as problem:
        return complain(str(problem))
    print(report)
    if options.out:
        options.out.write_text(report + "\n", encoding="utf-8")
    return 0


class Failed(Exception):
    """The measurement could not be made; the message says why."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path("target/quick"),
                        help="where vaultlet, bare and vaultlet-loadtest are")
    parser.add_argument("--rounds", type=int, default=7, help="runs of each server")
    parser.add_argument("--seconds", type=int, default=5, help="length of a run")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--value-bytes", type=int, default=400, help="length of the secret")
    parser.add_argument("--out", type=pathlib.Path, help="a file for what is printed")
    return parser.parse_args()


def complain(problem: str) -> int:
    print(f"measure: {problem}", file=sys.stderr)
    return 1


def measure(options, server_core: int, load_core: int, running: contextlib.ExitStack) -> str:
    """The whole measurement; what it starts is stopped when `running` ends."""
    directory = pathlib.Path(running.enter_context(tempfile.TemporaryDirectory()))
    token, bao = openbao(running, directory, load_core, options.value_bytes)
    url, vaultlet = proxy(running, directory, server_core, options.build, bao)
    wire = directory / "answer"
    wire.write_bytes(cached_answer(url, token))
    bare_url, bare = bare_server(running, server_core, options.build, wire)

    def load(target: str, pid: int, seconds: int) -> dict:
        command = [options.build / "vaultlet-loadtest", "--json", "--url", f"{target}/v1/{SECRET}",
                   "--connections", str(options.connections), "--duration", f"{seconds}s",
                   "--pid", str(pid)]
        run = subprocess.run(command, env=os.environ | {"VAULT_TOKEN": token}, text=True,
                             capture_output=True, preexec_fn=pinned(load_core), check=False)
        if run.returncode != 0:
            raise Failed(f"the load on {target} failed: {run.stdout}{run.stderr}")
        return json.loads(run.stdout)

    servers = {"bare": (bare_url, bare.pid), "vaultlet": (url, vaultlet.pid)}
    runs = {name: [] for name in servers}
    for target, pid in servers.values():
        load(target, pid, 1)
    for number in range(options.rounds):
        # Turn and turn about: what drifts during the rounds touches both alike.
        for name in sorted(servers, reverse=number % 2 == 1):
            runs[name].append(load(*servers[name], options.seconds))
    misses = sum(run["answers"] - run["x_cache"].get("HIT", 0) for run in runs["vaultlet"])
    answers = sum(run["answers"] for run in runs["vaultlet"])
    if misses > answers / 1000:
        raise Failed(f"{misses} of {answers} reads were no hits, so hits were not measured")
    return markdown(options, runs, len(wire.read_bytes()), misses)


# ---- The servers ---------------------------------------------------------------------------


def start(running: contextlib.ExitStack, command, core: int, **settings) -> subprocess.Popen:
    """A process on one core, stopped when `running` ends."""
    process = subprocess.Popen(command, preexec_fn=pinned(core), **settings)

    def stop() -> None:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    running.callback(stop)
    return process


def pinned(core: int):
    """Before the program starts, so that it counts one core and sizes itself for that."""
    return lambda: os.sched_setaffinity(0, {core})


def openbao(running, directory, core: int, value_bytes: int) -> tuple[str, str]:
    """A dev server with one secret: the token that may read it, and the address."""
    port, root = free_port(), secrets.token_hex(16)
    address = f"http://127.0.0.1:{port}"
    with open(directory / "openbao.log", "wb") as log:
        start(running, [os.environ["BAO_BIN"], "server", "-dev", "-dev-no-store-token",
                        f"-dev-listen-address=127.0.0.1:{port}"], core,
              stdout=log, stderr=log, env=os.environ | {
                  "BAO_DEV_ROOT_TOKEN_ID": root, "VAULT_DEV_ROOT_TOKEN_ID": root,
                  "HOME": str(directory)})
    wait(f"{address}/v1/sys/health", directory / "openbao.log")
    call("POST", f"{address}/v1/{SECRET}", root, {"data": {"value": "x" * value_bytes}})
    policy = f'path "{SECRET}" {{ capabilities = ["read"] }}'
    call("PUT", f"{address}/v1/sys/policies/acl/measured", root, {"policy": policy})
    made = call("POST", f"{address}/v1/auth/token/create", root, {"policies": ["measured"]})
    return json.loads(made)["auth"]["client_token"], address


def proxy(running, directory, core: int, build, upstream: str) -> tuple[str, subprocess.Popen]:
    """vaultlet as it comes, in front of `upstream`."""
    address, admin = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    config = directory / "vaultlet.yaml"
    config.write_text(
        f"upstream: {{ address: '{upstream}' }}\n"
        f"listeners: [ {{ address: '{address}' }} ]\n"
        f"admin: {{ address: '{admin}' }}\n", encoding="utf-8")
    with open(directory / "vaultlet.log", "wb") as log:
        process = start(running, [build / "vaultlet", "serve", "--config", config], core,
                        stdout=log, stderr=log)
    wait(f"http://{address}/v1/sys/health", directory / "vaultlet.log")
    return f"http://{address}", process


def bare_server(running, core: int, build, wire) -> tuple[str, subprocess.Popen]:
    """hyper alone, giving the answer in the file `wire`."""
    process = start(running, [build / "bare", "--answer", wire], core,
                    stdout=subprocess.PIPE, text=True)
    said = process.stdout.readline().split()
    if said[:2] != ["listening", "on"]:
        raise Failed(f"{build / 'bare'} did not start")
    return f"http://{said[2]}", process


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait(url: str, log: pathlib.Path) -> None:
    """Until `url` answers; with the end of `log` if it does not."""
    end = time.monotonic() + START
    while time.monotonic() < end:
        try:
            call("GET", url)
            return
        except (OSError, Failed):
            time.sleep(0.1)
    last = log.read_text(encoding="utf-8", errors="replace")[-2000:]
    raise Failed(f"{url} did not answer within {START:.0f} s; its log ends with:\n{last}")


def call(method: str, url: str, token: str = "", body: dict | None = None) -> bytes:
    """One request with a 2xx answer."""
    host, _, path = url.removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection(host, timeout=10)
    try:
        headers = {"X-Vault-Token": token} if token else {}
        connection.request(method, f"/{path}", json.dumps(body) if body else None, headers)
        answer = connection.getresponse()
        if not 200 <= answer.status < 300:
            raise Failed(f"{method} {url}: {answer.status} {answer.read(300)!r}")
        return answer.read()
    except http.client.HTTPException as problem:
        raise Failed(f"{method} {url}: {problem!r}") from problem
    finally:
        connection.close()


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
    rows = []
    for name, title in (("bare", "bare hyper"), ("vaultlet", "vaultlet, cached read")):
        values = [
            median(runs[name], lambda run: run["per_second"]),
            median(runs[name], cpu),
            median(runs[name], lambda run: run["latency_us"]["p50"]),
            median(runs[name], lambda run: run["latency_us"]["p99"]),
            100 * median(runs[name], lambda run: cpu(run) * run["per_second"] / 1e6),
        ]
        rows.append("| {} | {:,.0f} | {:.2f} | {:,.0f} | {:,.0f} | {:.0f} % |".format(title, *values))
    pairs = list(zip(runs["vaultlet"], runs["bare"], strict=True))
    of_cpu = [cpu(ours) / cpu(bare) for ours, bare in pairs]
    of_rate = [ours["per_second"] / bare["per_second"] for ours, bare in pairs]
    today = datetime.datetime.now(datetime.timezone.utc).date()
    return "\n".join([
        "| | answers/s | server CPU per answer, µs | p50, µs | p99, µs | core used |",
        "|---|---|---|---|---|---|",
        *rows,
        "",
        f"vaultlet to bare hyper: **{statistics.median(of_cpu):.2f} x the CPU per answer** "
        f"({min(of_cpu):.2f} to {max(of_cpu):.2f}), "
        f"**{statistics.median(of_rate):.2f} x the answers per second** "
        f"({min(of_rate):.2f} to {max(of_rate):.2f}).",
        "",
        f"{today}; {platform.system()} {platform.release()}, {processor()}. Medians of "
        f"{options.rounds} interleaved runs of {options.seconds} s each, ratios per round; "
        f"{options.connections} connections, answers of {wire_bytes} bytes with the same headers; "
        f"server on one core, load on another; {misses} of vaultlet's answers were no hits.",
    ])


def cpu(run: dict) -> float:
    return run["server_cpu"]["us_per_request"]


def median(runs: list, value) -> float:
    return statistics.median(value(run) for run in runs)


def processor() -> str:
    for line in pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


if __name__ == "__main__":
    sys.exit(main())
