"""Training beside a loop written by hand in PyTorch, in one run: images a second and their ratio.

The U-Net with a frozen embedder behind it, and the triplet step of an embedder, are trained by the
estimators on each backend that is installed, and by hand-written PyTorch (channels last, TF32,
fused Adam, autocast), an epoch of one after an epoch of the other. The hand-written loop has its
data on the device (``memory``) or takes each batch from the host (``host``); the estimators get
numpy arrays, as users give them. Run ``python benchmarks/peer_training.py``; on a CPU each process
keeps to one core. It needs PyTorch.
"""

import argparse
import importlib.util
import os
import subprocess
import sys
import time

import numpy as np

BACKENDS = {"tensorflow": "tensorflow", "torch": "torch", "jax": "jax"}
ALPHA, PI_EMB, MARGIN = 0.2, 0.5, 1.0
N_COMPONENTS, HIDDEN_UNITS, SAMPLES_PER_CLASS = 10, 128, 8
EMBEDDER_FILTERS = (16, 32, 64)


def installed_backends():
    return [name for name, module in BACKENDS.items() if importlib.util.find_spec(module)]


def peer_networks(filters, size):
    """Write the two networks in PyTorch: the U-Net, and the encoder with its unit length."""
    import torch
    from torch import nn

    def block(given, maps):
        parts = []
        for channels in (given, maps):
            parts += [nn.Conv2d(channels, maps, 3, padding=1, bias=False)]
            parts += [nn.BatchNorm2d(maps, eps=1e-3), nn.LeakyReLU(0.01)]
        return nn.Sequential(*parts)

    class UNet(nn.Module):
        def __init__(self):
            super().__init__()
            widths = (1, *filters[:-1])
            self.down = nn.ModuleList(map(block, widths[:-1], widths[1:]))
            self.bottom = block(filters[-2], filters[-1])
            levels = list(zip(filters[1:], filters[:-1], strict=True))[::-1]
            self.rise = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, stride=2) for a, b in levels)
            self.up = nn.ModuleList(block(2 * b, b) for _, b in levels)
            self.pixels = nn.Conv2d(filters[0], 1, 1)

        def forward(self, x):
            skips = []
            for level in self.down:
                x = level(x)
                skips.append(x)
                x = nn.functional.max_pool2d(x, 2)
            x = self.bottom(x)
            for rise, level in zip(self.rise, self.up, strict=True):
                x = level(torch.cat([rise(x), skips.pop()], dim=1))
            return torch.sigmoid(self.pixels(x))

    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            widths = (1, *EMBEDDER_FILTERS)
            self.levels = nn.ModuleList(map(block, widths[:-1], widths[1:]))
            side = size
            for _ in EMBEDDER_FILTERS:
                side = -(-side // 2)
            self.hidden = nn.Linear(side * side * EMBEDDER_FILTERS[-1], HIDDEN_UNITS, bias=False)
            self.norm = nn.BatchNorm1d(HIDDEN_UNITS, eps=1e-3)
            self.projection = nn.Linear(HIDDEN_UNITS, N_COMPONENTS)

        def forward(self, x):
            for level in self.levels:
                x = nn.functional.max_pool2d(level(x), 2, ceil_mode=True)
            x = self.norm(self.hidden(x.flatten(1)))
            x = self.projection(nn.functional.leaky_relu(x, 0.01)).float()
            return nn.functional.normalize(x)

    return UNet(), Encoder()


class Peer:
    """Hand-written training of one task, an epoch a call."""

    def __init__(self, task, X, y, options, device):
        import torch

        if device.type == "cpu" and not options.all_cores:
            torch.set_num_threads(1)
        self.torch, self.device, self.task = torch, device, task
        self.batch_size, self.mixed = options.batch_size, options.policy != "float32"
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        unet, encoder = peer_networks(options.filters, options.size)
        unet, encoder = (
            part.to(device, memory_format=torch.channels_last) for part in (unet, encoder)
        )
        self.encoder, self.trained = encoder, unet if task == "unet" else encoder
        fused = {"fused": True} if device.type == "cuda" else {"foreach": True}
        self.optimizer = torch.optim.Adam(self.trained.parameters(), lr=1e-4, **fused)
        self.X = torch.as_tensor(X[:, None]).contiguous(memory_format=torch.channels_last)
        self.y = torch.as_tensor(y)
        with torch.no_grad():
            encoder.eval()
            targets = [encoder(part.to(device)) for part in self.X.split(self.batch_size)]
        self.Z = torch.cat(targets).cpu()
        if task == "unet":
            encoder.requires_grad_(False)

    def place(self, where):
        """Put the data where an epoch takes it from."""
        for name in ("X", "y", "Z"):
            data = getattr(self, name)
            if where == "memory":
                data = data.to(self.device)
            elif self.device.type == "cuda":
                data = data.cpu().pin_memory()
            setattr(self, name, data)

    def batch(self, data, rows):
        picked = data[rows.to(data.device)]
        if self.device.type == "cuda" and not picked.is_cuda:
            picked = picked.pin_memory().to(self.device, non_blocking=True)
        return picked

    def epoch(self, rows):
        torch = self.torch
        self.trained.train()
        for picked in torch.as_tensor(rows):
            x = self.batch(self.X, picked)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed):
                out = self.trained(x)
                if self.task == "unet":
                    out, embedded = out.float(), self.encoder(out)
            if self.task == "unet":
                distance = (embedded - self.batch(self.Z, picked)).square().sum(1)
                hinge = (distance - ALPHA).relu()
                dissimilar = (out - x).square().mean((1, 2, 3))
                loss = (PI_EMB * hinge - (1 - PI_EMB) * dissimilar).mean()
            else:
                loss = self.triplets(out, self.batch(self.y, picked))
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def triplets(self, Z, y):
        """Mean hinge over the active triplets of a batch, pairs of positives first."""
        torch = self.torch
        distances = (2 - 2 * Z @ Z.T).clamp(min=0)
        same = y[:, None] == y
        apart = ~same
        # As many as the batch has, known from how it was drawn, so that nothing has to wait.
        same = same & ~torch.eye(len(y), dtype=torch.bool, device=y.device)
        anchors, positives = same.nonzero_static(size=len(y) * (SAMPLES_PER_CLASS - 1)).T
        hinges = distances[anchors, positives][:, None] - distances[anchors] + MARGIN
        hinges = hinges.relu() * apart[anchors]
        return hinges.sum() / (hinges > 0).sum().clamp(min=1)


def balanced_rows(rng, y, batch_size):
    """Draw batches of classes with so many samples each."""
    order = np.argsort(y + rng.random_sample(len(y)), kind="stable").reshape(-1, SAMPLES_PER_CLASS)
    order = order[rng.permutation(len(order))].ravel()
    return order[: len(y) // batch_size * batch_size].reshape(-1, batch_size)


def shuffled_rows(rng, y, batch_size):
    return rng.permutation(len(y))[: len(y) // batch_size * batch_size].reshape(-1, batch_size)


def measure(task, options):
    """Train by the estimator and by hand, in turn; give seconds an epoch of each."""
    import keras
    import torch
    from sklearn.frozen import FrozenEstimator

    from skdistort import DistortionGenerator, TripletEmbedder

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    # On one core the processor's time is the same, and does not count what else the core does.
    clock = time.perf_counter if device.type == "cuda" or options.all_cores else time.process_time
    rng = np.random.RandomState(0)
    X = rng.random_sample((options.images, options.size, options.size)).astype(np.float32)
    # Classes of few samples, so that a batch seldom has one of them twice.
    y = np.arange(options.images) // SAMPLES_PER_CLASS
    peer = Peer(task, X, y, options, device)
    rows = balanced_rows if task == "triplet" else shuffled_rows
    seconds = {"estimator": [], "memory": [], "host": []}

    class InTurn(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.start = clock()

        def on_epoch_end(self, epoch, logs=None):
            seconds["estimator"].append(clock() - self.start)
            for where in ("memory", "host") if device.type == "cuda" else ("memory",):
                peer.place(where)
                start = clock()
                peer.epoch(rows(rng, y, options.batch_size))
                seconds[where].append(clock() - start)

    common = {
        "batch_size": options.batch_size,
        "epochs": options.repeats + 1,
        "dtype_policy": options.policy,
        "schedule": "constant",
        "random_state": 0,
    }
    shape = {"filters": EMBEDDER_FILTERS, "hidden_units": HIDDEN_UNITS}
    if task == "unet":
        embedder = TripletEmbedder(N_COMPONENTS, epochs=1, random_state=0, **shape)
        embedder.fit(X[:256], np.arange(256) % 8)
        DistortionGenerator(
            FrozenEstimator(embedder),
            architecture="unet",
            filters=options.filters,
            alpha=ALPHA,
            pi_emb=PI_EMB,
            refinement_steps=0,
            callbacks=[InTurn()],
            **common,
        ).fit(X)
    else:
        TripletEmbedder(
            N_COMPONENTS,
            margin=MARGIN,
            samples_per_class=SAMPLES_PER_CLASS,
            callbacks=[InTurn()],
            **shape,
            **common,
        ).fit(X, y)
    own, peers = (np.array(seconds[key]) for key in ("estimator", "memory"))
    n_images = options.images // options.batch_size * options.batch_size
    ratios = peers[1:] / own[1:]
    line = (
        f"{keras.backend.backend()} {task} {options.size}x{options.size} {options.policy}: "
        f"{n_images / np.median(own[1:]):.0f} images/s, by hand "
        f"{n_images / np.median(peers[1:]):.0f}"
    )
    if seconds["host"]:
        from_host = np.array(seconds["host"])
        line += f" (from the host {n_images / np.median(from_host[1:]):.0f}, ratio "
        line += f"{np.median(from_host[1:] / own[1:]):.2f})"
    print(
        f"{line}; ratio {np.median(ratios):.2f} ({ratios.min():.2f} to {ratios.max():.2f}); "
        f"first epoch {own[0]:.1f} s",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backends", nargs="+", choices=BACKENDS)
    parser.add_argument("--tasks", nargs="+", choices=("unet", "triplet"))
    parser.add_argument("--size", type=int, default=28)
    parser.add_argument("--filters", type=int, nargs="+", default=[16, 32, 64])
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--images", type=int, default=2048)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--policy", choices=("float32", "mixed_bfloat16"), default="float32")
    parser.add_argument("--all-cores", action="store_true", help="do not keep to one core")
    options = parser.parse_args()
    tasks = options.tasks or ["unet", "triplet"]
    if options.backends is None or len(options.backends) > 1:
        for backend in options.backends or installed_backends():
            arguments = [sys.executable, *sys.argv, "--backends", backend]
            subprocess.run(arguments, check=True)
        return
    os.environ["KERAS_BACKEND"] = options.backends[0]
    # The two frameworks of one process share a GPU's memory.
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"
    if not options.all_cores:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
    for task in tasks:
        measure(task, options)


if __name__ == "__main__":
    main()
