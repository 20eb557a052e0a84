"""Photos and detectors that are made up, so that who finds what where is known."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from skdistort.faces import Faces

# Of a face of one pixel: eyes, nose and corners of the mouth.
POINTS = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]])


def make_ramp(height, width):
    """Red tells the column of a pixel, green its row."""
    photo = np.zeros((height, width, 3), dtype=np.uint8)
    photo[:, :, 0] = np.arange(width)
    photo[:, :, 1] = np.arange(height)[:, None]
    return photo


class FixedFaces:
    """Finds the same faces in every photo: (left, upper, size, confidence) of each."""

    def __init__(self, *faces):
        self.faces = faces

    def detect(self, photo):
        faces = np.reshape(self.faces, (-1, 4)).astype(float)
        first, size = faces[:, :2], faces[:, 2:3]
        points = first[:, None] + size[:, None] * POINTS
        return Faces(np.hstack([first, first + size]), faces[:, 3], points)


def write_detector(path, channels=(1, 2, 2, 10)):
    """Write a network with CenterFace's outputs that sees bright squares of four by four pixels.

    Red is the confidence, green the logarithm of the size, blue how far up and left the middle is;
    the points are those above.
    """
    mean = np.full((3, 4, 4), 1 / (16 * 255), dtype=np.float32)
    of_channel = [mean * (np.arange(3) == i)[:, None, None] for i in range(3)]
    parts = {
        "heat": (np.tile(of_channel[0], (channels[0], 1, 1, 1)), [0] * channels[0]),
        "sizes": (np.tile(4 * of_channel[1], (channels[1], 1, 1, 1)), [0] * channels[1]),
        "offsets": (np.tile(-of_channel[2], (channels[2], 1, 1, 1)), [0] * channels[2]),
        "points": (np.zeros((channels[3], 3, 4, 4)), POINTS[:, ::-1].ravel()[: channels[3]]),
    }
    nodes, tensors, outputs = [], [], []
    for name, (kernel, bias) in parts.items():
        for suffix, array in (("kernel", kernel), ("bias", bias)):
            tensors.append(numpy_helper.from_array(np.float32(array), f"{name}_{suffix}"))
        inputs = ["x", f"{name}_kernel", f"{name}_bias"]
        nodes.append(helper.make_node("Conv", inputs, [name], strides=[4, 4]))
        shape = [1, len(kernel), 8, 8]
        outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 32, 32])
    graph = helper.make_graph(nodes, "test", [image], outputs, tensors)
    opset = [helper.make_opsetid("", 13)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path
