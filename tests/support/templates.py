"""Bytes as the templates of a store, the same in every process, which say whose they are."""

import random
import re


def contents(batch, i, renewed):
    """Make an image and an embedding."""
    rng = random.Random(f"{batch}-{i}-{renewed}")
    label = f"<{batch} {int(renewed)}>".encode()
    return b"".join(label + rng.randbytes(20) for _ in range(100)), label + rng.randbytes(128)


def batches_in(data):
    """Find whose bytes are there: pairs of the batch and whether it is the renewed one."""
    found = set(re.findall(rb"<(\d+) ([01])>", data))
    return {(int(batch), renewed == b"1") for batch, renewed in found}
