"""Images as callers have them: arrays of any layout, folders, photos, batches that stream.

What estimators make of them is checked in `_validation`. This package imports without Keras.
"""

from ._folder import ImageFolder
from ._photos import read_photos

__all__ = ["ImageFolder", "read_photos"]
