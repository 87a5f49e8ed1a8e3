"""How many instructions does a cached read take, and is that within its bound?

Counts what vaultlet executes in user space for each answer from memory, and what `bare` does, which
is hyper alone with the same head and body: both under valgrind's callgrind, so that the figures are
the same however busy the machine is. Fails when vaultlet takes more than its bound. `make gate`
runs it on the build that the tests use; it needs valgrind.
"""

import argparse
import contextlib
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import time

from servers import START, Failed, call, complain, free_port, openbao, start, wait

SECRET = "secret/data/measured"
CONNECTIONS = 4
WARM_UP = 500
# A round figure a tenth above what was counted when it was set, as a multiple of bare hyper's. A
# change that needs more says so here.
BOUNDS = {"debug": {"plain": 1.9, "audited": 7.6}, "quick": {"plain": 2.2, "audited": 8.6}}


def main() -> int:
    """Counts, prints, and says what is over its bound."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path("target/debug"),
                        help="where vaultlet, bare and vaultlet-loadtest are")
    parser.add_argument("--requests", type=int, default=4000)
    options = parser.parse_args()
    try:
        with contextlib.ExitStack() as running:
            counts = measure(options, running)
    except (Failed, OSError, subprocess.SubprocessError) as problem:
        return complain(problem)
    bounds = BOUNDS.get(options.build.name, {})
    over = False
    for name, count in counts.items():
        times, bound = count / counts["bare"], bounds.get(name)
        within = f", at most {bound} x" if bound else ""
        print(f"{name:8} {count:8,.0f} instructions an answer, {times:.2f} x bare hyper's{within}")
        over = over or bool(bound) and times > bound
    return complain("a cached read takes more than its bound") if over else 0


def measure(options, running: contextlib.ExitStack) -> dict:
    """Instructions an answer, by what was asked."""
    directory = pathlib.Path(running.enter_context(tempfile.TemporaryDirectory()))
    bao, root = openbao(running, directory, None)
    token, counts = secret(bao, root), {}
    for name, audit in (("plain", None), ("audited", {"file": str(directory / "audit.jsonl")})):
        address = f"127.0.0.1:{free_port()}"
        config = directory / f"{name}.yaml"
        # Nothing falls due while it is counted, and the numbers in the answers stay small.
        config.write_text(json.dumps({
            "upstream": {"address": bao}, "listeners": [{"address": address}],
            "admin": {"address": f"127.0.0.1:{free_port()}"}, "policy": {"refresh": "9m"},
            "cache": {"kv": {"ttl": "9m"}}} | ({"audit": audit} if audit else {})),
            encoding="utf-8")
        command = [options.build / "vaultlet", "serve", "--config", config]
        counted = Counted(running, directory, name, command)
        wait(f"http://{address}/v1/sys/health", counted.log)
        wire = cached_answer(f"http://{address}", token)
        counts[name] = counted.count(options, f"http://{address}", token)
    (directory / "answer").write_bytes(wire)
    address = f"127.0.0.1:{free_port()}"
    bare = Counted(running, directory, "bare", [
        options.build / "bare", "--listen", address, "--answer", directory / "answer"])
    wait(f"http://{address}/", bare.log)
    return {"bare": bare.count(options, f"http://{address}", token)} | counts


class Counted:
    """A server under callgrind, with one thread for its requests."""

    def __init__(self, running, directory, name: str, command: list) -> None:
        self.log, self.out = directory / f"{name}.log", directory / f"{name}.callgrind"
        valgrind = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={self.out}"]
        with open(self.log, "wb") as log:
            self.process = start(running, valgrind + command, None, stdout=log, stderr=log,
                                 env=os.environ | {"TOKIO_WORKER_THREADS": "1"})

    def count(self, options, url: str, token: str) -> float:
        """Instructions of one of many reads, after some that are not counted."""
        self.load(options, url, token, WARM_UP)
        self.control("--zero")
        self.load(options, url, token, options.requests)
        self.control("--dump")
        total = re.search(r"^(?:summary|totals): (\d+)", dumped(self.out), re.MULTILINE)
        if not total:
            raise Failed(f"callgrind wrote no total for {self.process.args[3]}")
        return int(total.group(1)) / options.requests

    def control(self, what: str) -> None:
        subprocess.run(["callgrind_control", what, str(self.process.pid)], check=True,
                       capture_output=True)

    def load(self, options, url: str, token: str, requests: int) -> None:
        command = [options.build / "vaultlet-loadtest", "saturate", "--json",
                   "--url", f"{url}/v1/{SECRET}", "--connections", str(CONNECTIONS),
                   "--requests", str(requests), "--duration", "5m"]
        run = subprocess.run(command, env=os.environ | {"VAULT_TOKEN": token}, text=True,
                             capture_output=True, check=False)
        said = json.loads(run.stdout) if run.returncode == 0 else {}
        if said.get("x_cache") != {"HIT": requests}:
            raise Failed(f"not every read was answered from memory: {run.stdout}{run.stderr}")


def dumped(out: pathlib.Path) -> str:
    """What a dump holds; it is there when callgrind_control has come back, or a moment later."""
    end = time.monotonic() + START
    while time.monotonic() < end:
        for file in out.parent.glob(f"{out.name}.*"):
            text = file.read_text(encoding="utf-8", errors="replace")
            if "\ntotals:" in text or "\nsummary:" in text:
                return text
        time.sleep(0.1)
    raise Failed(f"callgrind wrote nothing within {START:.0f} s")


def secret(bao: str, root: str) -> str:
    """Writes the secret; the token that may read it."""
    call("POST", f"{bao}/v1/{SECRET}", root, {"data": {"value": "x" * 400}})
    policy = f'path "{SECRET}" {{ capabilities = ["read"] }}'
    call("PUT", f"{bao}/v1/sys/policies/acl/measured", root, {"policy": policy})
    made = call("POST", f"{bao}/v1/auth/token/create", root, {"policies": ["measured"]})
    return json.loads(made)["auth"]["client_token"]


def cached_answer(url: str, token: str) -> bytes:
    """A hit as it comes over the wire: what `bare` is to give too."""
    host, _, port = url.removeprefix("http://").partition(":")
    end = time.monotonic() + START
    while time.monotonic() < end:
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(f"GET /v1/{SECRET} HTTP/1.1\r\nHost: {host}:{port}\r\n"
                               f"X-Vault-Token: {token}\r\nConnection: close\r\n\r\n".encode())
            wire = b"".join(iter(lambda: connection.recv(65536), b""))
        if b"\r\nx-cache: HIT\r\n" in wire:
            return wire
        time.sleep(0.1)
    raise Failed(f"{SECRET} is still not answered from the cache after {START:.0f} s")


if __name__ == "__main__":
    sys.exit(main())
