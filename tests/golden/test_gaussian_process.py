"""The models against formulas written out densely, quadrature and differences."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import beta, cauchy, multivariate_normal, norm

from raysearch.models.acquisition import log_aei, log_ehvi, log_ei, log_h, log_met, log_ucb
from raysearch.models.boxes import boxes
from raysearch.models.fitting import evidence, fit, prior
from raysearch.models.gp import condition, inverse_root
from raysearch.models.kernels import Layout, corners, distances, squares
from raysearch.models.outputs import normalised, signed
from raysearch.models.paths import path
from raysearch.strategies.belief import Belief, Price, believed, log_cost, targets

#: a plane, of which one side may be bent; a line, which may be; a mark
LAYOUT = Layout(np.array([0, 0, 1, 2]), np.array([0, 0, 0, 4]), np.array([1, 0, 1, 0]) > 0)
#: log length scales, log a and log b of warps, which are none of a mark, log variances
THETA = np.array([-1.0, -0.3, 0.4, -0.7, 0.3, 0.0, 0.4, -0.5, 0.0, 0.2, -4.0])
SCALE, NOISE = np.exp(THETA[-2:])


def points(n: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.column_stack([rng.random((n, 3)), rng.integers(0, 4, n)])


def values(x: np.ndarray) -> np.ndarray:
    return np.sin(5 * x[:, 0]) + x[:, 2] ** 2 + 0.3 * (x[:, 3] == 1)


def bent(x: np.ndarray) -> np.ndarray:
    """Points whose first place in each group is warped; the second of the plane is not."""
    x = x.copy()
    for feature, group in ((0, 0), (2, 1)):
        law = kumaraswamy(*np.exp(THETA[[3 + group, 6 + group]]))
        x[:, feature] = law(0.001 + 0.998 * x[:, feature])
    return x


def kumaraswamy(a: float, b: float):
    """Its distribution function, as that of a root of a beta variable."""
    return lambda t: beta.cdf(t**a, 1, b)


def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """s k(a, b), entry by entry."""
    scales = np.exp(THETA[:3])[LAYOUT.group]
    a, b = bent(a), bent(b)
    k = np.empty((len(a), len(b)))
    for i, p in enumerate(a):
        for j, q in enumerate(b):
            apart = np.where(LAYOUT.marks > 0, p != q, np.abs(p - q)) / scales
            r = math.sqrt(5 * np.sum(apart**2))
            k[i, j] = SCALE * (1 + r + r**2 / 3) * math.exp(-r)
    return k


def differences(f, x: np.ndarray, step: float = 1e-6) -> np.ndarray:
    unit = np.eye(len(x)) * step
    return np.array([(f(x + u) - f(x - u)) / (2 * step) for u in unit])


def test_distances_are_those_of_corners() -> None:
    x, w = points(9), np.array([1.0, 2.0, 3.0])
    found = corners(LAYOUT, x)
    z = found.x * np.sqrt(w[found.group])
    np.testing.assert_allclose(squares(z), distances(LAYOUT, w, x, x), atol=1e-14)
    assert found.group[: found.bent].tolist() == [0, 1]


def test_the_posterior_is_the_dense_formula() -> None:
    x, at = points(30), points(7, seed=1)
    y = values(x)
    k = kernel(x, x) + NOISE * np.eye(30)
    ones = np.ones(30)
    mean = ones @ np.linalg.solve(k, y) / (ones @ np.linalg.solve(k, ones))
    cross = kernel(x, at)
    expected = mean + cross.T @ np.linalg.solve(k, y - mean)
    variance = SCALE - np.diag(cross.T @ np.linalg.solve(k, cross))

    posterior = condition(LAYOUT, THETA, x).given(y)
    found = posterior.at(at)
    np.testing.assert_allclose(found[0], expected, rtol=1e-9)
    np.testing.assert_allclose(found[1], variance, rtol=1e-9)
    np.testing.assert_allclose(posterior.slopes(at)[:2], found, rtol=1e-12)


def test_the_mean_at_known_points_is_the_posteriors() -> None:
    x = points(30)
    posterior = condition(LAYOUT, THETA, x).given(values(x))
    np.testing.assert_allclose(posterior.fitted, posterior.expected(x), rtol=1e-9)
    assert np.abs(posterior.fitted - values(x)).max() > 1e-3  # noise is taken out


def test_points_taken_in_later_are_as_if_from_the_start() -> None:
    x = points(30)
    whole = condition(LAYOUT, THETA, x)
    grown = condition(LAYOUT, THETA, x[:20]).extended(x[20:29]).extended(x[29:])
    np.testing.assert_allclose(grown.root, whole.root, atol=1e-9)


def test_what_turns_out_as_expected_leaves_the_mean() -> None:
    x, at, new = points(20), points(7, seed=1), points(3, seed=2)
    before = condition(LAYOUT, THETA, x).given(values(x))
    after = before.expecting(new)
    np.testing.assert_allclose(after.at(at)[0], before.at(at)[0], rtol=1e-12)
    assert np.all(after.at(at)[1] < before.at(at)[1])
    believed = np.concatenate([values(x), before.at(new)[0]])
    np.testing.assert_allclose(after.process.given(believed).at(at)[0], after.at(at)[0], rtol=1e-6)


def test_slopes_of_the_posterior_are_differences() -> None:
    x, at = points(25), points(4, seed=1)
    posterior = condition(LAYOUT, THETA, x).given(values(x))
    _, _, by_mean, by_variance = posterior.slopes(at)
    for i, row in enumerate(at):
        for j, slopes in enumerate((by_mean, by_variance)):
            found = differences(lambda u, j=j: posterior.at(u[None])[j][0], row)
            np.testing.assert_allclose(slopes[i, :3], found[:3], rtol=1e-5, atol=1e-8)
    assert not by_mean[:, 3].any()


def test_the_evidence_is_the_density_of_the_values() -> None:
    x = points(12)
    y = values(x)
    k = kernel(x, x) + NOISE * np.eye(12)
    ones = np.ones(12)
    mean = ones @ np.linalg.solve(k, y) / (ones @ np.linalg.solve(k, ones))
    density = multivariate_normal(np.full(12, mean), k).logpdf(y)
    off = (THETA - prior(3)[0]) / prior(3)[1]
    warps = slice(3, 9)
    believed = (
        norm.logpdf(off).sum() - norm.logpdf(off[warps]).sum() + cauchy.logpdf(off[warps]).sum()
    )
    nothing = 5 * norm.logpdf(0) + 6 * cauchy.logpdf(0)  # what the constant is
    expected = nothing - density - believed
    found, _ = evidence(THETA, corners(LAYOUT, x), y)
    assert found == pytest.approx(expected, rel=1e-10)


def test_the_gradient_of_the_evidence_is_differences() -> None:
    x = points(15)
    seen, y = corners(LAYOUT, x), values(x)
    _, gradient = evidence(THETA, seen, y)
    found = differences(lambda theta: evidence(theta, seen, y)[0], THETA)
    np.testing.assert_allclose(gradient, found, rtol=1e-5)


def test_a_fit_finds_which_parameters_matter() -> None:
    x = points(80)
    y = values(x)
    theta = fit(LAYOUT, x, (y - y.mean()) / y.std())
    assert theta[0] < theta[2]  # the sine bends more than a mark tells apart
    assert theta[-1] < math.log(1e-3)  # there is no noise


def test_a_fit_stretches_where_a_parameter_matters() -> None:
    x = np.random.default_rng(0).random((60, 2))
    y = np.log(x[:, 0] + 1e-3) + x[:, 1]
    layout = Layout(np.array([0, 1]), np.zeros(2, dtype=np.int64), np.full(2, True))
    theta = fit(layout, x, (y - y.mean()) / y.std())
    process = condition(layout, theta, x)
    steps = np.diff(process.bent(np.array([[0.0, 0.0], [0.1, 0.1], [1.0, 1.0]])), axis=0)
    assert steps[0, 0] > 0.3  # of the range, for its first tenth
    assert steps[0, 1] == pytest.approx(0.1, abs=0.05)


def test_a_start_whose_warps_lead_astray_does_no_harm() -> None:
    x = points(40)
    y = values(x) - values(x).mean()
    astray = np.concatenate([prior(3)[0][:3], np.full(6, 2.0), [0.0, 0.0]])
    found = evidence(fit(LAYOUT, x, y, (astray,)), corners(LAYOUT, x), y)[0]
    assert found <= evidence(fit(LAYOUT, x, y), corners(LAYOUT, x), y)[0]


def test_paths_have_the_moments_of_the_posterior() -> None:
    x, at = points(10), points(3, seed=1)
    posterior = condition(LAYOUT, THETA, x).given(values(x))
    rng = np.random.default_rng(0)
    drawn = np.array([path(posterior, rng)(at) for _ in range(1500)])
    mean, variance = posterior.at(at)
    np.testing.assert_allclose(drawn.mean(axis=0), mean, atol=0.1)
    np.testing.assert_allclose(drawn.var(axis=0), variance, rtol=0.25, atol=0.01)


def test_paths_vary_with_marks_as_the_kernel_says() -> None:
    nothing = condition(LAYOUT, THETA, np.empty((0, 4))).given(np.empty(0))
    at = np.array([[0.5, 0.5, 0.5, 0.0], [0.5, 0.5, 0.5, 3.0]])
    rng = np.random.default_rng(0)
    drawn = np.array([path(nothing, rng)(at) for _ in range(3000)])
    np.testing.assert_allclose(np.cov(drawn.T), kernel(at, at), atol=0.1)


@pytest.mark.parametrize("z", [-30.0, -5.0, -1.001, -0.999, 0.0, 3.0])
def test_log_h_is_the_integral(z: float) -> None:
    expected, _ = quad(lambda u: u * norm.pdf(z - u) / norm.pdf(z), 0, 60, epsrel=1e-12)
    assert log_h(np.array([z]))[0] == pytest.approx(math.log(expected) + norm.logpdf(z), rel=1e-8)


def test_log_h_has_no_seams() -> None:
    for seam in (-1.0, -1e3):
        around = log_h(np.array([seam * (1 - 1e-9), seam * (1 + 1e-9)]))
        assert around[0] == pytest.approx(around[1], rel=1e-8)
    assert np.isfinite(log_h(np.array([-1e10, 1e10]))).all()


@pytest.mark.parametrize("mean", [-2.0, 0.3, 8.0])
@pytest.mark.parametrize(
    "criterion",
    [
        lambda m, v: log_ei(m, v, 0.1),
        lambda m, v: log_aei(m, v, 0.1, 0.3),
        lambda m, v: log_ucb(m, v, 1.0, 2.0),
        log_met,
    ],
)
def test_slopes_of_criteria_are_differences(criterion, mean: float) -> None:
    at = np.array([mean, 0.7])
    _, by_mean, by_variance = criterion(at[:1], at[1:])
    found = differences(lambda u: criterion(u[:1], u[1:])[0][0], at)
    np.testing.assert_allclose([by_mean[0], by_variance[0]], found, rtol=1e-6)


def test_augmented_improvement_is_less_where_noise_is_all_that_is_left() -> None:
    mean, variance = np.zeros(4), np.array([1e-12, 0.1, 0.3, 1e9])
    found = log_aei(mean, variance, 0.1, 0.3)[0] - log_ei(mean, variance, 0.1)[0]
    factor = 1 - np.sqrt(0.3 / (variance + 0.3))
    np.testing.assert_allclose(np.exp(found), factor, rtol=1e-3)
    assert found[3] == pytest.approx(0, abs=1e-4)


def test_confidence_bounds_are_gains_below_the_worst() -> None:
    mean, variance = np.array([-3.0, 0.0, 900.0]), np.array([4.0, 1.0, 1.0])
    gain = 2.0 - mean + 3.0 * np.sqrt(variance)
    found = log_ucb(mean, variance, 2.0, 3.0)[0]
    np.testing.assert_allclose(np.exp(found[:2]), gain[:2] + np.log1p(np.exp(-gain[:2])))
    assert found[2] == pytest.approx(gain[2])


def test_expected_improvement_is_the_integral() -> None:
    expected, _ = quad(lambda f: (0.1 - f) * norm.pdf(f, 0.4, 0.5), -5, 0.1)
    found = log_ei(np.array([0.4]), np.array([0.25]), 0.1)[0][0]
    assert found == pytest.approx(math.log(expected), rel=1e-9)


@pytest.mark.parametrize("unit", [1e-300, 1.0, 1e300])
def test_losses_of_any_size_become_normal(unit: float) -> None:
    loss = np.array([3.0, 1.0, 2.0, math.nan, 5.0, math.inf, 1.5]) * unit
    y = normalised(loss)
    assert y.mean() == pytest.approx(0, abs=1e-12)
    assert y.std() == pytest.approx(1)
    assert np.argmin(y) == 1
    assert y[3] == y[5] == y.max()


@pytest.mark.parametrize("loss", [[2.0] * 5, [math.nan] * 3, [math.inf] * 3, [-1e308, -1e308]])
def test_losses_that_do_not_differ_are_zero(loss: list[float]) -> None:
    assert not normalised(np.array(loss)).any()


def test_of_several_losses_the_worst_of_the_front_says_where_the_tail_begins() -> None:
    loss = np.array([1.0] * 6 + [1.5, 2.0, 2.9, 3.1, 1e300, math.nan])
    y = normalised(loss, worst=2.0)
    np.testing.assert_allclose(np.diff(y)[5:9] / np.diff(y)[5], [1, 1, 1.8, 0.2])
    assert y[9] == y[10] == y[11] == y.max()
    np.testing.assert_array_equal(normalised(loss, worst=1.0), normalised(loss))


def test_where_several_losses_nearly_agree_the_tail_begins_no_sooner_than_for_one() -> None:
    loss = np.array([1.0, 1.01, 2.0, 3.0, 4.0])
    np.testing.assert_array_equal(normalised(loss, worst=1.01), normalised(loss))


def test_losses_and_constraints_may_end_where_numbers_do() -> None:
    largest = np.finfo(float).max
    loss = np.array([largest, -largest, largest, -largest, 0.0, largest])
    for worst in (None, -math.inf, 0.0, largest):
        assert np.isfinite(normalised(loss, worst)).all()
    assert signed(np.array([1e308, -1e308, math.inf])).tolist() == [3.0, -3.0, 3.0]


def test_targets_of_several_losses_go_by_the_front_that_meets_all_constraints() -> None:
    loss = np.array(
        [[0.0, 4.0], [1.0, 1.0], [3.0, 0.0], [99.0, 99.0], [-5.0, -5.0], [math.nan] * 2]
    )
    for broken, worst in ((1.0, (3.0, 4.0)), (0.0, (-5.0, -5.0))):
        constraint = np.array([[0.0]] * 4 + [[broken]] + [[0.0]])
        found = targets(loss, constraint)[:2]
        expected = [normalised(loss[:, j], worst[j]) for j in range(2)]
        np.testing.assert_array_equal(found, expected)


FRONT = np.array([[-0.5, 0.6], [0.2, 0.1], [0.7, -0.4]])
FRONTS = {
    2: FRONT,
    3: np.array([[-0.5, 0.6, 0.3], [0.2, 0.1, 0.4], [0.7, -0.4, 0.8], [0.3, 0.7, -0.6]]),
    4: np.array([[-0.5, 0.6, 0.3, 0.2], [0.2, 0.1, 0.4, 0.9], [0.7, -0.4, 0.8, -0.2]]),
}


def volume(front: np.ndarray) -> float:
    """What a front (f, m) dominates below 1, by inclusion and exclusion of orthants."""
    total = 0.0
    for size in range(1, len(front) + 1):
        for some in itertools.combinations(front, size):
            total -= (-1) ** size * (1.0 - np.max(some, axis=0)).clip(min=0).prod()
    return total


def ehvi(mean: np.ndarray, variance: np.ndarray, front: np.ndarray):
    """As log_ehvi, at a single point."""
    low, high = boxes(front, np.ones(front.shape[1]))
    return log_ehvi(mean[:, None], variance[:, None], low, high)


@pytest.mark.parametrize("m", [2, 3, 4])
@pytest.mark.parametrize("shift", [0.0, 0.6, -1.0])
def test_the_hypervolume_improves_as_in_simulations(m: int, shift: float) -> None:
    front, mean = FRONTS[m], shift + np.array([0.0, 0.2, -0.1, 0.1])[:m]
    spread = np.array([0.5, 0.3, 0.4, 0.6])[:m]
    draws = mean + spread * np.random.default_rng(0).standard_normal((5_000, m))
    before = volume(front)
    gains = [volume(np.concatenate([front, draw[None]])) - before for draw in draws]
    found = math.exp(ehvi(mean, spread**2, front)[0][0])
    assert found == pytest.approx(np.mean(gains), abs=4 * np.std(gains) / 5_000**0.5)


def test_of_two_losses_the_improvement_is_that_of_stripes() -> None:
    """The integral of Phi Phi over what improves, stripe by stripe."""
    mean, spread = np.array([0.3, 0.5]), np.array([0.5, 0.3])

    def below(t: float, j: int) -> float:
        return quad(lambda u: norm.cdf(u, mean[j], spread[j]), -8, t, epsabs=1e-13)[0]

    ends, tops = [*FRONT[:, 0], 1.0], [1.0, *FRONT[:, 1]]
    expected, start = 0.0, 0.0
    for end, top in zip(ends, tops, strict=True):
        expected += (below(end, 0) - start) * below(top, 1)
        start = below(end, 0)
    assert ehvi(mean, spread**2, FRONT)[0][0] == pytest.approx(math.log(expected), rel=1e-9)


def test_what_is_certain_improves_by_what_it_adds() -> None:
    for m, front in FRONTS.items():
        point = np.array([0.1, 0.3, 0.2, -0.3])[:m]
        expected = volume(np.concatenate([front, point[None]])) - volume(front)
        assert math.exp(ehvi(point, np.full(m, 1e-14), front)[0][0]) == pytest.approx(expected)


@pytest.mark.parametrize("m", [2, 3, 4])
def test_slopes_of_the_hypervolume_are_differences(m: int) -> None:
    at = np.concatenate([[0.1, -0.2, 0.3, 0.2][:m], [0.4, 0.3, 0.2, 0.5][:m]])

    def both(u: np.ndarray):
        return ehvi(u[:m], u[m:], FRONTS[m])

    _, by_mean, by_variance = both(at)
    found = differences(lambda u: both(u)[0][0], at)
    np.testing.assert_allclose(np.concatenate([by_mean, by_variance])[:, 0], found, rtol=1e-6)


def test_slopes_of_a_promise_with_constraints_and_costs_are_differences() -> None:
    x, at = points(20), points(3, seed=1)
    process = condition(LAYOUT, THETA, x)
    loss, constraint, cost = (process.given(values(x) * f - s) for f, s in [(1, 0), (2, 1), (1, 2)])
    belief = Belief((loss,), (constraint,), np.array([[0.1]]), np.array([1.0]))
    priced = replace(belief, price=Price(cost, 0.7))
    for promise in (belief, priced, replace(priced, width=2.0)):
        found, slopes = promise.slopes(at)
        np.testing.assert_allclose(found, promise.promise(at))
        for row, slope in zip(at, slopes, strict=True):
            expected = differences(lambda u, p=promise: p.promise(u[None])[0], row)
            np.testing.assert_allclose(slope[:3], expected[:3], rtol=1e-4, atol=1e-6)
    without = belief.promise(at)
    np.testing.assert_allclose(priced.promise(at), without - 0.7 * cost.expected(at))


def test_the_corner_lies_beyond_the_front_and_beyond_all_that_was_told() -> None:
    x = points(20)
    rising = normalised(values(x), worst=values(x).max())
    models = [condition(LAYOUT, THETA, x)] * 2
    everywhere = np.full(20, True)
    opposed = believed(models, [rising, -rising], 2, everywhere)  # each point is on the front
    depth = np.ptp(opposed.front, axis=0)
    np.testing.assert_allclose(opposed.worst, opposed.front.max(axis=0) + 0.2 * depth)
    alike = believed(models, [rising, rising], 2, everywhere)  # the best is the front
    np.testing.assert_allclose(alike.worst, rising.max() + 0.1)


def test_costs_are_compared_by_their_logarithms() -> None:
    logs, unit = log_cost(np.array([1.0, math.e**4, math.nan, 0.0, math.inf]))
    np.testing.assert_allclose(logs, [-1, 1, math.nan, math.nan, math.nan])
    assert unit == pytest.approx(2)
    assert log_cost(np.array([3.0, 3.0]))[1] == 0


@pytest.mark.parametrize("m", [2, 3, 4])
def test_far_from_the_front_there_still_is_a_slope(m: int) -> None:
    value, by_mean, _ = ehvi(np.full(m, 50.0), np.full(m, 1e-4), FRONTS[m])
    assert np.isfinite(value).all()
    assert (by_mean < 0).all()


def test_of_nothing_there_is_an_inverse_root_and_no_complaint(capfd) -> None:
    assert inverse_root(np.zeros((0, 0))).shape == (0, 0)
    assert capfd.readouterr() == ("", "")
