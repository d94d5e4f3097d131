"""The scene of a frame, pixel by pixel: rings end at its border, bars are as long as their shares."""

import jax
import numpy as np
import pytest
from PIL import Image

import qllm_envs
from qllm_envs.core import Bar, Key, Line, Scene, Shape
from qllm_jax.reporting.frames import Film, frame, present, scale_of
from qllm_jax.reporting.scene import draw_key, draw_scene, to_pixels
from qllm_jax.reporting.style import PAPER, SCENE, SIZE, Scale, rgb, ring_color

BOUNDS = (0.0, 0.0, 10.0, 10.0)
SCALE = Scale(BOUNDS, 0.0, 2.0, ())


def drawn(*shapes: Shape, lines: tuple[Line, ...] = ()) -> np.ndarray:
    """The large picture of a scene, (height, width, 3)."""
    image = Image.new("RGB", SIZE, PAPER)
    draw_scene(image, Scene(shapes, BOUNDS, lines), None, SCALE)
    return np.asarray(image)


def where(picture: np.ndarray, color: str | tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """x and y of all pixels of a color."""
    y, x = np.nonzero((picture == np.array(rgb(color) if isinstance(color, str) else color)).all(-1))
    return x, y


def test_rings_lie_below_and_end_at_the_frame():
    ring, disc = Shape("ring", (1.0, 5.0), 4.0, "red", ""), Shape("circle", (5.0, 5.0), 0.5, "lime", "")
    picture = drawn(disc, ring)
    x, y = where(picture, ring_color("red"))
    left, _, right, _ = SCENE
    assert x.min() == left + 3
    assert right > x.max() > right / 3
    assert np.ptp(y) > 700  # of a circle of 784 pixels that is cut at its left
    center = tuple(round(c) for c in to_pixels(disc.center, 0.0, SCALE)[:2])
    assert tuple(picture[center[1], center[0]]) == rgb("lime")
    assert tuple(picture[600, 10]) == PAPER


def test_bars_are_as_long_as_their_shares():
    shape = Shape("square", (5.0, 5.0), 2.0, "white", "", bars=(Bar(0.5, "blue"), Bar(1.0, "lime"), Bar(0.0, "red")))
    picture = drawn(shape)
    spans = {color: where(picture, color) for color in ("blue", "lime")}
    (half, top), (full, below) = spans.values()
    assert abs(np.ptp(half) / np.ptp(full) - 0.5) < 0.01
    assert half.min() == full.min()
    assert top.max() < below.min()
    assert where(picture, "red")[0].size == 0


def test_lines_go_over_shapes_and_end_in_a_dot():
    shape = Shape("circle", (8.0, 2.0), 1.0, "lime", "")
    x, y = where(drawn(shape, lines=(Line((2.0, 2.0), (8.0, 2.0), "maroon"),)), "maroon")
    start, end = (to_pixels((at, 2.0), 0.0, SCALE)[0] for at in (2.0, 8.0))
    assert abs(x.min() - start) <= 1
    assert x.max() > end + 3
    thick = {at: np.ptp(y[x == round(at)]) for at in (start + 50, end)}
    assert thick[end] > 2 * thick[start + 50]


@pytest.mark.parametrize("name", ["mpe_spread", "mpe_tag", "mpe_adversary", "lbf", "smax", "spectators", "couriers"])
def test_discs_that_are_no_agents_are_in_the_key(name: str):
    env = qllm_envs.make(name)
    scene = env.scene(env.reset(jax.random.key(0)))
    discs = {shape.color for shape in scene.shapes if shape.kind == "circle" and shape.agent is None}
    assert discs <= {each.color for each in scene.key}
    assert all(each.text for each in scene.key)


def test_the_key_is_one_line_below_the_scene_however_long_it_is():
    for words in (1, 30):
        image = Image.new("RGB", SIZE, PAPER)
        draw_key(
            image, Scene((), BOUNDS, key=(Key("circle", "red", "landmark " * words), Key("ring", "lime", "range")))
        )
        x, y = np.nonzero((np.asarray(image) != np.array(PAPER)).any(-1))[::-1]
        left, _, right, bottom = SCENE
        assert bottom < y.min() <= y.max() < SIZE[1]
        assert left <= x.min() <= x.max() <= right + 20


def test_units_with_bars_are_large_enough_to_be_read():
    far = Scale((0.0, 0.0, 500.0, 500.0), 0.0, 2.0, ())
    image = Image.new("RGB", SIZE, PAPER)
    unit = Shape("circle", (250.0, 250.0), 0.5, "red", "", bars=(Bar(1.0, "lime"),))
    draw_scene(image, Scene((unit,), far.bounds), None, far)
    x, y = where(np.asarray(image), "lime")
    assert np.ptp(x) >= 36
    assert np.ptp(y) >= 6


def test_an_agent_that_is_in_no_scene_has_no_bar_of_credit():
    shapes = [Shape("circle", (5.0, 5.0), 1.0, "blue", str(i), agent=i) for i in range(2)]
    film = lambda *scenes: Film("film", tuple(Scene(s, BOUNDS) for s in scenes), np.ones((2, 2)), np.ones(1))
    died = film(tuple(shapes), (shapes[1],))
    assert [present(died, t) for t in (0, 1)] == [{0, 1}, {1}]
    assert present(film((), ()), 0) == {0, 1}
    before, after = (np.asarray(frame(died, scale_of(died), t))[145:560, 600:880] for t in (0, 1))
    colored = lambda picture: (np.ptp(picture.astype(int), axis=-1) > 60).sum()
    assert 0.3 * colored(before) < colored(after) < 0.7 * colored(before)
