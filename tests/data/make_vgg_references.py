"""Makes `vgg16_pytorch.npz`: features that PyTorch computes from the same weights."""

import numpy as np
import torch
import torch.nn.functional as F

from jaxface.features.vgg import layer_names
from jaxface.features.weights import load_vgg

p = load_vgg()
image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
std = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
out = {"image": image}
for pooling, pool in (("max", F.max_pool2d), ("average", F.avg_pool2d)):
    y = (torch.tensor(image / 255.0, dtype=torch.float32).permute(2, 0, 1)[None] - mean) / std
    for n in layer_names():
        if n.startswith("conv"):
            if n.endswith("_1") and n != "conv1_1":
                y = pool(y, 2)
            y = F.conv2d(
                y,
                torch.tensor(np.array(p[n]["kernel"])).permute(3, 2, 0, 1),
                torch.tensor(np.array(p[n]["bias"])),
                padding=1,
            )
        else:
            y = F.relu(y)
        r = y[0].permute(1, 2, 0).numpy()
        if n in ("relu1_1", "conv2_2", "relu3_3", "conv4_2", "conv5_3"):
            out[f"{pooling}/{n}"] = r[:: max(1, r.shape[0] // 4), :: max(1, r.shape[1] // 4), ::16]
np.savez_compressed("tests/data/vgg16_pytorch.npz", **out)
