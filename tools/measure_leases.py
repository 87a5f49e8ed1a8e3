"""What does a leased credential cost through vaultlet?

Of database users of a real PostgreSQL, behind a real OpenBao:

* one answered from memory, compared with the cache of OpenBao's own proxy;
* one made for the first time, compared with asking OpenBao itself;
* with `--many N` instead: N of them, with a lease of a minute each, kept alive. Are they renewed
  evenly, is none missed, and what does it cost?

`make bench-leases` runs it; it needs Linux and two cores. The report is Markdown, for
docs/performance.md. It exits with 1 if one of the N was lost or a bound was not held.
"""

import argparse
import concurrent.futures
import contextlib
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

from servers import (Connection, Failed, call, complain, cores, cpu, free_port, load, openbao,
                     postgres, program, start, vaultlet, wait)
import report

CREDS = "/v1/database/creds"
TEMPLATE = """CREATE ROLE "{{name}}" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}';"""
# What asks at once when many are made or looked up.
WORKERS = 8
# The bounds that --many holds vaultlet to.
LARGEST_TO_MEAN = 3.0
LARGEST_CPU = 5.0


def main() -> int:
    """Measures, prints, and says what went wrong in one line."""
    options = arguments()
    try:
        with contextlib.ExitStack() as running:
            text, broken = many(options, running) if options.many else compare(options, running)
    except (Failed, OSError, subprocess.SubprocessError) as problem:
        return complain(problem)
    report.give(text, options.out)
    return complain("; ".join(broken)) if broken else 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    report.common(parser)
    parser.add_argument("--generations", type=int, default=100,
                        help="first credentials asked of each server")
    parser.add_argument("--many", type=int, default=0, metavar="N",
                        help="keep N leases of a minute alive, and compare nothing")
    parser.add_argument("--window", type=int, default=120, help="seconds that --many looks at")
    return parser.parse_args()


# ---- One from memory, and the first one ----------------------------------------------------


def compare(options, running: contextlib.ExitStack) -> tuple[str, list]:
    server_core, load_core = cores()
    directory = pathlib.Path(running.enter_context(tempfile.TemporaryDirectory()))
    bao, root = openbao(running, directory, load_core)
    database(running, directory, load_core, bao, root, options.generations + 1, "1h")
    url, _, ours = vaultlet(running, directory, server_core, options.build, bao)
    bao_url, theirs = bao_proxy(running, directory, server_core, bao)
    # OpenBao's proxy keeps leases for tokens only that were made through it.
    made = call("POST", f"{bao_url}/v1/auth/token/create-orphan", root, {"policies": ["measured"]})
    token = json.loads(made)["auth"]["client_token"]

    servers = {"proxy": (bao_url, theirs.pid), "vaultlet": (url, ours.pid)}

    def run(name: str, seconds: int) -> dict:
        target, pid = servers[name]
        return load(options, f"{target}{CREDS}/0", token, pid, load_core, seconds)

    runs = report.in_turn(options, servers, run)
    missed = sum(report.misses(runs[name]) for name in servers)
    pairs = list(zip(runs["vaultlet"], runs["proxy"], strict=True))
    of_p50 = [ours["latency_us"]["p50"] / other["latency_us"]["p50"] for ours, other in pairs]
    of_cpu = [cpu(ours) / cpu(other) for ours, other in pairs]
    first = generations(options, url, bao, token)
    return "\n".join([
        report.table({"OpenBao's proxy, its own cache": runs["proxy"],
                      "vaultlet, from memory": runs["vaultlet"]}),
        "",
        f"vaultlet to OpenBao's proxy: **{statistics.median(of_p50):.2f} x the p50** "
        f"({min(of_p50):.2f} to {max(of_p50):.2f}), **{statistics.median(of_cpu):.2f} x the CPU "
        f"per answer** ({min(of_cpu):.2f} to {max(of_cpu):.2f}).",
        "",
        first,
        "",
        f"{report.here()} Medians of {options.rounds} interleaved runs of {options.seconds} s "
        f"each, ratios per round; {options.connections} connections; servers on one core, load, "
        f"OpenBao and PostgreSQL on another; {missed} answers were no hits.",
    ]), []


def bao_proxy(running, directory, core: int, upstream: str) -> tuple[str, subprocess.Popen]:
    """OpenBao's own proxy with its cache on."""
    port = free_port()
    config = directory / "proxy.hcl"
    config.write_text(
        f'vault {{ address = "{upstream}" }}\n'
        "cache {}\n"
        f'listener "tcp" {{ address = "127.0.0.1:{port}" tls_disable = true }}\n',
        encoding="utf-8")
    with open(directory / "proxy.log", "wb") as log:
        process = start(running, [program("BAO_BIN"), "proxy", f"-config={config}"], core,
                        stdout=log, stderr=log, env=os.environ | {"HOME": str(directory)})
    wait(f"http://127.0.0.1:{port}/v1/sys/health", directory / "proxy.log")
    return f"http://127.0.0.1:{port}", process


def generations(options, url: str, bao: str, token: str) -> str:
    """The first credential of each role through vaultlet, and one more from OpenBao itself."""
    took = {"direct": [], "vaultlet": []}
    through = {"direct": Connection(bao, token), "vaultlet": Connection(url, token)}
    for role in range(1, options.generations + 1):
        for name in sorted(through, reverse=role % 2 == 1):
            began = time.perf_counter()
            _, cached = through[name].call("GET", f"{CREDS}/{role}")
            took[name].append(1000 * (time.perf_counter() - began))
            if cached == "HIT":
                raise Failed(f"{CREDS}/{role} was answered from memory before it was made")
    direct, ours = statistics.median(took["direct"]), statistics.median(took["vaultlet"])
    return (f"The first credential of a role: {ours:.2f} ms through vaultlet, {direct:.2f} ms from "
            f"OpenBao itself, **{ours / direct:.2f} x** (medians of {options.generations} each, "
            "in turn).")


def database(running, directory, core, bao: str, root: str, roles: int, ttl: str) -> None:
    """A PostgreSQL behind `bao`, with the roles 0 to `roles` - 1, and a policy to use them."""
    port, password = postgres(running, directory, core)
    call("POST", f"{bao}/v1/sys/mounts/database", root, {"type": "database"})
    call("POST", f"{bao}/v1/database/config/postgres", root, {
        "plugin_name": "postgresql-database-plugin", "allowed_roles": "*",
        "connection_url": f"postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{port}"
                          "/postgres?sslmode=disable",
        "username": "postgres", "password": password, "max_open_connections": WORKERS})
    role = {"db_name": "postgres", "creation_statements": [TEMPLATE],
            "default_ttl": ttl, "max_ttl": "24h"}
    connection = Connection(bao, root)
    for name in range(roles):
        connection.call("POST", f"/v1/database/roles/{name}", role)
    policy = 'path "database/creds/*" { capabilities = ["read"] }'
    connection.call("PUT", "/v1/sys/policies/acl/measured", {"policy": policy})
    connection.close()


# ---- Many ----------------------------------------------------------------------------------


def many(options, running: contextlib.ExitStack) -> tuple[str, list]:
    directory = pathlib.Path(running.enter_context(tempfile.TemporaryDirectory()))
    bao, root = openbao(running, directory, None)
    database(running, directory, None, bao, root, options.many, "60s")
    url, admin, process = vaultlet(running, directory, None, options.build, bao)
    made = call("POST", f"{bao}/v1/auth/token/create", root, {"policies": ["measured"]})
    token = json.loads(made)["auth"]["client_token"]
    # Of a token that nobody saw being issued vaultlet spends no use, so it renews nothing of it.
    call("GET", f"{url}/v1/auth/token/lookup-self", token)

    began = time.monotonic()
    answers = each(range(options.many), lambda: Connection(url, token),
                   lambda connection, role: connection.call("GET", f"{CREDS}/{role}")[0])
    leases = {json.loads(answer)["lease_id"] for answer in answers}
    issuing = time.monotonic() - began
    if len(leases) != options.many:
        raise Failed(f"{options.many} roles gave {len(leases)} leases")
    # From here on each of them has been renewed once and is to be again.
    time.sleep(60)

    before, at = used(process.pid), time.monotonic()
    seconds = per_second(admin, options.window)
    share = 100 * (used(process.pid) - before) / (time.monotonic() - at)
    _, failed = renewals(call("GET", f"{admin}/metrics"))
    lost = options.many - sum(each(leases, lambda: Connection(bao, root), alive))

    mean, largest = statistics.mean(seconds), max(seconds)
    if not mean:
        raise Failed(f"nothing was renewed in {options.window} s: {lost} leases were lost")
    broken = [text for wrong, text in [
        (lost > 0, f"{lost} leases were lost"),
        (largest > LARGEST_TO_MEAN * mean, f"{largest:.0f} renewals in a second, mean {mean:.0f}"),
        (share >= LARGEST_CPU, f"vaultlet took {share:.1f} % of a core"),
    ] if wrong]
    return "\n".join([
        f"{options.many:,} leases of 60 s, made in {issuing:.0f} s, then watched for "
        f"{options.window} s: **{mean:.0f} renewals a second, {largest / mean:.2f} x that in the "
        f"largest**; {lost} lost, {failed:.0f} renewals failed; vaultlet took **{share:.1f} % of a "
        "core**.",
        "",
        histogram(seconds),
        "",
        f"{report.here()} OpenBao and PostgreSQL on the same cores.",
    ]), broken


def each(items, connect, ask) -> list:
    """What `ask` makes of each item, some at once, each worker with a connection of its own."""
    items = list(items)

    def work(first: int) -> list:
        connection = connect()
        try:
            return [ask(connection, item) for item in items[first::WORKERS]]
        finally:
            connection.close()

    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        return [answer for answers in pool.map(work, range(WORKERS)) for answer in answers]


def alive(connection: Connection, lease: str) -> bool:
    try:
        answer, _ = connection.call("PUT", "/v1/sys/leases/lookup", {"lease_id": lease})
    except Failed:
        return False
    return json.loads(answer)["data"]["ttl"] > 0


def per_second(admin: str, seconds: int) -> list:
    """Renewals in each second, as vaultlet counts them."""
    connection, counts = Connection(admin), []
    last, at = renewals(connection.call("GET", "/metrics")[0])[0], time.monotonic()
    for number in range(seconds):
        time.sleep(max(0.0, at + number + 1 - time.monotonic()))
        done, _ = renewals(connection.call("GET", "/metrics")[0])
        counts.append(done - last)
        last = done
    connection.close()
    return counts


def renewals(metrics: bytes) -> tuple[float, float]:
    """How many there were, and how many of them did not succeed."""
    done = failed = 0.0
    for line in metrics.decode().splitlines():
        if line.startswith("vaultlet_lease_renewals_total{"):
            labels, _, count = line.rpartition(" ")
            done += float(count)
            succeeded = 'result="ok"' in labels or 'result="capped"' in labels
            failed += 0 if succeeded else float(count)
    return done, failed


def used(pid: int) -> float:
    """Seconds of CPU time that a process has taken."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def histogram(seconds: list) -> str:
    """How many seconds had how many renewals, in eight steps."""
    step = max(1, -(-int(max(seconds) + 1) // 8))
    rows = ["| renewals in a second | seconds |", "|---|---|"]
    for low in range(0, 8 * step, step):
        count = sum(low <= second < low + step for second in seconds)
        rows.append(f"| {low} to {low + step - 1} | {count} |")
    return "\n".join(rows)


if __name__ == "__main__":
    sys.exit(main())
