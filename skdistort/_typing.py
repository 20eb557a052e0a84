"""Names for the types that annotations share.

What lives here is read by type checkers and by people. Nothing here validates, and nothing imports
Keras, whose tensors are of another type on each backend.
"""

import os
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

# A tensor of the backend, or what keras.ops makes one of.
Tensor: TypeAlias = Any

ImageDistance: TypeAlias = Callable[[Tensor, Tensor], Tensor]

# A keras.Model.
Model: TypeAlias = Any

# What scikit-learn's check_random_state takes.
Seed: TypeAlias = int | np.random.RandomState | None

Key: TypeAlias = int | bytes

FilePath: TypeAlias = str | os.PathLike[str]

Names: TypeAlias = Sequence[str] | NDArray[np.str_]
