"""Photos to aligned faces: what it takes a photo, and what verification by them errs.

Some photos of some people of a folder that has a subfolder a person, all pairs of them, by
MobileFaceNet. `--skip` leaves out the first people, to measure others.

    python benchmarks/face_alignment.py --photos lfw_deepfunneled --embedder MobileFaceNet.onnx
"""

import argparse
import time

import numpy as np

from skdistort.datasets import ImageFolder
from skdistort.faces import FaceAligner
from skdistort.metrics import equal_error_rate, pair_scores
from skdistort.mobilefacenet import load_mobilefacenet

BATCH = 40


def timed(function, *args):
    """Give a result, and the milliseconds of processor and of wall time that it took."""
    starts = time.process_time(), time.perf_counter()
    found = function(*args)
    return found, 1e3 * (time.process_time() - starts[0]), 1e3 * (time.perf_counter() - starts[1])


def choose_photos(folder, n_people, n_photos, step, skip):
    """Take the first photos of people who have enough, spread over the alphabet."""
    names, counts = np.unique(folder.y, return_counts=True)
    names = names[counts >= n_photos][skip::step][:n_people]
    rows = [np.flatnonzero(folder.y == name)[:n_photos] for name in names]
    rows = np.concatenate(rows)
    return [folder.files[i] for i in rows], folder.y[rows]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", required=True)
    parser.add_argument("--embedder", required=True)
    parser.add_argument("--people", type=int, default=100)
    parser.add_argument("--photos-a-person", type=int, default=4)
    parser.add_argument("--step", type=int, default=6)
    parser.add_argument("--skip", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    # In the photos of LFW the person whom the folder names is in the middle.
    parser.add_argument("--face", default="central", choices=("largest", "central"))
    options = parser.parse_args()
    files, y = choose_photos(
        ImageFolder(options.photos),
        options.people,
        options.photos_a_person,
        options.step,
        options.skip,
    )
    aligner = FaceAligner(face=options.face, n_jobs=options.jobs)
    aligner.transform(files[:2])
    (X, usable), cpu, wall = timed(aligner.transform_usable, files)
    y = y[usable]
    print(f"{len(files)} photos of {len(set(y))} people, {len(files) - len(X)} without a face")
    print(f"aligned: {cpu / len(files):.1f} ms of processor time, {wall / len(files):.1f} ms each")
    embedder = load_mobilefacenet(options.embedder)

    def embed(X):
        batches = (np.float32(X[i : i + BATCH]) for i in range(0, len(X), BATCH))
        return np.concatenate([embedder.predict_on_batch(batch) for batch in batches])

    embed(X[: 2 * BATCH])
    embeddings, cpu, wall = timed(embed, X)
    print(f"embedded: {cpu / len(X):.1f} ms of processor time, {wall / len(X):.1f} ms each")
    genuine, scores = pair_scores(embeddings, y)
    eer, _ = equal_error_rate(genuine, scores)
    print(f"{genuine.sum()} pairs of one person, {(~genuine).sum()} of two: EER {100 * eer:.2f} %")


if __name__ == "__main__":
    main()
