"""Template protections that one would otherwise choose: keyed maps of embeddings, hidden images.

What lives here is written from the papers, in numpy, as what a distortion has to be compared
with. The trivial templates that need no parameters are in
:func:`skdistort.metrics.trivial_templates`; how linkable or alike templates are is measured in
:mod:`skdistort.metrics`. A keyed projection without a hash is scikit-learn's
:class:`sklearn.random_projection.GaussianRandomProjection`, with the key as its `random_state`.
"""

from ._functions import biohash, hamming_similarity, iom_hash, mlp_hash, polyprotect
from ._hashing import BioHashing, IoMHashing, MLPHash
from ._image_filters import GaussianBlur, Pixelation
from ._polynomials import PolyProtect

__all__ = [
    "BioHashing",
    "GaussianBlur",
    "IoMHashing",
    "MLPHash",
    "Pixelation",
    "PolyProtect",
    "biohash",
    "hamming_similarity",
    "iom_hash",
    "mlp_hash",
    "polyprotect",
]
