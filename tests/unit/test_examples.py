"""The examples are right, and run as the README says."""

from __future__ import annotations

from typing import Any

import digits
import mlp
import numpy as np
import pytest

EASY = {"lr": 0.1, "batch_size": 32, "hidden": 32, "dropout": 0.1, "momentum": 0.9}


@pytest.fixture
def problem() -> tuple[mlp.Params, mlp.Part, Any]:
    """A small network in float64, a few images, and a mask as of dropout 0.5."""
    rng = np.random.default_rng(1)
    params = mlp.initial(rng, inputs=6, hidden=5, dtype=np.float64)
    params["b1"] += 0.1 * rng.standard_normal(5)  # no unit sits on the kink of relu
    data = mlp.Part(rng.random((7, 6)), rng.integers(0, mlp.CLASSES, 7))
    return params, data, (rng.random((7, 5)) < 0.5) / 0.5


@pytest.mark.parametrize("name", ["W1", "b1", "W2", "b2"])
def test_the_gradient_is_the_slope_of_the_loss(problem: Any, name: str) -> None:
    params, data, mask = problem
    gradient = mlp.loss_and_gradient(params, data, mask)[1][name]
    step = 1e-6
    for i in np.ndindex(gradient.shape):
        ahead, behind = ({**params, name: params[name].copy()} for _ in range(2))
        ahead[name][i] += step
        behind[name][i] -= step
        rise = (
            mlp.loss_and_gradient(ahead, data, mask)[0]
            - mlp.loss_and_gradient(behind, data, mask)[0]
        )
        assert rise / (2 * step) == pytest.approx(gradient[i], abs=1e-8)


def test_the_loss_of_a_blind_guess_is_the_entropy(problem: Any) -> None:
    params, data, _ = problem
    blind = {name: np.zeros_like(array) for name, array in params.items()}
    assert mlp.loss_and_gradient(blind, data)[0] == pytest.approx(np.log(mlp.CLASSES))


def test_parts_share_no_image_and_lie_in_the_unit_interval() -> None:
    parts = mlp.digits()
    assert [len(part.x) for part in parts] == [1000, 397, 400]
    x = np.concatenate([part.x for part in parts])
    assert len(np.unique(x, axis=0)) == len(x)
    assert x.min() == 0
    assert x.max() == 1


def test_training_learns_in_single_precision_and_repeats_itself() -> None:
    train, valid, _ = mlp.digits()
    model = mlp.train(EASY, train, epochs=10)
    assert {array.dtype for array in model.values()} == {np.dtype(np.float32)}
    assert mlp.accuracy(model, valid) > 0.9
    again = mlp.train(EASY, train, epochs=10)
    assert all(np.array_equal(model[name], again[name]) for name in model)


def test_dropout_and_momentum_may_be_zero() -> None:
    train, valid, _ = mlp.digits()
    model = mlp.train({**EASY, "dropout": 0.0, "momentum": 0.0}, train, epochs=10)
    assert mlp.accuracy(model, valid) > 0.8


def test_the_objective_takes_the_default_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlp, "EPOCHS", 1)
    assert digits.space.contains(digits.space.default)
    assert 0 <= digits.objective(digits.space.default)["accuracy"] <= 1
