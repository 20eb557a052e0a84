"""The page that the command line writes beside the picture: tables, the picture, what they mean.

One file of HTML. It runs no script and loads nothing, which its policy forbids.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from html import escape
from typing import Any, NamedTuple

# What the columns of the tables are, by name.
MEANINGS = {
    "class": "The images that a row is about: one class, or all of them.",
    "pair": "real-gen: an image and its own template; real-real and gen-gen: two images, or two "
    "templates, of one class; real-(1-x), real-constant and real-noise: an image and a trivial "
    "template.",
    "n_pairs": "How many pairs the means of the row are taken over.",
    "mse": "Mean squared difference of the pixels. The negative of an image has much of it and "
    "hides nothing.",
    "rmse": "Root of the mean squared difference of the pixels.",
    "l1": "Mean absolute difference of the pixels.",
    "dssim": "Structural dissimilarity: 0 for equal images, about 0.5 for unrelated ones, more for "
    "negatives.",
    "abs_pearson": "Correlation of the pixels without its sign: 1 for the image and for its "
    "negative, 0 where nothing of it is left.",
    "edge_correlation": "Correlation of the edges: high where contours are still to be seen.",
    "pointwise_r2": "Share of the template that follows from the image pixel by pixel: 1 for a "
    "negative or another change of grey values.",
    "inversion_ssim": "How much the images that a ridge regression makes of templates resemble the "
    "true ones, up to 1. Only what is above the blind guess does the template give away.",
    "template": "What is enrolled: the generator's template, or one that needs none.",
    "comparison": "What is presented, and what it is compared with.",
    "genuine": "Pairs of images of one class.",
    "impostor": "Pairs of images of two classes.",
    "eer": "Equal error rate: the share of errors where as many genuine pairs are rejected as "
    "impostors are accepted. 0.5 is chance.",
    "fnmr_at_fmr_1%": "Share of genuine pairs rejected where 1 % of the impostors are accepted.",
    "fnmr_at_fmr_0.1%": "The same where 0.1 % are; a dash where there are too few impostors to "
    "tell.",
    "best_f1": "Best F1 score of any threshold, chosen on these very pairs: an upper bound.",
}

_STYLE = """
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 72rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.5rem; }
h1, p, dt { overflow-wrap: anywhere; }
p, dl { max-width: 46rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; }
caption { padding-bottom: .5rem; }
th, td { padding: .25rem .7rem; white-space: nowrap; text-align: left; }
thead th { border-bottom: 2px solid; } tbody tr + tr td { border-top: 1px solid #8886; }
div[tabindex] { overflow-x: auto; padding-bottom: .3rem; }
figure { margin: 1.5rem 0; } figcaption { max-width: 46rem; }
img { display: block; max-width: 100%; background: #fff; }
figure:first-of-type img { min-width: 36rem; }
summary { cursor: pointer; margin: .5rem 0; }
dt { font-family: ui-monospace, monospace; font-size: .9rem; } dd { margin: 0 0 .5rem 1rem; }
.warning { border-left: .3rem solid #d90; padding-left: .8rem; }
footer { margin-top: 3rem; font-size: .85rem; border-top: 1px solid #8886; }
"""


class Section(NamedTuple):
    """A table, and what it is about.

    Attributes
    ----------
    title : str
        Its heading.
    text : str
        What to read from it, in a sentence or two.
    report : object
        What gives text by ``str``, HTML by ``_repr_html_`` and has ``rows``.
    """

    title: str
    text: str
    report: Any


def make_page(
    summary: Sequence[str],
    warnings: Sequence[str],
    sections: Sequence[Section],
    pictures: Sequence[tuple[bytes, str]],
    footer: str,
) -> str:
    """Write the page.

    Parameters
    ----------
    summary, warnings : sequence of str
        Sentences on what was done, and on what went wrong with it.
    sections : sequence of Section
        The tables.
    pictures : sequence of tuple of bytes and str
        PNG files, and what they show.
    footer : str
        What made the page.

    Returns
    -------
    str
        HTML; text that is given is escaped.

    Examples
    --------
    >>> from skdistort._command._page import make_page
    >>> "a &lt; b" in make_page(["a < b"], [], [], [], "")
    True
    """
    lines = [f"<p>{escape(line)}</p>" for line in summary]
    lines += [f'<p class="warning">{escape(line)}</p>' for line in warnings]
    lines += [_write_picture(*picture) for picture in pictures]
    lines += map(_write_section, sections)
    body = "\n".join(lines)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "img-src data:; style-src 'unsafe-inline'\">\n"
        f"<title>skdistort</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"<h1>What the templates keep and hide</h1>\n{body}\n"
        f"<footer><p>{escape(footer)}</p></footer>\n</body>\n</html>\n"
    )


def _write_picture(data, caption):
    # A phone shows half of a row of images, and the rest by scrolling.
    return (
        f'<figure>\n<div tabindex="0"><img alt="{escape(caption)}" '
        f'src="data:image/png;base64,{b64encode(data).decode("ascii")}"></div>\n'
        f"<figcaption>{escape(caption)}</figcaption>\n</figure>"
    )


def _write_section(section):
    names = dict.fromkeys(name for row in section.report.rows for name in row)
    terms = "".join(f"<dt>{escape(name)}</dt><dd>{escape(MEANINGS[name])}</dd>\n" for name in names)
    return (
        f"<section>\n<h2>{escape(section.title)}</h2>\n<p>{escape(section.text)}</p>\n"
        f"{section.report._repr_html_()}"
        f"<details open><summary>What the columns mean</summary>\n<dl>{terms}</dl></details>\n"
        "</section>"
    )
