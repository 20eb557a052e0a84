"""Images as callers have them: arrays of any layout, folders, photos, batches that stream.

What estimators make of them is checked in `_validation`. This package imports without Keras.
"""

from ._augmentation import ImageAugmentation
from ._folder import ImageFolder
from ._layout import from_unit_range, to_unit_range
from ._photos import read_photos

__all__ = ["ImageAugmentation", "ImageFolder", "from_unit_range", "read_photos", "to_unit_range"]
