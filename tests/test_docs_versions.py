"""The documentation of several versions, side by side: a small repository with a release."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tools import docs_versions

ROOT = Path(__file__).parents[1]
CONF = 'html_theme = "furo"\ntemplates_path = ["_templates"]\nimport small\nrelease = small.VERSION\n'


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Version 2, on top of a release v1.0."""
    if shutil.which("git") is None:
        pytest.skip("no git is on the PATH")
    root = tmp_path / "repository"
    for folder in ("docs/deep", "src"):
        (root / folder).mkdir(parents=True)
    shutil.copytree(ROOT / "docs/_templates", root / "docs/_templates")
    (root / "docs/conf.py").write_text(CONF)
    (root / "docs/deep/page.rst").write_text("Deep\n====\n")
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    docs_versions.git(root, "init", "--quiet")
    for version in ("1", "2"):
        (root / "src/small.py").write_text(f"VERSION = '{version}'\n")
        (root / "docs/index.rst").write_text(f"Version {version}\n=========\n\n.. toctree::\n\n   deep/page\n")
        docs_versions.git(root, "add", "--all")
        docs_versions.git(root, *who, "commit", "--quiet", "-m", version)
        if version == "1":
            docs_versions.git(root, "tag", "v1.0")
    return root


@pytest.mark.once
def test_each_version_is_built_from_its_own_source_and_leads_to_the_others(repository: Path, tmp_path: Path) -> None:
    to = tmp_path / "site"
    docs_versions.main(["--to", str(to)], root=repository)
    for name, version in ("v1.0", "1"), ("main", "2"):
        front = (to / name / "index.html").read_text(encoding="utf-8")
        assert f"Version {version}" in front
        assert f"{version} documentation" in front  # the release of conf.py, which imports the source
        for page in ("index.html", "deep/page.html"):
            text = (to / name / page).read_text(encoding="utf-8")
            links = dict(re.findall(r'href="([^"]*)">(main|v1\.0)</a>', text))
            places = {other: (to / name / page).parent / link for link, other in links.items()}
            assert {other: place.resolve() for other, place in places.items()} == {
                other: to / other / "index.html" for other in ("main", "v1.0")
            }
            assert re.findall(r'current-page"><a [^>]*>(main|v[0-9.]+)</a>', text)[-1] == name
    assert 'url=v1.0/index.html"' in (to / "index.html").read_text(encoding="utf-8")


@pytest.mark.once
def test_a_version_that_cannot_be_built_is_an_error(repository: Path, tmp_path: Path) -> None:
    (repository / "docs/conf.py").write_text("1 / 0\n")
    with pytest.raises(subprocess.CalledProcessError):
        docs_versions.build(repository, "main", ["main"], tmp_path)
