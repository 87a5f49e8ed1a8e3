"""How are servers compared, and what is said of it?"""

import argparse
import datetime
import pathlib
import platform
import statistics

from servers import Failed, cpu, processor


def common(parser: argparse.ArgumentParser) -> None:
    """The arguments that every measurement has."""
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path("target/quick"),
                        help="where vaultlet, bare and vaultlet-loadtest are")
    parser.add_argument("--rounds", type=int, default=7, help="runs of each server")
    parser.add_argument("--seconds", type=int, default=5, help="length of a run")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--out", type=pathlib.Path, help="a file for what is printed")


def give(text: str, out: pathlib.Path | None) -> None:
    print(text)
    if out:
        out.write_text(text + "\n", encoding="utf-8")


def in_turn(options, names, run) -> dict:
    """The runs of each of `names`, after a short one: `run` takes a name and seconds."""
    for name in names:
        run(name, 1)
    runs = {name: [] for name in names}
    for number in range(options.rounds):
        # Turn and turn about: what drifts during the rounds touches both alike.
        for name in sorted(names, reverse=number % 2 == 1):
            runs[name].append(run(name, options.seconds))
    return runs


def misses(runs: list) -> int:
    """Answers that were not from memory; more than a few, and hits were not measured."""
    answers = sum(run["answers"] for run in runs)
    missed = sum(run["answers"] - run["x_cache"].get("HIT", 0) for run in runs)
    if missed > answers / 1000:
        raise Failed(f"{missed} of {answers} reads were no hits, so hits were not measured")
    return missed


def table(servers: dict) -> str:
    """The medians of each server's runs."""
    rows = ["| | answers/s | server CPU per answer, µs | p50, µs | p99, µs | core used |",
            "|---|---|---|---|---|---|"]
    for title, runs in servers.items():
        values = [
            median(runs, lambda run: run["per_second"]),
            median(runs, cpu),
            median(runs, lambda run: run["latency_us"]["p50"]),
            median(runs, lambda run: run["latency_us"]["p99"]),
            100 * median(runs, lambda run: cpu(run) * run["per_second"] / 1e6),
        ]
        rows.append("| {} | {:,.0f} | {:.2f} | {:,.0f} | {:,.0f} | {:.0f} % |".format(title, *values))
    return "\n".join(rows)


def median(runs: list, value) -> float:
    return statistics.median(value(run) for run in runs)


def here() -> str:
    """When and on what this was measured."""
    today = datetime.datetime.now(datetime.timezone.utc).date()
    return f"{today}; {platform.system()} {platform.release()}, {processor()}."
