"""How are the servers started, asked and loaded that the other scripts here measure?"""

import http.client
import json
import os
import pathlib
import platform
import secrets
import shutil
import socket
import stat
import subprocess
import sys
import time

# A server that has not said that it is ready by then will not.
START = 30.0
# PostgreSQL refuses to run as root; this is `nobody`, mostly.
UNPRIVILEGED = 65534


class Failed(Exception):
    """The measurement could not be made; the message says why."""


def cores() -> tuple[int, int]:
    """One for the servers that are measured, and another one for everything else."""
    try:
        usable = sorted(os.sched_getaffinity(0))
    except AttributeError:
        raise Failed("this needs Linux: nothing else can pin a process to a core") from None
    if len(usable) < 2:
        raise Failed("this needs two cores, one for the server and one for the load")
    return usable[0], usable[-1]


def complain(problem: object) -> int:
    print(f"{pathlib.Path(sys.argv[0]).stem}: {problem}", file=sys.stderr)
    return 1


# ---- Processes -----------------------------------------------------------------------------


def start(running, command, core: int | None, **settings) -> subprocess.Popen:
    """A process, on one core unless `core` is None, stopped when `running` ends."""
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


def pinned(core: int | None):
    """Before the program starts, so that it counts one core and sizes itself for that."""
    return None if core is None else lambda: os.sched_setaffinity(0, {core})


def program(variable: str) -> pathlib.Path:
    """What an environment variable names, which `make` sets."""
    if not os.environ.get(variable):
        raise Failed(f"{variable} names nothing; run this through `make`")
    return pathlib.Path(os.environ[variable])


def openbao(running, directory, core: int | None) -> tuple[str, str]:
    """A dev server: its address, and the root token."""
    port, root = free_port(), secrets.token_hex(16)
    address = f"http://127.0.0.1:{port}"
    with open(directory / "openbao.log", "wb") as log:
        start(running, [program("BAO_BIN"), "server", "-dev", "-dev-no-store-token",
                        f"-dev-listen-address=127.0.0.1:{port}"], core,
              stdout=log, stderr=log, env=os.environ | {
                  "BAO_DEV_ROOT_TOKEN_ID": root, "VAULT_DEV_ROOT_TOKEN_ID": root,
                  "HOME": str(directory)})
    wait(f"{address}/v1/sys/health", directory / "openbao.log")
    return address, root


def vaultlet(running, directory, core: int | None, build,
             upstream: str) -> tuple[str, str, subprocess.Popen]:
    """vaultlet as it comes, in front of `upstream`: its addresses, for callers and for operators,
    and its process."""
    address, admin = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    config = directory / "vaultlet.yaml"
    # Every JSON text is YAML.
    config.write_text(json.dumps({"upstream": {"address": upstream},
                                  "listeners": [{"address": address}],
                                  "admin": {"address": admin}}), encoding="utf-8")
    with open(directory / "vaultlet.log", "wb") as log:
        process = start(running, [build / "vaultlet", "serve", "--config", config], core,
                        stdout=log, stderr=log)
    wait(f"http://{address}/v1/sys/health", directory / "vaultlet.log")
    return f"http://{address}", f"http://{admin}", process


def postgres(running, directory, core: int | None) -> tuple[int, str]:
    """An empty PostgreSQL on loopback: its port, and the password of `postgres`."""
    home, password = directory / "postgres", secrets.token_hex(16)
    home.mkdir()
    programs = program("POSTGRES_BIN").resolve()
    user = {}
    if os.geteuid() == 0:
        user = {"user": UNPRIVILEGED, "group": UNPRIVILEGED}
        directory.chmod(0o755)
        if any(not above.stat().st_mode & stat.S_IXOTH for above in programs.parents):
            # Closed to that user, who so needs a copy: the programs look for the rest beside them.
            shutil.copytree(programs.parent, home / "programs", symlinks=True)
            programs = home / "programs" / programs.name
    (home / "password").touch(mode=0o600)
    (home / "password").write_text(password, encoding="utf-8")
    if user:
        subprocess.run(["chown", "-R", f"{UNPRIVILEGED}:{UNPRIVILEGED}", home], check=True)
    settings = {"cwd": home, "env": {"HOME": str(home)}} | user
    run = subprocess.run([programs / "initdb", "--pgdata", home / "data", "--username", "postgres",
                          "--pwfile", home / "password", "--auth", "password", "--no-sync",
                          "--encoding", "UTF8", "--no-locale"],
                         capture_output=True, text=True, check=False, **settings)
    if run.returncode != 0:
        raise Failed(f"initdb: {run.stderr[-2000:]}")
    port = free_port()
    with open(directory / "postgres.log", "wb") as log:
        command = [programs / "postgres", "-D", home / "data", "-p", str(port)]
        for setting in ("listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off"):
            command += ["-c", setting]
        start(running, command, core, stdout=log, stderr=log, **settings)
    end = time.monotonic() + START
    while time.monotonic() < end:
        if b"ready to accept connections" in (directory / "postgres.log").read_bytes():
            return port, password
        time.sleep(0.1)
    raise Failed("PostgreSQL does not start: " + tail(directory / "postgres.log"))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def tail(log: pathlib.Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")[-2000:]


# ---- Requests ------------------------------------------------------------------------------


def wait(url: str, log: pathlib.Path) -> None:
    """Until `url` answers; with the end of `log` if it does not."""
    end = time.monotonic() + START
    while time.monotonic() < end:
        try:
            call("GET", url)
            return
        except (OSError, Failed):
            time.sleep(0.1)
    raise Failed(f"{url} did not answer within {START:.0f} s; its log ends with:\n{tail(log)}")


class Connection:
    """A connection that stays open, with a token."""

    def __init__(self, address: str, token: str = "") -> None:
        self.address = address
        self.headers = {"X-Vault-Token": token} if token else {}
        self.http = http.client.HTTPConnection(address.removeprefix("http://"), timeout=60)

    def call(self, method: str, path: str, body: dict | None = None) -> tuple[bytes, str | None]:
        """What a request with a 2xx answer brings, and its `X-Cache`."""
        try:
            self.http.request(method, path, json.dumps(body) if body else None, self.headers)
            answer = self.http.getresponse()
            content = answer.read()
        except http.client.HTTPException as problem:
            raise Failed(f"{method} {self.address}{path}: {problem!r}") from problem
        if not 200 <= answer.status < 300:
            raise Failed(f"{method} {self.address}{path}: {answer.status} {content[:300]!r}")
        return content, answer.getheader("X-Cache")

    def close(self) -> None:
        self.http.close()


def call(method: str, url: str, token: str = "", body: dict | None = None) -> bytes:
    """One request with a 2xx answer, on a connection of its own."""
    authority, _, path = url.removeprefix("http://").partition("/")
    connection = Connection(f"http://{authority}", token)
    try:
        return connection.call(method, f"/{path}", body)[0]
    finally:
        connection.close()


# ---- Load ----------------------------------------------------------------------------------


def load(options, url: str, token: str, pid: int, core: int, seconds: int) -> dict:
    """What `vaultlet-loadtest` says of reading `url`, answered by process `pid`."""
    command = [options.build / "vaultlet-loadtest", "saturate", "--json", "--url", url,
               "--connections", str(options.connections), "--duration", f"{seconds}s",
               "--pid", str(pid)]
    run = subprocess.run(command, env=os.environ | {"VAULT_TOKEN": token}, text=True,
                         capture_output=True, preexec_fn=pinned(core), check=False)
    if run.returncode != 0:
        raise Failed(f"the load on {url} failed: {run.stdout}{run.stderr}")
    return json.loads(run.stdout)


def cpu(run: dict) -> float:
    """Microseconds of the server's CPU time for one answer."""
    return run["server_cpu"]["us_per_request"]


def processor() -> str:
    for line in pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
