"""The description of a store: round trip, what it refuses, and how it tells differences."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from data import plain_json
from data.errors import UserError
from data.spec import SCHEMA_VERSION, ArraySpec, StoreSpec
from data.synthetic import synthetic_spec


def test_json_round_trip_keeps_all_and_the_order_of_keys() -> None:
    spec = replace(synthetic_spec(image_px=8), config={"seed": np.int64(3), "gains": (1.0, 2.0)})
    again = StoreSpec.from_json(plain_json.loads(plain_json.dumps(spec.to_json(), "x"), "x"), "x")
    assert again == spec
    assert list(again.observations) == list(spec.observations)
    assert again.config == {"seed": 3, "gains": [1.0, 2.0]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rate_hz": 0.0}, "rate_hz must be a finite number above 0, got 0.0"),
        ({"rate_hz": float("nan")}, "rate_hz must be a finite number above 0, got nan"),
        ({"task": "../x"}, "task must be made of letters, digits"),
        ({"observations": {}}, "at least one observation"),
        ({"observations": {"a/b": ArraySpec((1,), "float32")}}, "an observation's key must be made of letters"),
        ({"action_names": ("x", "x")}, "action_names must be different, non-empty texts"),
        ({"action_names": ()}, "at least one action dimension"),
        ({"config": {"limit": float("inf")}}, "config must be made of JSON values"),
    ],
)
def test_unusable_specs_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        replace(synthetic_spec(), **change)


def test_array_specs_refuse_empty_shapes_and_objects() -> None:
    with pytest.raises(UserError, match=r"sizes of at least 1, got \(0, 3\)"):
        ArraySpec((0, 3), "float32")
    with pytest.raises(UserError, match="an array's type must be one of .* got object"):
        ArraySpec((3,), "O")


def test_take_narrows_within_a_kind_and_refuses_loss() -> None:
    spec = ArraySpec((2,), "float32")
    value = np.array([0.1, 2.0])
    taken = spec.take(value, "q")
    assert taken.dtype == np.float32
    value[0] = 5.0
    assert taken[0] == np.float32(0.1), "a copy, since environments reuse their arrays"
    with pytest.raises(UserError, match=r"q: expected shape \(2,\), got \(3,\)"):
        spec.take(np.zeros(3), "q")
    with pytest.raises(UserError, match="q: expected finite numbers, got inf"):
        spec.take(np.array([0.0, 1e300]), "q")
    with pytest.raises(UserError, match="q: expected type uint8, got float64"):
        ArraySpec((2,), "uint8").take(np.zeros(2), "q")
    with pytest.raises(UserError, match="q: expected numbers that fit int32"):
        ArraySpec((), "int32").take(2**40, "q")


def test_another_schema_version_is_refused() -> None:
    value = synthetic_spec().to_json() | {"schema_version": SCHEMA_VERSION + 1}
    with pytest.raises(UserError, match=f"x: expected schema version {SCHEMA_VERSION}, got {SCHEMA_VERSION + 1}"):
        StoreSpec.from_json(value, "x")
    with pytest.raises(UserError, match="x: not a whole store description"):
        StoreSpec.from_json({"schema_version": SCHEMA_VERSION, "task": "a"}, "x")


def test_all_differences_are_told_in_one_line() -> None:
    spec = synthetic_spec()
    arrays = {"position_m": ArraySpec((2,), "float32")}
    other = replace(spec, task="peg", rate_hz=20.0, observations=arrays, task_text="Other words.")
    with pytest.raises(UserError) as caught:
        spec.check_fits(other, "a.zarr")
    assert str(caught.value) == (
        "a.zarr does not fit: task is 'synthetic', needed 'peg'; rate_hz is 10.0, needed 20.0; "
        "observation 'position_m' is float32[3], needed float32[2]; observation 'gripper_m' (float64[]) is not wanted; "
        "use the data that was recorded for this task"
    )
    spec.check_fits(replace(spec, config={"x": 1}, task_text="Other words."))


def test_requirements_ask_only_for_what_they_name() -> None:
    spec = synthetic_spec()
    spec.require()
    spec.require(task="synthetic", observations={"gripper_m": ArraySpec((), "float64")}, rate_hz=10.0)
    with pytest.raises(UserError, match=r"action_names is .*, needed \('dx',\); observation 'q' .* is not there"):
        spec.require(action_names=("dx",), observations={"q": ArraySpec((7,), "float32")})
