"""A CT of a ball, and what takes the network's place to find it."""

import time

import numpy as np
import slicer

from ..models.store import list_models, read_spec

BACKGROUND_HU, BALL_HU = -100.0, 200.0
GATES = ("s2-1", "s2-2", "s3-1", "s3-2", "s4-1", "s4-2")


def add_phantom():
    """An oblique, flipped volume node with a ball of 18 mm radius, and the ball's centre in RAS."""
    shape, centre = (36, 60, 56), np.array([12.0, -25.0, 40.0])
    a, b = np.radians(20), np.radians(-15)
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    tilt = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    axes = turn @ tilt @ np.diag([-1.8, -1.8, 3.0])
    origin = centre - axes @ (np.array([26.0, 31.0, 17.0]))
    k, j, i = np.meshgrid(*map(np.arange, shape), indexing="ij")
    distance = np.linalg.norm(np.stack([i, j, k], axis=-1) @ axes.T + origin - centre, axis=-1)
    inside = np.clip(0.5 + (18 - distance) / 4, 0, 1)
    hu = BACKGROUND_HU + (BALL_HU - BACKGROUND_HU) * inside
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = axes, origin
    node = slicer.util.addVolumeFromArray(hu.astype(np.int16), name="Phantom")
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(matrix))
    return node, centre


def ball_predictor(seconds=0.0):
    """Takes the network's place: the ball is pancreas, and every gate passes what lies inside it."""
    import torch

    spec = read_spec(list_models()[0].folder)

    def predict(x):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            time.sleep(0.02)
            x = x + 0  # each call of torch is a chance to cancel
        hu = x * spec.intensity.std_hu + spec.intensity.mean_hu
        inside = torch.clamp((hu - BACKGROUND_HU) / (BALL_HU - BACKGROUND_HU), 0, 1)
        others = [torch.full_like(inside, -20.0)] * (spec.num_classes - 2)
        logits = torch.cat([10 * (1 - inside), 10 * inside, *others], dim=1)
        pool = torch.nn.functional.avg_pool3d
        return logits, {name: pool(inside, 2 ** (int(name[1]) - 1)) for name in GATES}

    return predict
