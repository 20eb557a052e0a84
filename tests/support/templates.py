"""Random bytes as the templates of a store, the same in every process."""

import random


def contents(batch, i, renewed):
    """Make an image and an embedding."""
    rng = random.Random(f"{batch}-{i}-{renewed}")
    return rng.randbytes(3000), rng.randbytes(128)
