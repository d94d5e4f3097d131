"""Checks of an environment's pictures: numbers in range, and shapes within the bounds of the scene."""

from collections.abc import Iterable

from qllm_envs._traced import expect
from qllm_envs.core import Env, EnvState, Scene, Spec


def check_scenes(env: Env, states: Iterable[EnvState]) -> None:
    """Check the pictures of `states`, whose leaves are arrays on the host, as films give them to `scene`."""
    for state in states:
        _check_scene(env.spec, env.scene(state))


def _check_scene(spec: Spec, scene: Scene) -> None:
    x0, y0, x1, y1 = scene.bounds
    expect(x0 < x1 and y0 < y1, spec, "scene.bounds", "x0 < x1 and y0 < y1", scene.bounds)
    expect(scene.shapes, spec, "scene.shapes", "something to draw", "nothing")
    inside = lambda point: x0 <= point[0] <= x1 and y0 <= point[1] <= y1
    for shape in scene.shapes:
        kinds = ("circle", "square", "ring")
        expect(shape.kind in kinds, spec, "kind in scene.shapes", "circle, square or ring", shape.kind)
        expect(shape.radius > 0, spec, "radius in scene.shapes", "above 0", shape.radius)
        expect(inside(shape.center), spec, "center in scene.shapes", f"in {scene.bounds}", shape.center)
        known = shape.agent is None or 0 <= shape.agent < spec.n_agents
        expect(known, spec, "agent in scene.shapes", f"None or 0 to {spec.n_agents - 1}", shape.agent)
        for bar in shape.bars:
            expect(0 <= bar.share <= 1, spec, "share of a bar in scene.shapes", "in [0, 1]", bar.share)
    for line in scene.lines:
        expect(inside(line.start) and inside(line.end), spec, "scene.lines", f"in {scene.bounds}", line)
