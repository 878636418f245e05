"""The track world as a Gymnasium environment, `Roundabout/Track-v0`: one car, the same code.

Importing this module registers it; `gymnasium.make("learners.driving.env:Roundabout/Track-v0")` does both.
"""

from typing import Any

import gymnasium
import numpy as np

from learners.driving import car
from learners.driving.family import FAMILIES
from learners.driving.rays import OBSERVATION, observe
from learners.driving.track import MAX_TRACKS, Floats, held_out_seeds, make_track, stack

ENV_ID = "Roundabout/Track-v0"


class TrackEnv(gymnasium.Env[Floats, Floats]):
    """One lap on a track drawn at each reset from a public family.

    Observation: (15,) float32, see `rays.observe`. Action: (2,) float32, steering and throttle in [-1, 1].
    Reward: the share of the lap driven in the step, so that a completed lap returns 1. An episode terminates
    when the lap is completed or the car has left the track.
    """

    metadata = {"render_modes": []}  # noqa: RUF012  as gymnasium declares it

    def __init__(self, family: str = "medium", render_mode: None = None) -> None:
        """family: the name of one of `family.FAMILIES`."""
        self.render_mode = render_mode
        self._family = FAMILIES[family]
        low, high = np.zeros(OBSERVATION, np.float32), np.ones(OBSERVATION, np.float32)
        low[1] = -1.0  # steering has a sign
        self.observation_space = gymnasium.spaces.Box(low, high)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Floats, dict[str, Any]]:
        """A car on another track; `options["track"]` asks for the held-out track of that number."""
        super().reset(seed=seed)
        drawn = int(self.np_random.integers(MAX_TRACKS))
        number = (options or {}).get("track", drawn)
        self._tracks = stack([make_track(held_out_seeds(MAX_TRACKS)[number], self._family)])
        self._lanes = car.start(self._tracks, np.zeros(1, np.int64), self.np_random)
        return self._seen(), self._info()

    def step(self, action: Floats) -> tuple[Floats, float, bool, bool, dict[str, Any]]:
        """STEP_SECONDS of driving; the registered environment truncates after MAX_STEPS."""
        before = self._lanes.travelled
        self._lanes = car.step(self._lanes, self._tracks, np.asarray(action, np.float32)[None])
        reward = float((self._lanes.travelled - before)[0] / self._tracks.length[0])
        is_off = bool(car.is_off(self._lanes, self._tracks)[0])
        has_lapped = bool(car.has_lapped(self._lanes, self._tracks)[0])
        return self._seen(), reward, is_off or has_lapped, False, self._info()

    def _seen(self) -> Floats:
        observation: Floats = observe(self._lanes, self._tracks)[0]
        return observation

    def _info(self) -> dict[str, Any]:
        progress = float(car.progress(self._lanes, self._tracks)[0])
        return {"progress": progress, "offset": float(self._lanes.offset[0])}


gymnasium.register(id=ENV_ID, entry_point="learners.driving.env:TrackEnv", max_episode_steps=car.MAX_STEPS)
