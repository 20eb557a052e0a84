"""Sphinx configuration: user guide, gallery and API reference as one site.

``sphinx-build -W --keep-going -n docs build/site`` builds it, ``python docs/check_site.py
build/site`` checks what was built. ``-D plot_gallery=0`` leaves the examples unrun, which takes
seconds instead of minutes. Nothing on the pages is fetched from another site.
"""

import importlib
import os
import re
from types import FunctionType

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml

# Read when TensorFlow is imported, which the first example does.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import skdistort

project = "skdistort"
author = "The skdistort developers"
copyright = author  # Sphinx reads this name.
release = version = skdistort.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_gallery.gen_gallery",
]
templates_path = ["templates"]
exclude_patterns = ["templates"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = "skdistort"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_theme_options = {"top_of_page_buttons": []}
html_math_renderer = "mathml"

numpydoc_show_class_members = False
autodoc_typehints = "none"

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "backreferences_dir": "generated/backreferences",
    "doc_module": ("skdistort",),
    "abort_on_example_error": True,
    "download_all_examples": False,
    # Of each page there is a notebook, which begins so.
    "first_notebook_cell": "%pip install 'skdistort[tensorflow,plot]'\n%matplotlib inline",
    "parallel": 2,
    "show_memory": False,
    "show_signature": False,
    # A page that fetches its scripts from elsewhere.
    "write_computation_times": False,
}

# Modules that docstrings tell developers to look at, and that have no page.
nitpick_ignore_regex = [("py:(mod|func|class)", r"skdistort\.([a-z_]+\.)?_[a-z_]+(\.\w+)?")]


def setup(app):
    """Register what this site adds to Sphinx.

    Parameters
    ----------
    app : sphinx.application.Sphinx
        The application.
    """
    app.add_html_math_renderer("mathml", (write_inline_math, None), (write_display_math, None))
    app.connect("autodoc-skip-member", skip_foreign_member)
    # Before numpydoc, which connects at 500, makes reStructuredText of the sections.
    app.connect("autodoc-process-docstring", escape_docstring, priority=400)
    app.connect("missing-reference", find_reference)


def write_inline_math(translator, node):
    """Write a formula in a line as MathML, which browsers show without a script.

    Parameters
    ----------
    translator : sphinx.writers.html5.HTML5Translator
        Gathers the page.
    node : docutils.nodes.math
        The formula, in TeX.
    """
    translator.body.append(tex2mathml(node.astext()))
    raise nodes.SkipNode


def write_display_math(translator, node):
    """Write a formula of its own as MathML; it scrolls where it is wider than the page.

    Parameters
    ----------
    translator : sphinx.writers.html5.HTML5Translator
        Gathers the page.
    node : docutils.nodes.math_block
        The formula, in TeX.
    """
    formula = tex2mathml(node.astext(), as_block=True)
    translator.body.append(f'<div class="math" tabindex="0">{formula}</div>\n')
    raise nodes.SkipNode


def skip_foreign_member(app, what, name, obj, skip, options):
    """Leave out members that are not written here: those of scikit-learn, Keras and tuples.

    Parameters
    ----------
    app : sphinx.application.Sphinx
        The application.
    what : str
        The kind of object that the member belongs to.
    name : str
        The member's name.
    obj : object
        The member.
    skip : bool
        What autodoc would do.
    options : object
        Options of the directive.

    Returns
    -------
    bool or None
        True leaves the member out; None lets autodoc decide.
    """
    written = obj.fget if isinstance(obj, property) else getattr(obj, "__func__", obj)
    ours = isinstance(written, FunctionType) and written.__module__.startswith("skdistort")
    return None if ours else True


def escape_docstring(app, what, name, obj, options, lines):
    """Escape in docstrings what reStructuredText would take for markup, in place.

    A name such as ``n_features_in_`` in the type of a parameter would be a link, ``*shape``
    emphasis; and a summary ends at a full stop, be it the dot of a product within a formula.

    Parameters
    ----------
    app : sphinx.application.Sphinx
        The application.
    what : str
        The kind of object.
    name : str
        Its full name.
    obj : object
        The object.
    options : object
        Options of the directive.
    lines : list of str
        The docstring.
    """
    if lines:
        lines[0] = re.sub(
            "``.*?``", lambda formula: formula[0].replace(" . ", " \u00b7 "), lines[0]
        )
    for i, line in enumerate(lines):
        if _TYPED.match(line) and "`" not in line:
            names, colon, kind = line.rpartition(" : ")
            lines[i] = names + colon + re.sub(r"\*|(?<=\w)_(?!\w)", r"\\\g<0>", kind)


def find_reference(app, env, node, contnode):
    """Resolve names that docstrings write short, and those of scikit-learn and Python.

    Parameters
    ----------
    app : sphinx.application.Sphinx
        The application.
    env : sphinx.environment.BuildEnvironment
        What is known of all pages.
    node : sphinx.addnodes.pending_xref
        The reference.
    contnode : docutils.nodes.Node
        Its text.

    Returns
    -------
    docutils.nodes.reference or None
        None if nothing is known under that name.
    """
    if node.get("refdomain") != "py":
        return None
    target = node["reftarget"]
    library = target.partition(".")[0]
    if library in _EXTERNAL_PAGES and _exists(target):
        uri = _EXTERNAL_PAGES[library].format(target, module=target.rpartition(".")[0])
        return nodes.reference("", "", contnode, internal=False, refuri=uri)
    domain = env.domains.python_domain
    names = {name for name in domain.objects if name.endswith(f".{target}")}
    # An estimator is also known under the module that it is written in.
    pages = {(domain.objects[name].docname, domain.objects[name].node_id) for name in names}
    if len(pages) != 1:
        return None
    node["reftarget"] = min(names)
    return domain.resolve_xref(
        env, node["refdoc"], app.builder, "obj", node["reftarget"], node, contnode
    )


# A parameter or an attribute with its type, or a value that is returned.
_TYPED = re.compile(r"\s*([\w, *]+ : |ndarray )")

_EXTERNAL_PAGES = {
    "functools": "https://docs.python.org/3/library/{module}.html#{0}",
    "sklearn": "https://scikit-learn.org/stable/modules/generated/{0}.html",
}


def _exists(target):
    module, _, name = target.rpartition(".")
    try:
        return hasattr(importlib.import_module(module), name)
    except ImportError:
        return False
