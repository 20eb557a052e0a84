"""Images that come as batches of a ``keras.utils.PyDataset``, which may change them each time.

Nothing of them is kept. Images that can be read by row numbers are in `_sources`.
"""

import numpy as np

from .._backend import keras
from ._layout import as_images


def read_batch(dataset, index):
    """Read a batch of images, and of classes if there are any.

    Parameters
    ----------
    dataset : keras.utils.PyDataset
        Batches ``images``, ``(images,)`` or ``(images, classes)``: arrays, or tensors.
    index : int
        Which batch.

    Returns
    -------
    images : ndarray of shape (n, n_features) or (n, h, w[, c])
        Images.
    classes : ndarray of shape (n,) or None
        Their classes.

    Raises
    ------
    ValueError
        If it is something else, or there are weights of the samples.
    """
    batch = dataset[index]
    parts = batch if isinstance(batch, (list, tuple)) else (batch,)
    if not 1 <= len(parts) <= 3 or any(isinstance(part, dict) for part in parts):
        raise ValueError(
            "X must give batches of images, (images,) or (images, classes), each an array; its "
            f"batch {index} is a {type(batch).__name__} of {len(batch)}."
        )
    images, classes, weights = keras.utils.unpack_x_y_sample_weight(batch)
    if weights is not None:
        raise ValueError("X has batches with sample weights, which no estimator takes.")
    return _to_numpy(images), None if classes is None else _to_numpy(classes)


class Surveyed:
    """What images have in common that were looked through: the darkest and the brightest pixel."""

    def min(self):
        """Tell the darkest pixel.

        Returns
        -------
        float
            Its value.
        """
        return self._limits[0]

    def max(self):
        """Tell the brightest pixel.

        Returns
        -------
        float
            Its value.
        """
        return self._limits[1]


class ImageStream(Surveyed, keras.utils.PyDataset):
    """The batches of a dataset that was looked through once.

    It is a dataset of the same batches, the images of which are ``(n, h, w, c)`` and float32.

    Parameters
    ----------
    dataset : keras.utils.PyDataset
        The batches.
    image_shape : tuple of 3 int
        Height, width and channels.
    limits : tuple of 2 float
        The darkest and the brightest pixel.
    sizes : list of int
        Images in each batch.
    with_triplets : list of bool or None
        Whether a batch has two classes and two images of one; None if there are no classes.

    Attributes
    ----------
    shape : tuple of 4 int
        ``(n_samples, height, width, channels)``.
    batch_numbers : ndarray of shape (n_samples,)
        The batch that each image is in.
    with_triplets : list of bool or None
        As given.
    """

    def __init__(self, dataset, image_shape, limits, sizes, with_triplets):
        super().__init__(**loading_options(dataset))
        self._dataset = dataset
        self._limits = limits
        self.shape = (sum(sizes), *image_shape)
        self.batch_numbers = np.repeat(np.arange(len(sizes)), sizes)
        self.with_triplets = with_triplets

    def __len__(self):
        return self._dataset.num_batches

    def __getitem__(self, index):
        images, classes = read_batch(self._dataset, index)
        return as_images(images, self.shape[1:]), classes

    def on_epoch_begin(self):
        """Let the dataset do what it does before an epoch."""
        self._dataset.on_epoch_begin()

    def on_epoch_end(self):
        """Let the dataset do what it does after an epoch."""
        self._dataset.on_epoch_end()


def loading_options(dataset):
    """Tell by how many threads or processes a dataset wants to be read.

    Parameters
    ----------
    dataset : keras.utils.PyDataset
        The dataset.

    Returns
    -------
    dict
        Arguments for the constructor of another one, to be read alike.
    """
    names = "workers", "use_multiprocessing", "max_queue_size"
    return {name: getattr(dataset, name) for name in names}


def _to_numpy(part):
    return keras.ops.convert_to_numpy(part) if keras.ops.is_tensor(part) else np.asarray(part)
