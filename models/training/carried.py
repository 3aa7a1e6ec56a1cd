"""Trains the carried network: a ResNet-8 (the MLPerf Tiny topology) on Fashion-MNIST, seeded, to a float ONNX file.

Run as ``python -m skipstone.models.training.carried --images FOLDER --out FOLDER``; ``FOLDER`` holds the four IDX files of the
Debian package ``dataset-fashion-mnist``. Needs the extra ``train`` (torch). Writes the network, a calibration and an
evaluation set of real test images, and a card with the accuracy measured on all test images with ONNX Runtime.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipstone.files import atomic_file, write_file, write_json
from skipstone.models.data.datasets import DEBIAN_FOLDER, load_fashion_mnist

CLASSES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


def build_resnet8(channels: int = 1, classes: int = 10) -> Any:
    """The MLPerf Tiny ResNet-8: a 3x3 stem, three residual blocks of 16, 32, 64 channels, average pool, Gemm."""
    import torch
    from torch import nn
    from torch.nn import functional

    class ResidualBlock(nn.Module):
        def __init__(self, inputs: int, outputs: int, stride: int) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(outputs)
            self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(outputs)
            self.shortcut = nn.Conv2d(inputs, outputs, 1, stride) if stride > 1 else None

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
            return functional.relu(y + (x if self.shortcut is None else self.shortcut(x)))

    class ResNet8(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(channels, 16, 3, 1, 1, bias=False)
            self.bn = nn.BatchNorm2d(16)
            self.blocks = nn.Sequential(ResidualBlock(16, 16, 1), ResidualBlock(16, 32, 2), ResidualBlock(32, 64, 2))
            self.classifier = nn.Linear(64, classes)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.blocks(functional.relu(self.bn(self.stem(x))))
            return self.classifier(torch.flatten(functional.adaptive_avg_pool2d(x, 1), 1))

    return ResNet8()


def train(folder: Path, epochs: int, batch: int, seed: int) -> Any:
    """Trains on the 60,000 training images (shifted by up to 2 pixels, flipped); test data is never seen."""
    import torch
    from torch.nn import functional

    torch.manual_seed(seed)
    images_np, labels_np = load_fashion_mnist(folder, "train")
    images = functional.pad(torch.from_numpy(images_np), (2, 2, 2, 2))
    labels = torch.from_numpy(labels_np)
    network = build_resnet8().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)
    steps = -(-len(labels) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.2, epochs * steps, pct_start=0.2)
    for epoch in range(epochs):
        start, total_loss, correct = time.monotonic(), 0.0, 0
        for index in torch.randperm(len(labels)).split(batch):
            dy, dx = (int(v) for v in torch.randint(0, 5, (2,)))
            x = images[index, :, dy : dy + 28, dx : dx + 28]
            flip = torch.rand(len(index)) < 0.5
            x = torch.where(flip[:, None, None, None], x.flip(3), x).contiguous(memory_format=torch.channels_last)
            scores = network(x)
            loss = functional.cross_entropy(scores, labels[index], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total_loss += float(loss.detach()) * len(index)
            correct += int((scores.argmax(1) == labels[index]).sum())
        print(
            f"epoch {epoch + 1}/{epochs}: loss {total_loss / len(labels):.4f}, training accuracy "
            f"{correct / len(labels):.4f}, {time.monotonic() - start:.0f} s",
            flush=True,
        )
    return network.eval()


def export_onnx(network: Any, path: Path, input_shape: tuple[int, ...]) -> None:
    """Writes ``network`` as one ONNX file (opset 18, IR 10) with a fixed input shape."""
    import onnx
    import torch

    program = torch.onnx.export(
        network,
        (torch.zeros(input_shape),),
        input_names=["image"],
        output_names=["scores"],
        opset_version=18,
        dynamo=True,
    )
    assert program is not None
    model = program.model_proto
    model.ir_version = 10
    # The exporter notes where each node came from, with this machine's paths.
    for noted in (
        model,
        model.graph,
        *model.graph.node,
        *model.graph.value_info,
        *model.graph.input,
        *model.graph.output,
    ):
        del noted.metadata_props[:]
    onnx.checker.check_model(model, full_check=True)
    write_file(path, model.SerializeToString())


def accuracy(path: Path, images: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Top-1 accuracy of the ONNX file under ONNX Runtime, image by image (its batch is 1)."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    classes = [int(np.argmax(session.run(None, {name: image[None]})[0])) for image in images]
    return float(np.mean(np.array(classes) == labels))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, default=DEBIAN_FOLDER, help="folder of the four IDX files")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "data" / "carried")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    settings = f"--epochs {arguments.epochs} --batch {arguments.batch} --seed {arguments.seed}"
    arguments.out.mkdir(parents=True, exist_ok=True)
    network = train(arguments.images, arguments.epochs, arguments.batch, arguments.seed)
    path = arguments.out / "resnet8_fashion.onnx"
    export_onnx(network, path, (1, 1, 28, 28))
    images, labels = load_fashion_mnist(arguments.images, "t10k")
    # Calibration and evaluation images are disjoint and chosen once by the seed.
    order = np.random.default_rng(arguments.seed).permutation(len(labels))
    evaluation, calibration = np.sort(order[:1000]), np.sort(order[1000:1128])
    stem = arguments.out / "resnet8_fashion"
    with atomic_file(f"{stem}_evaluation.npz") as partial:
        np.savez_compressed(partial, images=images[evaluation], labels=labels[evaluation])
    with atomic_file(f"{stem}_calibration.npz") as partial:
        np.savez_compressed(partial, images=images[calibration])
    card = {
        "name": "resnet8_fashion",
        "task": "Fashion-MNIST, 10 classes",
        "topology": "ResNet-8 (MLPerf Tiny image classification), 1x28x28 input, pixel values 0 to 1",
        "classes": CLASSES,
        "training": f"python -m skipstone.models.training.carried {settings}",
        "accuracy_test_10000": accuracy(path, images, labels),
        "accuracy_evaluation_1000": accuracy(path, images[evaluation], labels[evaluation]),
        "data": "Fashion-MNIST (Zalando Research, Expat licence), Debian package dataset-fashion-mnist",
    }
    write_json(arguments.out / "resnet8_fashion.json", card, indent=2)
    print(json.dumps(card, indent=2))


if __name__ == "__main__":
    main()
