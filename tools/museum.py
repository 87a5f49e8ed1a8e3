#!/usr/bin/env python3
"""The museum of planted bugs: does each have a test that catches it?

Each exhibit is a file in simulation/museum: where the bug was seen, which text of which file it
takes the place of, and the test that must fail with it. In a copy of the tree, each is planted in
turn and its test run; a test that does not fail has missed it. First all of these tests must pass.

    tools/museum.py            all of them
    tools/museum.py NAME ...   these
    tools/museum.py --check    only whether each still has its place in the source

`CARGO` names what is run in the place of cargo.
"""

import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
EXHIBITS = ROOT / "simulation" / "museum"
KEYS = ["bug", "seen", "file", "old", "new", "test"]
PASSED = re.compile(r"test result: ok\. [1-9]\d* passed")


def read(path):
    """The YAML of an exhibit: `key: text`, in quotes if it must be, or `key: |2-` and lines below."""
    exhibit, block = {}, None
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if block is not None and (line.startswith("  ") or not line):
            exhibit[block].append(line[2:])
            continue
        block = None
        if not line or line.startswith("#"):
            continue
        key, colon, value = line.partition(":")
        if not colon or key not in KEYS or key in exhibit:
            sys.exit(f"{path}:{number}: expected one of {', '.join(KEYS)}")
        if value.strip() == "|2-":
            exhibit[key], block = [], key
        else:
            value = value.strip()
            exhibit[key] = json.loads(value) if value.startswith('"') else value
    missing = [key for key in KEYS if key not in exhibit]
    if missing:
        sys.exit(f"{path}: without {', '.join(missing)}")
    for key in ["old", "new"]:
        if isinstance(exhibit[key], list):
            exhibit[key] = "".join(line + "\n" for line in exhibit[key]).rstrip("\n")
    exhibit["name"] = path.stem
    return exhibit


def misplaced(exhibit):
    """What is wrong with its place in the source, if anything is."""
    file = ROOT / exhibit["file"]
    if not file.is_file():
        return f"there is no {exhibit['file']}"
    count = file.read_text().count(exhibit["old"])
    if count != 1:
        return f"its old text is in {exhibit['file']} {count} times"
    return "it changes nothing" if exhibit["old"] == exhibit["new"] else None


def command(test, *more):
    cargo, *rest = shlex.split(test)
    if cargo != "cargo" or rest[:1] != ["test"]:
        sys.exit(f"a test of the museum is a `cargo test`, not `{test}`")
    head, _, tail = " ".join(rest).partition(" -- ")
    words = shlex.split(os.environ.get("CARGO", "cargo")) + head.split() + ["--locked", *more]
    return words + (["--", *tail.split()] if tail and "--no-run" not in more else [])


def run(words, tree):
    return subprocess.run(words, cwd=tree, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, errors="replace")


def tried(test, tree):
    """Whether a test can be built, and passes; and what it said."""
    built = run(command(test, "--no-run"), tree)
    if built.returncode != 0:
        return None, built.stdout
    done = run(command(test), tree)
    return done.returncode == 0, done.stdout


def tail(text, lines=25):
    return "".join(f"    {line}\n" for line in text.splitlines()[-lines:])


def failures(text):
    """Which tests failed, a line each."""
    names = re.findall(r"^test (\S+) \.\.\. FAILED$", text, re.MULTILINE)
    return "".join(f"              {name}\n" for name in names)


def copy(tree):
    """The tree as it is; what is the same already stays, so that it is not built again."""
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT,
                            check=True, stdout=subprocess.PIPE).stdout
    names = {name for name in listed.decode().split("\0") if name and (ROOT / name).is_file()}
    for old in tree.rglob("*"):
        if old.is_file() and str(old.relative_to(tree)) not in names:
            old.unlink()
    for name in names:
        source, place = ROOT / name, tree / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if not place.is_file() or place.read_bytes() != source.read_bytes():
            shutil.copyfile(source, place)
            shutil.copymode(source, place)


def visit(exhibits):
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
    os.environ["CARGO_TARGET_DIR"] = str(target)
    # Always the same place: what was built there for one bug is the next one's beginning.
    tree = target / "museum"
    tree.mkdir(parents=True, exist_ok=True)
    copy(tree)
    missed = []
    # Those with the same test one after the other, for the same reason.
    exhibits.sort(key=lambda exhibit: exhibit["test"])
    for test in sorted({exhibit["test"] for exhibit in exhibits}):
        passes, said = tried(test, tree)
        if not passes or not PASSED.search(said):
            sys.exit(f"without any bug, `{test}` does not pass:\n{tail(said)}")
    print("without any bug, every test passes", flush=True)
    for number, exhibit in enumerate(exhibits, 1):
        began = time.monotonic()
        file = tree / exhibit["file"]
        source = file.read_text()
        file.write_text(source.replace(exhibit["old"], exhibit["new"]))
        passes, said = tried(exhibit["test"], tree)
        file.write_text(source)
        verdict = {None: "does not compile", True: "MISSED", False: "caught"}[passes]
        if passes is not False:
            missed.append(exhibit["name"])
        took = time.monotonic() - began
        print(f"{number:>3} of {len(exhibits)}  {exhibit['name']:<28} {verdict}  ({took:.0f} s)",
              flush=True)
        print(tail(said) if passes is None else failures(said), end="", flush=True)
    caught = len(exhibits) - len(missed)
    print(f"{len(exhibits)} planted bugs, {caught} caught" + "".join(f"; {it}" for it in missed))
    return 1 if missed else 0


def main(arguments):
    exhibits = [read(path) for path in sorted(EXHIBITS.glob("*.yaml"))]
    wrong = [f"simulation/museum/{it['name']}.yaml: {why}" for it in exhibits
             if (why := misplaced(it))]
    if wrong:
        sys.exit("\n".join(wrong))
    if "--check" in arguments:
        print(f"{len(exhibits)} planted bugs, each has its place")
        return 0
    unknown = set(arguments) - {it["name"] for it in exhibits}
    if unknown:
        print(f"no such bug: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    return visit([it for it in exhibits if not arguments or it["name"] in arguments])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
