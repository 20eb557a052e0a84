"""Selection of clients and impostors in whole databases, in numpy: Algorithm 1 of paper B.

Paper B is Khan and Hernando, "Unsupervised Training of Siamese Networks for Speaker
Verification" (Interspeech 2020). Miners of triplets within a labelled batch live in
:mod:`skdistort.mining`. This package imports without Keras.
"""

from ._rules import (
    nearest_by_cosine,
    select_by_class,
    select_clients_and_impostors,
    select_from_two_databases,
)

__all__ = [
    "nearest_by_cosine",
    "select_by_class",
    "select_clients_and_impostors",
    "select_from_two_databases",
]
