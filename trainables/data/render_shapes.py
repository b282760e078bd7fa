"""Draws the scenes of `shapes`.

Objects are placed at random, shaded by one light and seen from above at an angle.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

SIDE = 64  # pixels
MOST = 3  # objects in an image
KINDS = ("cube", "sphere", "cylinder")
COLOURS = {  # RGB, as in CLEVR (Johnson et al. 2017)
    "gray": (87, 87, 87),
    "red": (173, 35, 35),
    "blue": (42, 75, 215),
    "green": (29, 105, 20),
    "brown": (129, 74, 25),
    "purple": (129, 38, 192),
    "cyan": (41, 208, 208),
    "yellow": (255, 238, 51),
}
# The unit of length is half the image's side. x points right, y away from the viewer, z up.
FINE = 2 * SIDE  # pixels per side while drawing; four of them become one pixel
UNIT = FINE / 2  # pixels of the drawing per unit of length
MARGIN = 16  # pixels around the drawing, on which shadows may fall
WINDOW = 68  # pixels: side of the square in which an object is drawn
SIN, COS = 0.6, 0.8  # of the angle at which the viewer looks down
LIGHT = (-0.48, -0.6, 0.64)  # unit vector towards the light
# Unit vector halfway between the directions to the light and to the viewer.
SHINE = tuple(value / 3.728**0.5 for value in (-0.48, -1.4, 1.24))
APART = 0.58  # least distance between two objects on the ground
PLACES = 96  # random candidates for the places of the objects of one image


@dataclass(frozen=True)
class Scenes:
    """What n images show. The objects of an image are in order, the farthest first.

    Arrays are [n, 3] unless their comment says otherwise.

    ```
    render(Scenes.set_up(labels, rng))
    ```
    """

    labels: NDArray[np.int64]  # 8 * kind + colour; -1: no object
    column: Array  # of the object's centre in the drawing, in pixels
    row: Array  # likewise
    radius: Array  # in halves of the image's side
    cos: Array  # of the angle by which the object is turned
    sin: Array
    tone: Array  # factor on its diffuse light
    gloss: Array  # strength of its highlight
    ground: Array  # brightness of the ground, [n, 1]

    @classmethod
    def set_up(cls, labels: NDArray[np.int64], rng: np.random.Generator) -> Scenes:
        """Place objects of these labels at random."""

        def uniform(low: float, high: float, *shape: int) -> NDArray[np.float64]:
            return low + (high - low) * rng.random(shape)  # numpy's own may fuse * and +

        n = len(labels)
        x, y = _places(uniform(-0.64, 0.64, n, PLACES), uniform(-0.7, 0.7, n, PLACES))
        radius = uniform(0.25, 0.31, n, MOST) * (1 - 0.2 * y)  # nearer objects are larger
        height = radius * _HEIGHT[labels // len(COLOURS)]
        half = uniform(0.02, 0.98, n, MOST)  # tangent of half the angle
        values = {
            "labels": labels,
            "column": (1 + x) * UNIT + MARGIN,
            "row": (1.12 - SIN * y - COS * height) * UNIT + MARGIN,
            "radius": radius,
            "cos": (1 - half * half) / (1 + half * half),
            "sin": 2 * half / (1 + half * half),
            "tone": uniform(0.85, 1.15, n, MOST),
            "gloss": uniform(0.1, 0.5, n, MOST),
        }
        order = np.argsort(-y, axis=1, kind="stable")
        ordered = {name: np.take_along_axis(value, order, 1) for name, value in values.items()}
        single = {name: value.astype(np.float32) for name, value in ordered.items()}
        ground = uniform(120, 165, n, 1).astype(np.float32)
        return cls(**{**single, "labels": ordered["labels"], "ground": ground})

    def of(self, rows: slice | NDArray[np.int64]) -> Scenes:
        return Scenes(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


_HEIGHT = np.array([0.8, 1.0, 0.9, 0.0])  # centre of each kind, in radii; last: no object


def _places(x: NDArray[np.float64], y: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """In each row of candidates [n, PLACES] the first three that are APART: x and y, [n, 3]."""
    n = len(x)
    chosen, free = np.zeros((n, MOST), dtype=np.int64), np.ones(x.shape, dtype=bool)
    for slot in range(MOST):
        chosen[:, slot] = free.argmax(1)
        assert free[np.arange(n), chosen[:, slot]].all(), "no free place: raise PLACES"
        at = chosen[:, slot, None]
        dx, dy = (value - np.take_along_axis(value, at, 1) for value in (x, y))
        free &= dx * dx + dy * dy >= APART * APART
    return [np.take_along_axis(value, chosen, 1) for value in (x, y)]


def render(scenes: Scenes) -> NDArray[np.uint8]:
    """Draw the scenes: images uint8 [n, 3, 64, 64]."""
    n, side = len(scenes.labels), FINE + 2 * MARGIN
    light = np.linspace(1.15, 0.95, side, dtype=np.float32)[:, None]  # lighter in the distance
    canvas = np.empty((n, side, side, 3), dtype=np.float32)
    canvas[:] = (scenes.ground[:, :, None] * light)[..., None]
    parts = [(kind, slot) for slot in range(MOST) for kind in range(len(KINDS))]
    windows = [(kind, Windows.around(scenes, kind, slot)) for kind, slot in parts]
    for _, window in windows:
        canvas[window.pixels] *= _shadow(window)[..., None]
    for kind, window in windows:
        hit, normal = SURFACES[kind](window)
        canvas[window.pixels] = np.where(
            hit[..., None], _shade(window, normal), canvas[window.pixels]
        )
    inner = canvas[:, MARGIN:-MARGIN, MARGIN:-MARGIN]
    above, below = inner[:, ::2], inner[:, 1::2]
    four = (above[:, :, ::2] + above[:, :, 1::2]) + (below[:, :, ::2] + below[:, :, 1::2])
    x = np.clip(np.rint(four * np.float32(0.25)), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2))


@dataclass(frozen=True)
class Windows:
    """m squares of the drawing, each around one object. W is WINDOW.

    Lengths are in radii of the object.
    """

    pixels: tuple[NDArray[np.int64], ...]  # index into the canvas that selects [m, W, W, 3]
    right: Array  # position relative to the object's centre, [m, 1, W]
    up: Array  # likewise, [m, W, 1]
    cos: Array  # [m, 1, 1], as are the next three
    sin: Array
    tone: Array
    gloss: Array
    colour: Array  # [m, 1, 1, 3]

    @classmethod
    def around(cls, scenes: Scenes, kind: int, slot: int) -> Windows:
        """The squares around all objects of one kind at place `slot` of their image."""
        kinds, colours = np.divmod(scenes.labels[:, slot], len(COLOURS))
        (images,) = np.nonzero(kinds == kind)

        def of(values: Array) -> Array:
            return values[images, slot, None, None]

        reach = np.arange(WINDOW) - WINDOW // 2
        row, column = (np.floor(of(v)).astype(np.int64) for v in (scenes.row, scenes.column))
        rows, columns = row + reach[:, None], column + reach
        scale = of(scenes.radius) * np.float32(UNIT)
        palette = np.array([*COLOURS.values()], dtype=np.float32)
        return cls(
            pixels=(images[:, None, None], rows, columns),
            right=(columns.astype(np.float32) - of(scenes.column)) / scale,
            up=(of(scenes.row) - rows.astype(np.float32)) / scale,
            cos=of(scenes.cos),
            sin=of(scenes.sin),
            tone=of(scenes.tone),
            gloss=of(scenes.gloss),
            colour=palette[colours[images]][:, None, None],
        )


Normal = tuple[Array, Array, Array]  # x, y, z of the surface's unit normal
Surface = tuple[NDArray[np.bool_], Normal]  # which pixels show the object; its normal there
# The line of sight through a pixel is all points (right, SIN * up + COS * t, COS * up - SIN * t).


def _cube(w: Windows) -> Surface:
    """A cube. Half a side is 0.8 radii.

    A line of sight is inside the cube where it is between the planes of all three pairs of faces.
    """
    half, y, z = np.float32(0.8), SIN * w.up, COS * w.up
    ahead = [w.sin * COS, w.cos * COS]  # change of the cube's own x and y per t
    along = [w.cos * w.right + w.sin * y, w.cos * y - w.sin * w.right]
    enter = [(-half - a) / b for a, b in zip(along, ahead, strict=True)] + [(z - half) / SIN]
    leave = [(half - a) / b for a, b in zip(along, ahead, strict=True)] + [(z + half) / SIN]
    first = np.maximum(np.maximum(enter[0], enter[1]), enter[2])
    hit = first < np.minimum(np.minimum(leave[0], leave[1]), leave[2])
    left, top = enter[0] >= enter[1], enter[2] >= np.maximum(enter[0], enter[1])
    nothing = np.float32(0)
    return hit, (
        np.where(top, nothing, np.where(left, -w.cos, w.sin)),
        np.where(top, nothing, np.where(left, -w.sin, -w.cos)),
        top.astype(np.float32),
    )


def _sphere(w: Windows) -> Surface:
    depth = 1 - w.right * w.right - w.up * w.up
    t = np.asarray(-np.sqrt(np.maximum(depth, 0)), dtype=np.float32)
    return depth > 0, (w.right + 0 * t, SIN * w.up + COS * t, COS * w.up - SIN * t)


def _cylinder(w: Windows) -> Surface:
    """A cylinder of radius 0.85 and half the height 0.9, in radii of the object.

    A pixel shows its top or the front of its side.
    """
    radius, half = np.float32(0.85), np.float32(0.9)
    y, z = SIN * w.up, COS * w.up
    far = y + (z - half) * (COS / SIN)  # y where the line of sight meets the top's plane
    top = w.right * w.right + far * far < radius * radius
    front = -np.sqrt(np.maximum(radius * radius - w.right * w.right, 0))
    side = (np.abs(w.right) < radius) & (np.abs(z - (front - y) * (SIN / COS)) <= half)
    nothing = np.float32(0)
    return top | side, (
        np.where(top, nothing, w.right / radius),
        np.where(top, nothing, front / radius),
        top.astype(np.float32),
    )


SURFACES = (_cube, _sphere, _cylinder)  # in the order of KINDS


def _shadow(w: Windows) -> Array:
    """Share of its light that the ground keeps, [m, W, W].

    It is least behind the object, on the side away from the light.
    """
    right, up = w.right - 0.3, (w.up + 0.45) * (1 / SIN)
    near = np.maximum(1 - (right * right + up * up) * 0.75, 0)
    return np.asarray(1 - 0.5 * near, dtype=np.float32)


def _shade(w: Windows, normal: Normal) -> Array:
    """Colour of a surface, [m, W, W, 3]: Lambert's law plus Blinn's highlight."""

    def facing(direction: tuple[float, ...]) -> Array:
        x, y, z = (a * np.float32(b) for a, b in zip(normal, direction, strict=True))
        return np.asarray(np.maximum(x + y + z, 0), dtype=np.float32)

    shine = facing(SHINE)
    for _ in range(4):  # to the 16th power
        shine = shine * shine
    diffuse = (0.4 + 0.75 * facing(LIGHT)) * w.tone
    return np.asarray(w.colour * diffuse[..., None] + (255 * w.gloss * shine)[..., None])
