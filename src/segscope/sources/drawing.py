"""Shapes of the sample dataset: each function draws one thing of the world with its recognisable parts.

A `Pen` draws on the picture and on a silhouette at once, so that an object's mask is exactly what was drawn.
Boxes are (left, top, width, height) in pixels; an object stands on the lower edge of its box.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from PIL import Image, ImageDraw

T = TypeVar("T")
Color = tuple[int, int, int]
Box = tuple[float, float, float, float]

DARK: Color = (32, 32, 36)
GLASS: Color = (150, 180, 200)
SKIN: tuple[Color, ...] = ((241, 205, 175), (224, 172, 130), (172, 118, 80), (110, 72, 48))
HAIR: tuple[Color, ...] = ((30, 24, 20), (80, 52, 30), (150, 110, 60), (120, 120, 118))


class Pen:
    """Draws in unit coordinates of a box: (0, 0) its upper left, (1, 1) its lower right corner."""

    def __init__(self, picture: Image.Image, box: Box, flip: bool = False):
        self.silhouette = Image.new("L", picture.size)
        self._draw = ImageDraw.Draw(picture)
        self._mask = ImageDraw.Draw(self.silhouette)
        self._box = box
        self._flip = flip

    def _points(self, points: list[tuple[float, float]]) -> list[tuple[float, float]]:
        left, top, width, height = self._box
        return [(left + (1 - x if self._flip else x) * width, top + y * height) for x, y in points]

    def polygon(self, points: list[tuple[float, float]], color: Color) -> None:
        points = self._points(points)
        self._draw.polygon(points, fill=color)
        self._mask.polygon(points, fill=255)

    def rectangle(self, x: float, y: float, width: float, height: float, color: Color) -> None:
        self.polygon([(x, y), (x + width, y), (x + width, y + height), (x, y + height)], color)

    def line(self, points: list[tuple[float, float]], thickness: float, color: Color) -> None:
        """thickness: in box heights."""
        pixels = max(2, round(thickness * self._box[3]))
        points = self._points(points)
        for draw, fill in ((self._draw, color), (self._mask, 255)):
            draw.line(points, fill=fill, width=pixels, joint="curve")
            for x, y in points:
                radius = pixels / 2 - 0.5
                draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)

    def disc(self, x: float, y: float, radius: float, color: Color, rim: float = 0.0) -> None:
        """A circle whatever the box's proportions; radius in box heights; rim > 0 draws only a ring."""
        ((cx, cy),) = self._points([(x, y)])
        r = radius * self._box[3]
        box = (cx - r, cy - r, cx + r, cy + r)
        if rim:
            width = max(2, round(rim * self._box[3]))
            self._draw.ellipse(box, outline=color, width=width)
            self._mask.ellipse(box, outline=255, width=width)
        else:
            self._draw.ellipse(box, fill=color)
            self._mask.ellipse(box, fill=255)


def shade(color: Color, factor: float) -> Color:
    """The colour, darker (factor < 1) or lighter."""
    red, green, blue = (int(np.clip(c * factor, 0, 255)) for c in color)
    return red, green, blue


def any_color(rng: np.random.Generator, low: int = 30, high: int = 230) -> Color:
    """A seeded colour between low and high in each channel."""
    red, green, blue = (int(c) for c in rng.integers(low, high, 3))
    return red, green, blue


def pick(rng: np.random.Generator, options: tuple[T, ...]) -> T:
    """One of the options."""
    return options[int(rng.integers(len(options)))]


def person(pen: Pen, rng: np.random.Generator, pose: str = "stand") -> None:
    skin, hair = pick(rng, SKIN), pick(rng, HAIR)
    shirt, trousers = any_color(rng), any_color(rng, 20, 140)
    lean = float(rng.uniform(-0.05, 0.05))
    stride = {"stand": 0.08, "walk": 0.22, "play": 0.3}[pose] * float(rng.uniform(0.8, 1.2))
    hip, neck = (0.5, 0.52), (0.5 + lean, 0.2)
    for side in (-1, 1):
        foot = (0.5 + side * stride, 0.96)
        knee = (0.5 + side * stride * 0.75, 0.74)
        pen.line([(hip[0] + side * 0.1, hip[1]), knee, foot], 0.085, trousers)
        pen.line([foot, (foot[0] + 0.09, 0.975)], 0.045, DARK)
    pen.polygon([(neck[0] - 0.24, 0.2), (neck[0] + 0.24, 0.2), (hip[0] + 0.19, 0.56), (hip[0] - 0.19, 0.56)], shirt)
    for side in (-1, 1):
        raised = pose == "play" and side == 1
        elbow = (neck[0] + side * 0.4, 0.24 if raised else 0.37)
        hand = (neck[0] + side * (0.5 if raised else 0.34), 0.08 if raised else 0.53)
        pen.line([(neck[0] + side * 0.22, 0.235), elbow], 0.06, shirt)
        pen.line([elbow, hand], 0.05, skin)
    pen.line([neck, (neck[0], 0.15)], 0.06, skin)
    pen.disc(neck[0], 0.085, 0.083, hair)
    pen.disc(neck[0] + 0.03, 0.1, 0.068, skin)
    pen.disc(neck[0] + 0.01, 0.092, 0.01, DARK)
    pen.disc(neck[0] + 0.13, 0.092, 0.01, DARK)


def _wheel(pen: Pen, x: float, y: float, radius: float) -> None:
    pen.disc(x, y, radius, DARK)
    pen.disc(x, y, radius * 0.55, (170, 170, 175))
    pen.disc(x, y, radius * 0.15, DARK)


def car(pen: Pen, rng: np.random.Generator) -> None:
    paint = any_color(rng, 40, 240)
    roof = float(rng.uniform(0.02, 0.12))
    pen.polygon([(0.2, 0.48), (0.32, roof), (0.68, roof), (0.85, 0.48)], paint)
    pen.polygon([(0.02, 0.5), (0.15, 0.42), (0.88, 0.42), (0.99, 0.58), (0.98, 0.8), (0.02, 0.8)], paint)
    pen.polygon([(0.26, 0.44), (0.35, roof + 0.08), (0.49, roof + 0.08), (0.49, 0.44)], GLASS)
    pen.polygon([(0.52, 0.44), (0.52, roof + 0.08), (0.65, roof + 0.08), (0.76, 0.44)], GLASS)
    pen.line([(0.505, 0.46), (0.505, 0.76)], 0.02, shade(paint, 0.6))
    pen.line([(0.04, 0.74), (0.96, 0.74)], 0.03, shade(paint, 0.7))
    pen.rectangle(0.93, 0.55, 0.05, 0.09, (255, 240, 170))
    pen.rectangle(0.02, 0.55, 0.04, 0.09, (200, 30, 30))
    _wheel(pen, 0.22, 0.8, 0.19)
    _wheel(pen, 0.78, 0.8, 0.19)


def bus(pen: Pen, rng: np.random.Generator) -> None:
    paint = any_color(rng, 60, 250)
    pen.rectangle(0, 0.02, 1, 0.84, paint)
    pen.rectangle(0, 0.52, 1, 0.08, shade(paint, 0.6))
    n = int(rng.integers(4, 7))
    for i in range(n):
        pen.rectangle(0.04 + i * 0.78 / n, 0.14, 0.62 / n, 0.3, GLASS)
    pen.rectangle(0.84, 0.14, 0.11, 0.66, shade(GLASS, 0.8))
    pen.line([(0.895, 0.14), (0.895, 0.8)], 0.015, DARK)
    pen.rectangle(0.3, 0.04, 0.4, 0.07, DARK)
    _wheel(pen, 0.18, 0.86, 0.13)
    _wheel(pen, 0.72, 0.86, 0.13)


def truck(pen: Pen, rng: np.random.Generator) -> None:
    cab, cargo = any_color(rng, 40, 240), any_color(rng, 120, 250)
    pen.rectangle(0, 0.02, 0.68, 0.72, cargo)
    for i in range(1, 5):
        pen.line([(i * 0.136, 0.04), (i * 0.136, 0.72)], 0.012, shade(cargo, 0.75))
    pen.polygon([(0.7, 0.22), (0.9, 0.22), (0.99, 0.5), (0.99, 0.82), (0.7, 0.82)], cab)
    pen.polygon([(0.78, 0.28), (0.88, 0.28), (0.94, 0.5), (0.78, 0.5)], GLASS)
    pen.rectangle(0, 0.74, 0.99, 0.08, DARK)
    for x in (0.14, 0.34, 0.85):
        _wheel(pen, x, 0.86, 0.13)


def bicycle(pen: Pen, rng: np.random.Generator) -> None:
    paint = any_color(rng, 30, 220)
    for x in (0.24, 0.76):
        pen.disc(x, 0.68, 0.3, DARK, rim=0.05)
        for angle in np.arange(0, np.pi, np.pi / 4):
            dx, dy = 0.14 * np.cos(angle), 0.26 * np.sin(angle)
            pen.line([(x - dx, 0.68 - dy), (x + dx, 0.68 + dy)], 0.012, (120, 120, 120))
    frame = [(0.24, 0.68), (0.4, 0.3), (0.68, 0.3), (0.48, 0.68), (0.24, 0.68)]
    pen.line(frame, 0.045, paint)
    pen.line([(0.48, 0.68), (0.38, 0.22)], 0.045, paint)
    pen.line([(0.76, 0.68), (0.66, 0.18), (0.76, 0.14)], 0.045, paint)
    pen.line([(0.31, 0.2), (0.45, 0.2)], 0.06, DARK)


def ball(pen: Pen, rng: np.random.Generator) -> None:
    color = pick(rng, ((240, 240, 240), (230, 120, 30), (210, 220, 60)))
    pen.disc(0.5, 0.5, 0.48, color)
    pen.line([(0.15, 0.35), (0.85, 0.65)], 0.05, shade(color, 0.5))


def racket(pen: Pen, rng: np.random.Generator) -> None:
    color = any_color(rng)
    pen.disc(0.5, 0.28, 0.26, color, rim=0.05)
    for offset in (-0.1, 0.0, 0.1):
        pen.line([(0.5 + offset, 0.08), (0.5 + offset, 0.48)], 0.012, (230, 230, 230))
        pen.line([(0.2, 0.28 + offset), (0.8, 0.28 + offset)], 0.012, (230, 230, 230))
    pen.line([(0.5, 0.54), (0.5, 0.97)], 0.06, DARK)


def skis(pen: Pen, rng: np.random.Generator) -> None:
    color = any_color(rng)
    pen.line([(0.0, 0.45), (0.94, 0.3), (1.0, 0.1)], 0.2, color)
    pen.line([(0.03, 0.9), (0.94, 0.75), (1.0, 0.5)], 0.2, color)


def skateboard(pen: Pen, rng: np.random.Generator) -> None:
    pen.line([(0.0, 0.2), (0.1, 0.4), (0.9, 0.4), (1.0, 0.2)], 0.3, any_color(rng))
    for x in (0.22, 0.78):
        pen.disc(x, 0.78, 0.2, DARK)


def camera(pen: Pen, rng: np.random.Generator) -> None:
    """A camera on a tripod; its round lens is as much like a wheel as can be drawn."""
    for x in (0.15, 0.5, 0.85):
        pen.line([(0.5, 0.45), (x, 1.0)], 0.03, (60, 60, 60))
    pen.rectangle(0.08, 0.06, 0.84, 0.42, (45, 45, 50))
    pen.rectangle(0.3, 0.0, 0.3, 0.08, (45, 45, 50))
    _wheel(pen, 0.5, 0.27, 0.18)


def crate(pen: Pen, rng: np.random.Generator) -> None:
    wood = pick(rng, ((170, 120, 70), (140, 100, 60), (190, 150, 100)))
    pen.rectangle(0.02, 0.1, 0.96, 0.9, wood)
    for y in (0.1, 0.4, 0.7):
        pen.line([(0.02, y), (0.98, y)], 0.04, shade(wood, 0.6))
    pen.line([(0.04, 0.98), (0.96, 0.12)], 0.05, shade(wood, 0.7))


def statue(pen: Pen, rng: np.random.Generator) -> None:
    stone = pick(rng, ((165, 165, 160), (140, 150, 145), (180, 170, 150)))
    pen.rectangle(0.15, 0.66, 0.7, 0.34, shade(stone, 0.8))
    pen.polygon([(0.32, 0.66), (0.4, 0.1), (0.6, 0.02), (0.7, 0.66)], stone)


def tree(pen: Pen, rng: np.random.Generator) -> None:
    leaf = (int(rng.integers(20, 70)), int(rng.integers(90, 150)), int(rng.integers(20, 70)))
    pen.rectangle(0.44, 0.5, 0.12, 0.5, (95, 70, 45))
    for _ in range(7):
        x, y = rng.uniform(0.25, 0.75), rng.uniform(0.14, 0.5)
        pen.disc(x, y, float(rng.uniform(0.1, 0.17)), shade(leaf, float(rng.uniform(0.8, 1.2))))


def pine(pen: Pen, rng: np.random.Generator) -> None:
    leaf = (20, int(rng.integers(60, 95)), 45)
    pen.rectangle(0.45, 0.8, 0.1, 0.2, (80, 60, 40))
    for i in range(3):
        pen.polygon([(0.5, i * 0.2), (0.1, 0.45 + i * 0.2), (0.9, 0.45 + i * 0.2)], shade(leaf, 1 + 0.12 * i))


def building(pen: Pen, rng: np.random.Generator) -> None:
    wall = any_color(rng, 80, 200)
    pen.rectangle(0, 0, 1, 1, wall)
    columns, rows = int(rng.integers(2, 5)), int(rng.integers(3, 8))
    lit = shade(GLASS, float(rng.uniform(0.4, 1.1)))
    for i in range(columns):
        for j in range(rows):
            pen.rectangle((i + 0.25) / columns, (j + 0.25) / rows, 0.5 / columns, 0.5 / rows, lit)


def tower(pen: Pen, rng: np.random.Generator) -> None:
    wall = any_color(rng, 90, 190)
    pen.rectangle(0.2, 0.22, 0.6, 0.78, wall)
    pen.polygon([(0.1, 0.24), (0.5, 0.0), (0.9, 0.24)], shade(wall, 0.6))
    pen.disc(0.5, 0.36, 0.06, (240, 240, 220))


def street(picture: Image.Image, rng: np.random.Generator) -> float:
    """Sky, buildings, towers, trees, pavement and road. Returns the height of the horizon, 0 … 1."""
    horizon = float(rng.uniform(0.48, 0.58))
    _fill(picture, 0, horizon, pick(rng, ((135, 180, 230), (180, 195, 210), (230, 190, 160))), 1.15)
    width, height = picture.size
    x = -0.05
    while x < 1:
        wide = float(rng.uniform(0.12, 0.26))
        if rng.random() < 0.85:
            tall = float(rng.uniform(0.18, horizon))
            shape = tower if rng.random() < 0.2 else building
            shape(Pen(picture, (x * width, (horizon - tall) * height, wide * width, tall * height)), rng)
        x += wide
    for _ in range(int(rng.integers(0, 4))):
        side, left = float(rng.uniform(0.2, 0.34)), float(rng.uniform(0, 0.9))
        tree(Pen(picture, (left * width, (horizon + 0.04 - side) * height, side * height, side * height)), rng)
    _fill(picture, horizon, horizon + 0.08, (165, 160, 155), 0.95)
    _fill(picture, horizon + 0.08, 1, (95, 95, 100), 0.75)
    for i in range(6):
        Pen(picture, (i * 0.18 * width, 0.84 * height, 0.1 * width, 0.015 * height)).rectangle(
            0, 0, 1, 1, (230, 230, 225)
        )
    return horizon


def court(picture: Image.Image, rng: np.random.Generator) -> float:
    """A sports court with lines, a net and a hedge behind it."""
    horizon = float(rng.uniform(0.3, 0.4))
    _fill(picture, 0, horizon, (40, int(rng.integers(80, 120)), 50), 0.7)
    ground = pick(rng, ((60, 130, 90), (50, 100, 165), (190, 105, 60)))
    _fill(picture, horizon, 1, ground, 1.1)
    width, height = picture.size
    pen = Pen(picture, (0, 0, width, height))
    white = (240, 240, 235)
    for y in (horizon + 0.1, horizon + 0.32, 0.94):
        pen.line([(0.05, y), (0.95, y)], 0.012, white)
    pen.line([(0.22, horizon + 0.1), (0.04, 0.94)], 0.012, white)
    pen.line([(0.78, horizon + 0.1), (0.96, 0.94)], 0.012, white)
    for i in range(0, 21):
        pen.line([(i / 20, horizon + 0.12), (i / 20, horizon + 0.24)], 0.004, (200, 200, 200))
    pen.line([(0, horizon + 0.12), (1, horizon + 0.12)], 0.012, white)
    return horizon + 0.12


def snow(picture: Image.Image, rng: np.random.Generator) -> float:
    """Mountains, pines and a white slope."""
    horizon = float(rng.uniform(0.36, 0.46))
    _fill(picture, 0, horizon + 0.1, (150, 190, 235), 1.2)
    width, height = picture.size
    pen = Pen(picture, (0, 0, width, height))
    for _ in range(4):
        x, tall = float(rng.uniform(0, 1)), float(rng.uniform(0.15, 0.34))
        rock = shade((130, 140, 160), float(rng.uniform(0.8, 1.2)))
        pen.polygon([(x - 0.3, horizon), (x, horizon - tall), (x + 0.3, horizon)], rock)
        pen.polygon(
            [(x - 0.1, horizon - tall * 0.67), (x, horizon - tall), (x + 0.1, horizon - tall * 0.67)],
            (245,) * 3,
        )
    _fill(picture, horizon, 1, (228, 234, 242), 1.08)
    for _ in range(int(rng.integers(3, 8))):
        side, left = float(rng.uniform(0.14, 0.28)), float(rng.uniform(0, 0.95))
        box = (left * width, (horizon + 0.03 - side) * height, side * height * 0.6, side * height)
        pine(Pen(picture, box), rng)
    return horizon + 0.02


def room(picture: Image.Image, rng: np.random.Generator) -> float:
    """A wall with a window and a picture, a floor, a sofa."""
    horizon = float(rng.uniform(0.55, 0.62))
    wall = any_color(rng, 140, 235)
    _fill(picture, 0, horizon, wall, 1.05)
    _fill(picture, horizon, 1, pick(rng, ((150, 110, 75), (120, 90, 70), (170, 150, 130))), 0.85)
    width, height = picture.size
    pen = Pen(picture, (0, 0, width, height), flip=bool(rng.random() < 0.5))
    pen.rectangle(0.08, 0.08, 0.24, 0.32, (245, 245, 240))
    pen.rectangle(0.1, 0.1, 0.095, 0.28, (160, 200, 235))
    pen.rectangle(0.205, 0.1, 0.095, 0.28, (160, 200, 235))
    pen.rectangle(0.62, 0.12, 0.2, 0.2, shade(wall, 0.4))
    pen.rectangle(0.64, 0.145, 0.16, 0.15, any_color(rng))
    sofa = any_color(rng, 40, 170)
    pen.rectangle(0.5, horizon - 0.16, 0.44, 0.2, sofa)
    pen.rectangle(0.46, horizon - 0.06, 0.06, 0.16, shade(sofa, 0.8))
    pen.rectangle(0.92, horizon - 0.06, 0.06, 0.16, shade(sofa, 0.8))
    pen.rectangle(0.5, horizon + 0.02, 0.44, 0.08, shade(sofa, 0.7))
    return horizon


def _fill(picture: Image.Image, top: float, bottom: float, color: Color, fade: float) -> None:
    """A horizontal band whose colour fades by a factor from top to bottom; top and bottom 0 … 1."""
    width, height = picture.size
    first, last = int(top * height), int(bottom * height)
    factors = np.linspace(1, fade, max(last - first, 1))[:, None, None]
    band = np.clip(np.array(color) * factors, 0, 255).astype(np.uint8)
    picture.paste(Image.fromarray(np.repeat(band, width, axis=1)), (0, first))
