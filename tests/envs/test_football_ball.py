"""Facts of the ball of football: flight, bounce, woodwork, spin and prediction."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qllm_envs._football import ball as balls
from qllm_envs._football import constants
from qllm_envs._football.state import Ball

FLY = jax.jit(lambda ball: jax.lax.scan(lambda b, _: (balls.step(b), b), ball, None, length=100)[1])
THROWN = Ball(jnp.array([0.0, 0.0, 3.0]), jnp.array([10.0, 0.0, 2.0]), jnp.zeros(3))


def test_in_the_air_the_ball_falls_as_gravity_and_drag_say():
    flight = FLY(THROWN)
    after = 50  # of 10 ms; it does not touch the ground before
    seconds = after * constants.TICK
    height = 3.0 + 2.0 * seconds - 0.5 * balls.GRAVITY * seconds**2
    assert flight.pos[after, 2] == pytest.approx(height, abs=0.06)  # drag is small
    along = np.log(1 + balls.DRAG * 10.0 * seconds) / balls.DRAG  # of dv/dt = -k v^2
    assert flight.pos[after, 0] == pytest.approx(along, abs=0.06)


def test_a_bounce_keeps_the_share_of_speed_of_the_engine():
    flight = jax.device_get(FLY(THROWN._replace(vel=jnp.zeros(3))))
    hit = int(np.argmax(flight.vel[:, 2] > 0))
    fell = -flight.vel[hit - 1, 2] + balls.GRAVITY * constants.TICK
    assert flight.vel[hit, 2] == pytest.approx(fell * balls.BOUNCE - balls.LINEAR_BOUNCE, abs=0.05)


def test_a_coarse_prediction_is_near_the_ball():
    predicted, times = balls.predict(THROWN)
    exact = FLY(THROWN).pos
    near = [float(jnp.abs(predicted[i] - exact[round(float(times[i]) * 100)]).max()) for i in (5, 10, 15)]
    assert max(near) < 0.6


@pytest.mark.parametrize("pos", [[54.0, 3.7, 0.5], [54.1, 0.0, 2.51]], ids=["post", "bar"])
def test_the_woodwork_throws_the_ball_back(pos: list[float]):
    flight = FLY(Ball(jnp.array(pos), jnp.array([20.0, 0.0, 0.0]), jnp.zeros(3)))
    assert flight.vel[-1, 0] < 0
    assert flight.pos[:, 0].max() < constants.HALF_LENGTH


def test_a_ball_that_spins_to_the_left_swerves_to_the_left():
    flight = FLY(Ball(jnp.array([0.0, 0.0, 3.0]), jnp.array([25.0, 0.0, 3.0]), jnp.array([0.0, 0.0, 40.0])))
    assert flight.pos[50, 1] > 0.3
