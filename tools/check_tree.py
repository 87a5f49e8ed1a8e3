"""Does a committed file name the machine it was written on, or a package registry's host?

Either works here and nowhere else: a clone has another path, and another site another mirror.
Prints `FILE:LINE: what` for each and exits 1 if there is any.
"""

import pathlib
import re
import subprocess
import sys

# Written so that this file does not name what it looks for.
HOME = r"(?<![\w.$}])/(?:root|home|Users)/[\w.-]+"
REGISTRY = (
    r"\b(?:(?:static|index)\.)?crates\.(?:io)\b"
    r"|\b(?:files\.)?py(?:pi|thonhosted)\.(?:org)\b"
    r"|\bregistry\.(?:npmjs)\b"
    r"|\bproxy\.(?:golang)\b"
)
FORBIDDEN = {
    "a path of somebody's machine": re.compile(HOME),
    "a registry's host name": re.compile(REGISTRY),
}

# Cargo writes its own name for the registry there.
GENERATED = {"Cargo.lock", "fuzz/Cargo.lock"}


def main() -> int:
    """Looks through every file that git tracks."""
    here = re.compile(re.escape(str(pathlib.Path.cwd())) + r"\b")
    checks = FORBIDDEN | {"the path of this clone": here}
    listed = subprocess.run(["git", "ls-files", "-z"], check=True, capture_output=True, text=True)
    found = 0
    for name in listed.stdout.split("\0"):
        if not name or name in GENERATED or not pathlib.Path(name).is_file():
            continue
        text = pathlib.Path(name).read_text(encoding="utf-8", errors="replace")
        for number, line in enumerate(text.splitlines(), start=1):
            for what, pattern in checks.items():
                if pattern.search(line):
                    found += 1
                    print(f"{name}:{number}: {what}: {line.strip()[:100]}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
