"""How the parameters of a generator become a trained network.

The networks and their loss are in `_generators`, the batches in `_generator_batches`; what a fitted
generator does with images is in `_distorting`.
"""

import warnings
from functools import partial
from math import prod

from sklearn.exceptions import ConvergenceWarning

from .._labels import encode_classes
from ..distances import check_image_distance, get_image_distance
from ..images._layout import check_pixel_range
from ..images._sources import some_images
from ..images._streams import ImageStream
from ..networks import build_unet, check_filters
from ..networks._pool import architecture
from ..networks._stored import StoredNetwork
from ..training._base import all_or_nothing
from ..training._batches import spawn_rng
from ._batches import generator_batches, streamed_generator_batches
from ._distorting import DistortingTransformer
from ._embedder import check_embedder, fit_embedder
from ._training import build_generator, build_training_network, generator_loss

# Enough to measure shares to a few per cent, few enough to cost nothing beside the training; of
# large images as many as 16 MB hold, but some.
_N_DIAGNOSED, _DIAGNOSED_VALUES, _FEWEST_DIAGNOSED = 256, 2**22, 8


class LearningTransformer(DistortingTransformer):
    """The training of a generator, for a subclass that has its parameters."""

    @all_or_nothing
    def _fit(self, X, y, one_pass=False):
        fitted = hasattr(self, "network_")
        goes_on = fitted and (one_pass or self.warm_start)
        images = self._validate_training_images(X, y, reset=not (one_pass and fitted))
        streamed = isinstance(images, ImageStream)
        check_filters(self.filters)
        check_image_distance(self.distance, self.image_shape_)
        self._check_key_and_embedder(images.with_triplets if streamed else y, goes_on)
        labels = encode_classes(images, y) if self.train_embedder and not streamed else None
        rng = self._training_rng(one_pass)
        groups = images.batch_numbers if streamed else None
        training, validation = self._split_rows(images.shape[0], rng, groups, one_pass=one_pass)
        network_rng, batch_rng, validation_rng = (spawn_rng(rng) for _ in range(3))
        # A generator that goes on has learned with this embedder, in this range.
        if not goes_on:
            self.keyed_ = self.key is not None
            if isinstance(self.pixel_range, str):
                self.pixel_range_ = float(images.min()), float(images.max())
            else:
                self.pixel_range_ = check_pixel_range(self.pixel_range)
            self.embedder_ = fit_embedder(
                self.embedder,
                images,
                y,
                defaults={
                    "dtype_policy": self.dtype_policy,
                    "verbose": self.verbose,
                    "random_state": rng.randint(2**31 - 1),
                },
            )
        # Of its own: another generator may borrow the compiled step, and put its F in there.
        embedder = self.embedder_.rebuild()
        embedder.trainable = self.train_embedder
        n_components = embedder.output_shape[-1]
        shared = {
            "pixel_range": self.pixel_range_,
            "sees_image": self.architecture == "unet",
            "keyed": self.keyed_,
        }
        if streamed:
            make_batches = partial(
                streamed_generator_batches,
                images,
                n_components=n_components,
                learns=self.train_embedder,
                **shared,
            )
        else:
            make_batches = partial(
                generator_batches,
                images,
                self._embed_shared(images),
                labels=labels,
                batch_size=self.batch_size,
                **shared,
            )
        batches = make_batches(rows=training, rng=batch_rng, redraw=True)
        watched = None
        if validation is not None:
            watched = make_batches(rows=validation, rng=validation_rng, redraw=False)
        generator = self._start_network(
            lambda: build_generator(
                self.architecture,
                self.image_shape_,
                n_components=n_components,
                filters=self.filters,
                rng=network_rng,
                dtype=self.dtype_policy,
            ),
            one_pass=one_pass,
        )
        self._train_networks(generator, embedder, batches, watched, network_rng, streamed, one_pass)
        self.network_ = StoredNetwork(generator)
        return images

    def _check_key_and_embedder(self, y, goes_on):
        """Refuse combinations of parameters that have no sense, before anything is trained."""
        if self.key is not None and self.architecture == "unet":
            raise ValueError(
                'key needs architecture="bottleneck": the skip connections of "unet" would '
                "carry the image into its templates under every key."
            )
        if goes_on and self.keyed_ != (self.key is not None):
            raise ValueError(
                "Training goes on as the previous fit began, which was "
                f"{'with' if self.keyed_ else 'without'} a key."
            )
        if self.train_embedder and y is None:
            raise ValueError("train_embedder=True needs y: the embedder learns from classes.")
        check_embedder(self.embedder, self.image_shape_)

    def _train_networks(self, generator, embedder, batches, watched, rng, streamed, one_pass):
        """Train G in place; `embedder_` becomes what F has learned, if it does."""
        parts = ["image_distance", "embedding_distance"]
        adversary = None
        if self.adversary_weight:
            parts.append("adversary_distance")
            # A generator from a file may have any name that Keras counts up.
            adversary = build_unet(
                self.image_shape_,
                filters=self.filters,
                rng=rng,
                dtype=self.dtype_policy,
                name="adversary",
            )
        if self.train_embedder:
            parts.append("triplet_loss")
        embeds, seen = streamed or self.train_embedder, "input"
        if embeds and self.architecture != "unet":
            # Embeddings that stay as they are have been rotated before they come in.
            seen = "plain" if not self.keyed_ else "rotated" if streamed else "input"
        network = build_training_network(
            generator,
            embedder,
            self.pixel_range_,
            embeds=embeds,
            seen=seen,
            adversary=adversary,
            adversary_weight=self.adversary_weight,
        )
        signature = None
        # A callable may not do the same next time.
        if isinstance(self.distance, str):
            models = [generator, embedder, *([] if adversary is None else [adversary])]
            architectures = [architecture(model.to_json()) for model in models]
            switches = embeds, seen, self.train_embedder, self.adversary_weight
            signature = *architectures, *switches, self.distance
        self._train(
            network,
            partial(
                generator_loss,
                distance=get_image_distance(self.distance),
                adversary_weight=self.adversary_weight,
            ),
            parts,
            batches,
            watched,
            monitor="loss",
            signature=signature,
            one_pass=one_pass,
            alpha=self.alpha,
            pi_emb=self.pi_emb,
        )
        if self.train_embedder:
            self.embedder_ = StoredNetwork(embedder)

    def _warn_of_failures(self, images):
        n = min(_N_DIAGNOSED, _DIAGNOSED_VALUES // prod(images.shape[1:]))
        diagnosis = self._diagnose(some_images(images, max(_FEWEST_DIAGNOSED, n)))
        if diagnosis.failures:
            warnings.warn(
                f"The distortion failed: {', '.join(diagnosis.failures)} ({diagnosis}). More "
                "epochs, another distance, alpha or pi_emb may help.",
                ConvergenceWarning,
                stacklevel=4,
            )
