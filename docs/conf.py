"""Sphinx: `sphinx-build docs docs/_build/html`; `.ci/docs` adds the checks."""

import importlib.metadata
import os
import pathlib
import re

from numpy.typing import ArrayLike
from sphinx.util import inspect
from sphinx.util.typing import stringify_annotation

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

project = "sngan_tf"
author = copyright = "The sngan_tf authors"
release = version = importlib.metadata.version("sngan_tf")

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = "sngan_tf"
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#1d5fa8"},
    "dark_css_variables": {"color-brand-primary": "#7db4f0"},
}
html_css_files = ["site.css"]
html_static_path = ["_static"]
pygments_dark_style = "github-dark"

myst_heading_anchors = 3
copybutton_exclude = ".linenos, .gp, .go"

nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 900
nb_execution_in_temp = True
# Progress bars, and what TensorFlow says of the machine.
nb_output_stderr = "remove"

# Docstrings say `name` for code.
default_role = "code"
autodoc_default_options = {"member-order": "bysource", "members": True}
autodoc_inherit_docstrings = False
autodoc_typehints_format = "short"
maximum_signature_line_length = 80
napoleon_custom_sections = [("Call arguments", "params_style")]
napoleon_use_ivar = True
napoleon_use_rtype = False
nitpick_ignore_regex = [
    # Of other projects, whose inventories need a network.
    (
        "py:.*",
        r"(collections|keras|np|numpy|os|pathlib|tensorflow|tf|typing)\..*",
    ),
    ("py:class", "ArrayLike"),
    # Of annotations, and no page's.
    (
        "py:class",
        r"sngan_tf\.(gan\.kernel_gradients|layers\.kernel_normalization"
        r"|metrics\.(reference|sources))\..*",
    ),
    # Named in `Raises:` without their module.
    ("py:exc", "Diverged|UserError"),
]

_ROOT = pathlib.Path(__file__).parents[1]
# Files at the root of which the site has a page, which takes their text.
_OF_ROOT = {"changelog": "CHANGELOG.md", "contributing": "CONTRIBUTING.md"}
_PAGES = {_ROOT / file: f"{page}.md" for page, file in _OF_ROOT.items()}
_PAGES[_ROOT / "README.md"] = "index.md"
_LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)#:\s]+)(#[^)\s]*)?\)")


def _link_as_site(app, docname, source):
    """Makes of links that a code host follows ones that the site has.

    Files that are no pages Sphinx offers as downloads by itself; folders it
    can't, and their names are left as text. Where a link says a page's file
    name, MyST puts its title.
    """
    page = folder = pathlib.Path(app.srcdir, docname).parent
    if docname in _OF_ROOT:
        file = _ROOT / _OF_ROOT[docname]
        app.env.note_dependency(file)
        source[0] = file.read_text()
        folder = _ROOT

    def link(match):
        text, path, anchor = match[1], folder / match[2], match[3] or ""
        path = pathlib.Path(os.path.normpath(path))
        if path.is_dir():
            return text
        path = app.srcdir / _PAGES[path] if path in _PAGES else path
        if text.endswith(".md") and path.is_relative_to(app.srcdir):
            text = ""
        return f"[{text}]({os.path.relpath(path, page)}{anchor})"

    if app.env.doc2path(docname).suffix != ".ipynb":
        source[0] = _LINK.sub(link, source[0])


def _skip_others(app, what, name, obj, skip, options):
    """Leaves out what a class or module has from other packages."""
    obj = getattr(obj, "fget", None) or getattr(obj, "func", obj)
    module = getattr(obj, "__module__", None) or "sngan_tf"
    return None if module.startswith("sngan_tf") else True


_ARRAY_LIKE = stringify_annotation(ArrayLike, "smart")


def _signature(app, what, name, obj, options, signature, returns):
    """Takes that of `__init__`, as Keras has a `__new__` of any arguments.

    And NumPy's `ArrayLike` by its name rather than as the union that it is.
    """
    if what == "class" and signature == "(*args, **kwargs)":
        of_init = inspect.signature(obj.__init__, bound_method=True)
        signature = inspect.stringify_signature(
            of_init, unqualified_typehints=True
        )
    if signature:
        signature = signature.replace(_ARRAY_LIKE, "ArrayLike")
    return signature, returns


def setup(app):
    app.connect("autodoc-process-signature", _signature)
    app.connect("autodoc-skip-member", _skip_others)
    app.connect("source-read", _link_as_site)
