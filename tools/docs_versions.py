"""Build the documentation of every released version, and of this working tree, side by side.

    python -m tools.docs_versions              # into docs/_build/versions
    python -m tools.docs_versions --to FOLDER

Each tag v* is taken out of git and built with its own source and today's packages. All versions are built anew, so that
each lists all others in its sidebar. The folder's own index.html leads to the newest release; any web server, or a
browser without one, shows it.
"""

from __future__ import annotations

import argparse
import io
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
HERE = "main"  # the name of what is not released
REDIRECT = '<!doctype html><title>phaseret</title><meta http-equiv="refresh" content="0; url={0}/index.html">'
REDIRECT += '<a href="{0}/index.html">{0}</a>\n'


def git(root: Path, *words: str) -> bytes:
    """What git prints."""
    return subprocess.run(["git", *words], cwd=root, check=True, capture_output=True).stdout


def build(source: Path, name: str, names: list[str], to: Path) -> None:
    """The documentation of a source tree, with links to other versions; of a release what is of its time may warn."""
    strict = ["-W", "--keep-going"] if name == HERE else []
    told = ["-A", f"versions={' '.join(names)}", "-A", f"this_version={name}"]
    command = [sys.executable, "-m", "sphinx", *strict, *told, "-q", "-b", "html", "docs", str(to / name)]
    environment = os.environ | {"PYTHONPATH": str(source / "src")}
    subprocess.run(command, cwd=source, env=environment, check=True)


def main(words: list[str], root: Path = ROOT) -> None:
    """Build all versions."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--to", type=Path, default=root / "docs/_build/versions", metavar="FOLDER")
    to = parser.parse_args(words).to.resolve()
    tags = git(root, "tag", "--list", "v*", "--sort=-version:refname").decode().split()
    names = [HERE, *tags]
    for tag in tags:
        with tempfile.TemporaryDirectory() as folder:
            with tarfile.open(fileobj=io.BytesIO(git(root, "archive", tag))) as archive:
                archive.extractall(folder, filter="data")
            build(Path(folder), tag, names, to)
    build(root, HERE, names, to)
    (to / "index.html").write_text(REDIRECT.format((tags or names)[0]), encoding="utf-8")
    print(to / "index.html")


if __name__ == "__main__":
    main(sys.argv[1:])
