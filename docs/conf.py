"""Sphinx configuration. Nothing is fetched, neither when the pages are built nor when they are looked at."""

from __future__ import annotations

import sys
from pathlib import Path

import phaseret

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

from gallery import OPTIONS as sphinx_gallery_conf  # noqa: F401

project = "phaseret"
author = "The phaseret developers"
project_copyright = f"2026, {author}"
release = version = phaseret.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.linkcode",
    "myst_parser",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "sphinxcontrib.bibtex",
    "finding",
    "floors",
    "formulas",
    "gallery",
    "links",
    "pages",
    "measured",
]
exclude_patterns = ["_build", "_ext", "gallery"]
templates_path = ["_templates"]
default_role = "py:obj"

html_theme = "furo"
html_title = f"phaseret {release}"
html_math_renderer = "mathml"
html_show_sphinx = False
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_theme_options = {
    "source_repository": "https://github.com/phaseret/phaseret",
    "source_branch": "main",
    "source_directory": "docs/",
}

autodoc_default_options = {"exclude-members": "extra_repr"}
autodoc_inherit_docstrings = False
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_custom_sections = ["Shape", "Source"]

bibtex_bibfiles = ["references.bib"]
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
