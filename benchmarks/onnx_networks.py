"""ONNX networks of many makes as embedders: what `load_onnx` makes of them beside onnxruntime.

First the networks are written, with random weights, by the libraries that people take them from.
PyTorch, torchvision and timm may be installed in an environment of their own for that:

    python benchmarks/onnx_networks.py export FOLDER

Then each is loaded, compared with onnxruntime and trained with for one step, on the backend that
KERAS_BACKEND names:

    python benchmarks/onnx_networks.py compare FOLDER
"""

import argparse
import json
import sys
import time
import traceback
import warnings
from pathlib import Path

import numpy as np

SIZE, N_COMPONENTS, N_IMAGES = 112, 128, 8


def draw_images(seed):
    """Draw smooth images, channels first, about as bright as what networks are given."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(size=(N_IMAGES, 3, SIZE // 8, SIZE // 8))
    return np.float32(np.kron(coarse, np.ones((1, 1, 8, 8))) + 0.1 * rng.normal())


def define_networks():
    """Say how each network is made, with which options of the exporter."""
    import timm
    import torchvision.models as vision
    from torch import nn
    from torch.nn import functional

    def convolve(maps_in, maps, size=3, stride=1, groups=1, padding=None):
        padding = size // 2 if padding is None else padding
        return nn.Conv2d(maps_in, maps, size, stride, padding, groups=groups, bias=False)

    class ResidualBlock(nn.Module):
        """The block of iresnet (ArcFace)."""

        def __init__(self, maps_in, maps, stride):
            super().__init__()
            self.way = nn.Sequential(
                nn.BatchNorm2d(maps_in),
                convolve(maps_in, maps),
                nn.BatchNorm2d(maps),
                nn.PReLU(maps),
                convolve(maps, maps, stride=stride),
                nn.BatchNorm2d(maps),
            )
            self.shortcut = nn.Identity()
            if stride != 1 or maps_in != maps:
                self.shortcut = nn.Sequential(
                    convolve(maps_in, maps, 1, stride), nn.BatchNorm2d(maps)
                )

        def forward(self, x):
            return self.way(x) + self.shortcut(x)

    def iresnet18():
        blocks, maps_in = [], 64
        for maps in (64, 128, 256, 512):
            blocks += [ResidualBlock(maps_in, maps, 2), ResidualBlock(maps, maps, 1)]
            maps_in = maps
        return nn.Sequential(
            *(convolve(3, 64), nn.BatchNorm2d(64), nn.PReLU(64), *blocks),
            *(nn.BatchNorm2d(512), nn.Dropout(), nn.Flatten()),
            *(nn.Linear(512 * 7 * 7, N_COMPONENTS), nn.BatchNorm1d(N_COMPONENTS)),
        )

    class Bottleneck(nn.Module):
        """The block of MobileFaceNet."""

        def __init__(self, maps_in, maps, stride, expansion):
            super().__init__()
            between = maps_in * expansion
            self.way = nn.Sequential(
                *(convolve(maps_in, between, 1), nn.BatchNorm2d(between), nn.PReLU(between)),
                convolve(between, between, 3, stride, groups=between),
                *(nn.BatchNorm2d(between), nn.PReLU(between)),
                *(convolve(between, maps, 1), nn.BatchNorm2d(maps)),
            )
            self.shortens = stride == 1 and maps_in == maps

        def forward(self, x):
            return self.way(x) + x if self.shortens else self.way(x)

    def mobilefacenet():
        layers = [convolve(3, 64, stride=2), nn.BatchNorm2d(64), nn.PReLU(64)]
        layers += [convolve(64, 64, groups=64), nn.BatchNorm2d(64), nn.PReLU(64)]
        maps_in = 64
        table = (2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1)
        for expansion, maps, repeats, stride in table:
            for i in range(repeats):
                layers.append(Bottleneck(maps_in, maps, stride if i == 0 else 1, expansion))
                maps_in = maps
        layers += [convolve(128, 512, 1), nn.BatchNorm2d(512), nn.PReLU(512)]
        layers += [convolve(512, 512, 7, groups=512, padding=0), nn.BatchNorm2d(512)]
        layers += [convolve(512, N_COMPONENTS, 1), nn.BatchNorm2d(N_COMPONENTS), nn.Flatten()]
        return nn.Sequential(*layers)

    class InPixels(nn.Module):
        """As SFace's file: pixels are scaled, and embeddings have unit length, inside."""

        def __init__(self):
            super().__init__()
            self.network = mobilefacenet()

        def forward(self, x):
            x = ((127.5 * x + 127.5) - 127.5) * 0.0078125
            return functional.normalize(self.network(x))

    def by_torchvision(name, **options):
        return lambda: getattr(vision, name)(weights=None, num_classes=N_COMPONENTS, **options)

    def by_timm(name):
        return lambda: timm.create_model(name, pretrained=False, num_classes=N_COMPONENTS)

    old, new = {"dynamo": False}, {"dynamo": True}
    return {
        "iresnet18": (iresnet18, {**old, "opset_version": 11}),
        "MobileFaceNet": (mobilefacenet, new),
        "SFace-like": (InPixels, {**old, "opset_version": 17}),
        "MobileNetV2": (by_torchvision("mobilenet_v2"), {**old, "opset_version": 13}),
        "MobileNetV3": (by_torchvision("mobilenet_v3_large"), {**old, "opset_version": 17}),
        "EfficientNet-B0": (by_torchvision("efficientnet_b0"), new),
        "SqueezeNet": (by_torchvision("squeezenet1_1"), {**old, "opset_version": 11}),
        "ShuffleNetV2": (by_torchvision("shufflenet_v2_x1_0"), {**old, "opset_version": 13}),
        "DenseNet-121": (by_torchvision("densenet121"), new),
        "GoogLeNet": (
            by_torchvision("googlenet", aux_logits=False, init_weights=False),
            {**old, "opset_version": 13},
        ),
        "RegNetY": (by_torchvision("regnet_y_400mf"), new),
        "GhostNet (timm)": (by_timm("ghostnet_100"), new),
        "ConvNeXt (timm)": (by_timm("convnext_atto"), {**old, "opset_version": 17}),
        "MobileNetV3 (timm)": (by_timm("mobilenetv3_small_100"), {**old, "opset_version": 13}),
    }


def randomise(network):
    """Give batch normalisation statistics near to those of images, and weights that are not 1."""
    import torch

    generator = torch.Generator().manual_seed(0)
    normalisations = [
        m for m in network.modules() if isinstance(m, (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d))
    ]
    for layer in normalisations:
        layer.reset_running_stats()
        layer.momentum = None
        torch.nn.init.uniform_(layer.weight, 0.5, 1.5, generator=generator)
        torch.nn.init.normal_(layer.bias, 0, 0.2, generator=generator)
    for layer in network.modules():
        if isinstance(layer, torch.nn.PReLU):
            torch.nn.init.uniform_(layer.weight, 0, 0.5, generator=generator)
    network.train()
    with torch.no_grad():
        network(torch.from_numpy(draw_images(0)))
        for layer in normalisations:
            share = torch.rand(layer.running_var.shape, generator=generator)
            layer.running_var *= 0.8 + 0.4 * share
            layer.running_mean += 0.2 * (share - 0.5) * layer.running_var.sqrt()
    return network.eval()


def export(folder, only):
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    for name, (make, options) in define_networks().items():
        if only and name not in only:
            continue
        torch.manual_seed(0)
        network = randomise(make())
        path = folder / f"{name}.onnx"
        if options["dynamo"]:
            options = {**options, "dynamic_shapes": ({0: torch.export.Dim.DYNAMIC},)}
        else:
            options = {**options, "dynamic_axes": {"images": {0: "n"}}}
        images = torch.from_numpy(draw_images(0)[:2])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                network, (images,), str(path), input_names=["images"], verbose=False, **options
            )
        print(f"{path.name}: {json.dumps({k: str(v) for k, v in options.items()})}", flush=True)


def compare(folder, only):
    import keras

    print(f"{keras.backend.backend()}, Keras {keras.__version__}")
    header = ("network", "nodes", "layers", "load s", "largest", "differs", "as F", "fit s", "loss")
    rows = [header]
    passed = 0
    for path in sorted(folder.glob("*.onnx")):
        if only and path.stem not in only:
            continue
        try:
            row, good = compare_one(path)
        except Exception:
            traceback.print_exc()
            row, good = (path.stem, *["-"] * 7, "failed"), False
        passed += good
        rows.append(row)
        print("  ".join(map(str, row)), flush=True)
    print()
    widths = [max(len(str(row[i])) for row in rows if i < len(row)) for i in range(len(header))]
    for row in rows:
        print("  ".join(f"{v!s:<{w}}" for v, w in zip(row, widths, strict=False)).rstrip())
    print(f"{passed} of {len(rows) - 1} pass: within 1e-4 of onnxruntime, and a generator learns.")
    print("largest: of the outputs; differs: from onnxruntime; as F: scaled to unit length.")
    return passed


def compare_one(path):
    """Load a network, compare it, and train a generator with it for a step."""
    import keras
    import onnx
    import onnxruntime

    from skdistort import DistortionGenerator
    from skdistort.networks import UnitLength
    from skdistort.onnx import load_onnx

    start = time.perf_counter()
    network = load_onnx(path, mean=127.5, std=127.5)
    loading = time.perf_counter() - start
    images = draw_images(1)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {session.get_inputs()[0].name: images})
    pixels = 127.5 * images.transpose(0, 2, 3, 1) + 127.5
    found = network.predict(pixels, verbose=0)
    largest, difference = np.abs(expected).max(), np.abs(found - expected).max()
    unit, unit_found = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (expected, found))
    unit_difference = np.abs(unit - unit_found).max()
    # Else agreement would say little.
    varies = np.abs(unit - unit.mean(axis=0)).max()

    before = [w.copy() for w in network.get_weights()]
    embedder = keras.Model(network.input, UnitLength()(network.output))
    generator = DistortionGenerator(
        embedder, filters=(4, 8), epochs=1, batch_size=N_IMAGES, random_state=0
    )
    start = time.perf_counter()
    with warnings.catch_warnings():
        # One step makes no templates.
        warnings.simplefilter("ignore")
        generator.fit(pixels)
    step = time.perf_counter() - start
    (loss,) = generator.history_["loss"]
    templates = generator.transform(pixels)
    same = all(map(np.array_equal, before, generator.embedder_.weights))
    good = bool(
        # Outputs of random weights may be of any size.
        difference < 1e-4 * max(1, largest)
        and unit_difference < 1e-4
        and varies > 1e-2
        and np.isfinite(loss)
        and np.isfinite(templates).all()
        and same
    )
    row = (
        path.stem,
        len(onnx.load(path, load_external_data=False).graph.node),
        len(network.layers),
        f"{loading:.1f}",
        f"{largest:.2f}",
        f"{difference:.1e}",
        f"{unit_difference:.1e}",
        f"{step:.0f}",
        f"{loss:.3f}" + ("" if good else ", failed"),
    )
    return row, good


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=("export", "compare"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="+", help="names of networks; all by default")
    options = parser.parse_args()
    if options.command == "export":
        export(options.folder, options.only)
        return 0
    return 0 if compare(options.folder, options.only) else 1


if __name__ == "__main__":
    sys.exit(main())
