"""How Sphinx builds the documentation: `make docs` writes it to docs/_build.

The source folder is the root of the repository, so that pages may link to the plugins' README files, and every link is the same here and
in the repository's own view.
"""

from __future__ import annotations

import r1env

project = "r1env"
author = "the r1env authors"
version = release = r1env.__version__

root_doc = "docs/index"
include_patterns = [
    "docs/**",
    "plugins/*/README.md",
    "sandbox/README.md",
    "trainers/README.md",
    "examples/*/README.md",
    "benchmarks/RESULTS.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
]
exclude_patterns = ["docs/_build"]

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinxcontrib.mermaid",
]
myst_heading_anchors = 3
myst_fence_as_directive = ["mermaid"]
suppress_warnings = ["myst.xref_missing"]

default_role = "code"  # docstrings write `names` between single backticks
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_default_options = {"members": True, "undoc-members": False}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True

html_theme = "pydata_sphinx_theme"
html_title = f"r1env {release}"
html_static_path = ["_static"]
html_css_files = ["r1env.css"]
html_extra_path = ["llms.txt"]
html_show_sourcelink = False
html_theme_options = {
    "show_prev_next": False,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "tango",
    "pygments_dark_style": "github-dark",
}
copyright = "the r1env authors, Apache-2.0"  # noqa: A001 - Sphinx's name
