"""The architectures of the judges: networks that map float NCHW images to logits."""

from __future__ import annotations

import torch
from torch import Tensor, nn

FEATURES = 64  # dimensions of the feature network's penultimate layer
COLOUR_WIDTHS = (24, 48, 48, 96, 96, 144)  # channels of `colour_layers`
POOLED = (0, 2, 4)  # layers after which the resolution is halved


class SceneNetwork(nn.Module):
    """The network that reads several labels: a ResNet18 up to its third stage, with a head.

    The ResNet18 is torchvision's. The head gives logits at each place of the feature map, which is
    4x4 for 64x64 pixels. A label is in the image if one place shows it, so the logits of all places
    are joined by logsumexp. The i-CLEVR lab uses a whole ResNet18, which averages over places and
    must therefore keep apart which object has which colour. On `shapes` a whole ResNet18 reads .80
    of the labels after 30,000 images, and this network .98 after 24,000.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        from torchvision.models import resnet18  # this import takes seconds

        r = resnet18()
        if channels != 3:
            r.conv1 = nn.Conv2d(channels, 64, 7, 2, 3, bias=False)
        head = nn.Conv2d(256, classes, 1)
        nn.init.constant_(head.bias, -5.0)  # type: ignore[arg-type]  # most places lack a label
        stages = (r.conv1, r.bn1, r.relu, r.maxpool, r.layer1, r.layer2, r.layer3)
        self.places = nn.Sequential(*stages, head)

    def forward(self, x: Tensor) -> Tensor:
        """x [N, C, H, W] -> logits [N, classes] float32."""
        return torch.logsumexp(self.places(x).float().flatten(2), dim=2)


Shape = tuple[int, int, int]  # channels, height, width


def in_colour(shape: Shape, labels: int) -> bool:
    """Whether the judges take images for photographs, which are harder to read than drawings."""
    return labels == 1 and shape[0] == 3 and min(shape[1:]) >= 16


def outputs(shape: Shape, classes: int) -> int:
    """Number of logits of a judge's networks: the classes, or the turns of images of one class."""
    turns = 4 if shape[1] == shape[2] else 2
    return classes if classes > 1 else turns


def label_network(shape: Shape, classes: int, labels: int) -> nn.Module:
    """A judge's network that reads labels.

    For one label per image: `small_network`, or `colour_layers` for images in colour. For several
    labels: `SceneNetwork`.
    """
    if labels > 1:
        return SceneNetwork(shape[0], classes).to(memory_format=torch.channels_last)
    if not in_colour(shape, labels):
        return small_network(shape, outputs(shape, classes))
    last = nn.Linear(COLOUR_WIDTHS[-1], outputs(shape, classes))
    return nn.Sequential(*colour_layers(shape, nn.MaxPool2d), last)


def colour_layers(shape: Shape, pool: type[nn.Module]) -> list[nn.Module]:
    """Layers from images in colour to a vector of `COLOUR_WIDTHS[-1]` numbers.

    Convolutions at four resolutions, of which the first is less than 64 pixels a side. The last
    convolution's outputs are averaged over the image.
    """
    layers: list[nn.Module] = []
    channels, stride = 3, max(1, max(shape[1:]) // 32)
    for place, width in enumerate(COLOUR_WIDTHS):
        layers += [nn.Conv2d(channels, width, 2 * stride + 1, stride, stride, bias=False)]
        layers += [nn.BatchNorm2d(width), nn.ReLU()]
        layers += [pool(2)] if place in POOLED else []
        channels, stride = width, 1
    return [*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()]


def small_network(shape: Shape, classes: int) -> nn.Module:
    """A classifier: strided convolutions until the feature map is at most 8x8, one hidden layer."""
    channels, *size = shape
    layers: list[nn.Module] = []
    width, kernel = 24, 5
    while True:
        layers += [nn.Conv2d(channels, width, kernel, 2, kernel // 2, bias=False)]
        layers += [nn.BatchNorm2d(width), nn.ReLU()]
        size = [(s + 1) // 2 for s in size]
        channels, width, kernel = width, 2 * width, 3
        if max(size) <= 8:
            break
    layers += [nn.Flatten(), nn.Linear(channels * size[0] * size[1], 128, bias=False)]
    layers += [nn.BatchNorm1d(128), nn.ReLU(), nn.Linear(128, classes)]
    return nn.Sequential(*layers)


def feature_network(shape: Shape, classes: int, labels: int) -> nn.Sequential:
    """A judge's network that gives features.

    Strided convolutions, whose first kernel has 6 pixels a side and the others 3, reduce the image
    to at most 4x4. There are at most six of them. Images in colour pass `colour_layers` instead.
    Then follow the 64 features and one linear layer.

    The features are normalised without scale or shift. Over the training data each feature thus has
    mean 0 and variance 1, so that distances of different data sets are of the same order.
    """
    if in_colour(shape, labels):
        layers, width = colour_layers(shape, nn.AvgPool2d), COLOUR_WIDTHS[-1]
    else:
        layers, width = _strided_layers(shape)
    layers += [nn.Linear(width, FEATURES, bias=False)]
    layers += [nn.BatchNorm1d(FEATURES, affine=False), nn.Linear(FEATURES, outputs(shape, classes))]
    return nn.Sequential(*layers)


def _strided_layers(shape: Shape) -> tuple[list[nn.Module], int]:
    """Layers from images to a vector, and its length."""
    channels, *size = shape
    layers: list[nn.Module] = []
    for width, kernel in zip((32, 64, 64, 64, 64, 64), (6, 3, 3, 3, 3, 3), strict=True):
        # Images of points are one pixel high. A kernel of 6 does not fit onto one pixel padded by
        # 2 on either side, so the padding is 3 there.
        pad = kernel // 2 - (kernel == 6 and min(size) > 1)
        layers += [nn.Conv2d(channels, width, kernel, 2, pad, bias=False)]
        layers += [nn.BatchNorm2d(width), nn.LeakyReLU(0.1)]
        size = [(s + 2 * pad - kernel) // 2 + 1 for s in size]
        channels = width
        if max(size) <= 4:
            break
    return [*layers, nn.Flatten()], channels * size[0] * size[1]
