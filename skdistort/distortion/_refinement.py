"""Templates moved, pixel by pixel, until the embedder F sees in them what it has to see.

Keras has no public gradient with respect to an input. Here the pixels are the weights of a model
whose only other part is F, so that an optimiser of Keras moves them, on every backend. What the
embeddings ought to be is the caller's affair.
"""

from types import SimpleNamespace

import numpy as np

from .._backend import keras
from ..images._layout import row_multiple
from ..networks._pool import ModelPool
from ..networks._stored import fastest_form, jit_mode
from ..training._recording import RecordingModel

ops = keras.ops

# Length of a step of Adam, in logits. Of those tried on images to train on, from 0.01 to 0.5, 0.1
# brings faces a little nearer in 20 steps, and leaves digits twice as far, and more in 60.
_STEP = 0.2
# Nearer to black or white a pixel hardly moves in the first steps, which is where a generator that
# learned little begins. Of those tried, from 0.01 to 0.35, on images to train on, larger ones bring
# faces nearer, and less like the image, but leave digits farther off.
_EDGE = 0.1
# The least from which a pixel moves at all in as few steps.
LEAST_EDGE = 0.01
# Templates from which on a bar shows how far it is.
_LONG = 1000
_REFINERS = ModelPool(2)


class TemplatePixels(RecordingModel):
    """A batch of templates, a pixel a weight, before a frozen embedder.

    Parameters
    ----------
    embedder : keras.Model
        F, which takes images ``(n, h, w, c)``. It is frozen.
    n_templates : int
        How many templates there are.
    """

    def __init__(self, embedder, n_templates):
        super().__init__(name="template_pixels")
        embedder.trainable = False
        self.embedder = embedder
        self.logits = self.add_weight(
            shape=(n_templates, *embedder.input_shape[1:]), initializer="zeros", name="logits"
        )
        # A variable, so that another range needs no other compilation.
        self.limits = self.add_weight(
            shape=(2,), initializer="zeros", trainable=False, name="limits"
        )

    def call(self, targets):
        """Embed the templates as they are now; the targets are for the loss only."""
        low, high = self.limits[0], self.limits[1]
        return self.embedder(low + (high - low) * ops.sigmoid(self.logits), training=False)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Add up squared distances: a sum, so that no template's steps depend on the others."""
        return ops.sum(ops.square(ops.subtract(ops.cast(y_pred, "float32"), x)))

    def restart(self, templates, pixel_range, edge):
        """Put in other templates, in [0, 1], and let the optimiser forget the last ones."""
        inside = np.clip(templates, edge, 1 - edge)
        self.logits.assign(np.log(inside / (1 - inside)))
        self.limits.assign(np.float32(pixel_range))
        for variable in self.optimizer.variables:
            variable.assign(ops.zeros(variable.shape, variable.dtype))
        self.optimizer.learning_rate = _STEP

    def templates(self):
        """Give the templates as they are now, in [0, 1]."""
        return ops.convert_to_numpy(ops.sigmoid(self.logits))


def refine_templates(embedder, templates, targets, pixel_range, *, n_steps, edge=_EDGE, verbose=0):
    """Bring the embeddings of templates to their targets, by gradient descent on the pixels.

    Adam takes steps on the pixels' logits, so that they stay in ``(0, 1)``, to lower
    ``||F(T) - target||^2``. A template does not depend on the others, nor on their order.

    Parameters
    ----------
    embedder : StoredNetwork
        F.
    templates : ndarray of shape (n, h, w, c), dtype float32
        What G gave, in ``[0, 1]``.
    targets : ndarray of shape (n, m)
        What their embeddings are to be.
    pixel_range : tuple of 2 float
        The values of a pixel, for F, that 0 and 1 stand for.
    n_steps : int
        Steps of Adam.
    edge : float, default=0.1
        How far from 0 and from 1 each pixel begins at least.
    verbose : int, default=0
        1 shows a bar where there are many templates.

    Returns
    -------
    ndarray of shape (n, h, w, c), dtype float32
        Refined templates, in ``(0, 1)``.
    """
    # One size for all calls, so that results do not depend on how many templates there are.
    size = row_multiple(templates.shape[1:])
    refined = np.empty(templates.shape, dtype=np.float32)
    bar = None
    if verbose == 1 and len(templates) >= _LONG:
        bar = keras.utils.Progbar(len(templates), unit_name="template")
    key = embedder.architecture, size
    with _REFINERS.borrow(key, lambda: _compile(embedder, size)) as refiner:
        if refiner.weights is not embedder.weights:
            refiner.model.embedder.set_weights(embedder.weights)
            refiner.weights = embedder.weights
        for start in range(0, len(templates), size):
            # The last batch is filled up with its last template.
            rows = np.minimum(np.arange(start, start + size), len(templates) - 1)
            batch = ops.convert_to_tensor(targets[rows], "float32")
            refiner.model.restart(templates[rows], pixel_range, edge)
            for _ in range(n_steps):
                refiner.model.train_on_batch(batch)
            done = refiner.model.templates()[: len(templates) - start]
            refined[start : start + len(done)] = done
            if bar is not None:
                bar.update(start + len(done))
        refiner.model.release()
    return refined


def _compile(embedder, n_templates):
    model = TemplatePixels(fastest_form(embedder.rebuild()), n_templates)
    model.compile(optimizer=keras.optimizers.Adam(0.0, name="adam"), jit_compile=jit_mode())
    # Variables that come to be within the first step would have it traced twice.
    model.optimizer.build(model.trainable_variables)
    return SimpleNamespace(model=model, weights=embedder.weights)
