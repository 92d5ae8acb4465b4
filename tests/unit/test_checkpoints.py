"""Checkpoints: exact as bytes, whole or refused, and no more of them than are needed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from raysearch.engine.checkpoint import inherited, pack, packed, reported, unpack
from raysearch.engine.evaluate import arguments_of
from raysearch.engine.metrics import Invalid
from raysearch.engine.objective import Signature
from raysearch.engine.objectives import Objectives
from raysearch.engine.records import Checkpoint, Job, Trials
from raysearch.errors import StudyCorrupt, UsageError
from raysearch.log.checkpoints import Checkpoints, StoredCheckpoints
from raysearch.log.place import open_storage
from raysearch.space import Float, Space

SPACE = Space({"x": Float(0, 1)})
DTYPES = ("f2", "f4", "f8", "c8", "i1", "i8", "u4", "?", "M8[ns]", "U3", "S2", ">f8")
arrays = st.sampled_from(DTYPES).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0))
)
plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
numbers = st.sampled_from([np.float32(np.nan), np.int8(3), np.bool_(True), np.float64(np.inf)])
states = st.dictionaries(
    st.text() | st.integers(),
    st.recursive(
        plain | arrays | numbers,
        lambda part: (
            st.lists(part, max_size=3)
            | st.lists(part, max_size=3).map(tuple)
            | st.dictionaries(st.text() | st.integers(), part, max_size=3)
        ),
        max_leaves=8,
    ),
    max_size=4,
)


def same(a, b):
    """Equal to the bit, and of the same types."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, (np.ndarray, np.generic)):
        return (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
    return repr(a) == repr(b)


@settings(max_examples=60, deadline=None)
@given(states, st.dictionaries(st.text(), st.floats() | st.booleans() | st.text()))
def test_a_state_comes_back_as_it_was(state, metrics):
    for data in (pack(state, metrics), packed(state, metrics)):
        assert same(unpack(data), state)
        assert same(reported(data), metrics)


def test_tensors_come_back_as_arrays():
    torch = pytest.importorskip("torch")
    weights = torch.arange(6, dtype=torch.float32).reshape(2, 3).requires_grad_()
    back = unpack(pack({"model": {"weights": weights}}))["model"]["weights"]
    assert same(back, np.arange(6, dtype=np.float32).reshape(2, 3))


@pytest.mark.parametrize(
    ("state", "where"),
    [
        ({"model": object()}, "state['model']"),
        ({"list": [1, {2}]}, "state['list'][1]"),
        ({"names": np.array(["a", None], dtype=object)}, "state['names']"),
        ({("a", 1): 2}, "state: expected names"),
        ({"f": {"g": lambda: 0}}, "state['f']['g']"),
    ],
)
def test_what_cannot_be_stored_is_refused_by_name(state, where):
    with pytest.raises(Invalid) as error:
        pack(state)
    assert where in str(error.value)


def test_damage_is_noticed_or_does_no_harm():
    state = {"epoch": 7, "weights": np.arange(40.0), "name": "net"}
    data = pack(state, {"loss": 0.5})
    noticed = 0
    for at in range(len(data)):
        broken = data[:at] + bytes([data[at] ^ 0x41]) + data[at + 1 :]
        try:
            assert same(unpack(broken), state)
        except StudyCorrupt:
            noticed += 1
    assert noticed > len(data) / 2
    for at in range(0, len(data), 7):
        with pytest.raises(StudyCorrupt, match="checkpoint: expected what a trial has saved"):
            unpack(data[:at])


# --- which ones are kept --------------------------------------------------------------------


@pytest.fixture(params=["memory", "disk"])
def kept(request, tmp_path):
    return Checkpoints() if request.param == "memory" else stored(tmp_path)


def stored(path):
    (path / "checkpoints").mkdir(exist_ok=True)
    found = StoredCheckpoints(open_storage(str(path)))
    found.look()
    return found


def trials(number, parent, budget=9.0):
    columns = SPACE.decode(np.full((1, 1), 0.5))
    return Trials(np.array([number]), columns, np.array([budget]), np.array([parent]))


def save(kept, number, *steps, rung=False):
    for step in steps:
        state = {"step": step, "of": number}
        kept.save(Checkpoint(number, float(step), pack(state), rung))
        kept.behind()
        kept.settle()


def start(kept, number, parent=-1):
    found = kept.starts(trials(number, parent)).get(0)
    return None if found is None else unpack(found.content)


def test_of_every_trial_the_last_one_is_kept(kept):
    assert start(kept, 3) is None
    save(kept, 3, 1, 2)
    save(kept, 4, 5)
    assert start(kept, 3) == {"step": 2, "of": 3}
    assert kept.numbers() == [3, 4]
    assert len(files(kept)) == 2


def files(kept):
    return list(kept._data) if type(kept) is Checkpoints else kept._storage.names("checkpoints")


class Held:
    """A state that lies in memory."""

    def __init__(self, state):
        self.state = packed(state)

    def get(self):
        return self.state


def test_what_is_succeeded_before_it_is_stored_is_never_written(kept):
    kept.save(Checkpoint(3, 1.0, Held({"w": np.ones(3)})))
    assert start(kept, 8, parent=3)["w"].flags.writeable
    kept.save(Checkpoint(8, 2.0, Held({"w": np.zeros(2)})))
    store = kept.behind()
    assert not files(kept)
    assert unpack(kept.last(8))["w"].tolist() == [0, 0]
    store()
    kept.settle()
    assert files(kept) == ["checkpoints/8-2.0b.npz"]
    assert kept.behind() is None


def test_what_is_stored_stays_until_the_rows_are_that_make_do_without_it(kept):
    def held(number):
        kept.save(Checkpoint(number, 1.0, Held({"of": number})))
        kept.retain(frozenset({number}))

    save(kept, 0, 1)
    kept.retain(frozenset({0}))
    held(1)
    store = kept.behind()
    held(2)  # while a thread stores 1, for rows that speak of it
    assert start(kept, 2) == {"of": 2}
    store()
    assert numbers_of(kept) == [0, 1]
    kept.settle()
    assert numbers_of(kept) == [1]
    held(1)  # begun again
    kept.behind()()
    kept.settle()
    assert numbers_of(kept) == [1]


def test_what_was_stored_for_rows_that_were_never_written_is_forgotten(tmp_path):
    first = stored(tmp_path)
    save(first, 9, 1)
    for number in (3, 8):
        first.save(Checkpoint(number, 1.0, Held({"of": number})))
    first.behind()()  # and no rows
    later = stored(tmp_path)
    later.forget(lambda: [3])
    assert numbers_of(later) == later.numbers() == [3, 9]


def numbers_of(kept):
    return sorted(int(name.split("/")[1].split("-")[0]) for name in files(kept))


def test_those_at_rungs_are_kept_on_demand(kept):
    kept.keep = "rungs"
    save(kept, 3, 1)
    save(kept, 3, 3, rung=True)
    save(kept, 3, 4, 5)
    save(kept, 3, 9, rung=True)
    assert sorted(files(kept)) == ["checkpoints/3-3.0r.npz", "checkpoints/3-9.0r.npz"]
    assert start(kept, 3) == {"step": 9, "of": 3}


def test_a_parents_goes_once_its_child_has_saved(kept):
    save(kept, 3, 1, rung=True)
    assert start(kept, 8, parent=3) == {"step": 1, "of": 3}
    assert kept.numbers() == [3]
    save(kept, 8, 2)
    assert kept.numbers() == [8]
    assert start(kept, 8, parent=3) == {"step": 2, "of": 8}


def test_the_best_trials_alone(kept):
    for number in range(4):
        save(kept, number, 1)
    kept.only([2])
    assert kept.numbers() == [2]
    assert unpack(kept.last(2)) == {"step": 1, "of": 2}
    assert kept.last(1) is None


def test_a_later_session_finds_them(tmp_path):
    save(stored(tmp_path), 3, 0.5, 1e-7, 1e22)  # whatever way the step is written
    assert start(stored(tmp_path), 3) == {"step": 1e22, "of": 3}


def test_saving_once_more_changes_nothing(kept):
    save(kept, 3, 1, 2, 2)
    assert start(kept, 3) == {"step": 2, "of": 3}
    assert len(files(kept)) == 1


def test_a_trial_goes_on_from_the_nearest_ancestor_that_has_saved():
    log = Checkpoints()
    space = Space({"x": Float(0, 1)})

    def trial(number: int, parent: int) -> Trials:
        columns = space.decode(np.array([[0.5]]))
        return Trials(np.array([number]), columns, np.array([9.0]), np.array([parent]))

    log.save(Checkpoint(0, 1.0, b"zero", rung=True))
    assert log.starts(trial(1, 0))[0].content == b"zero"  # saves nothing itself
    assert log.starts(trial(2, 1))[0].content == b"zero"
    log.save(Checkpoint(1, 3.0, b"one", rung=True))
    assert log.starts(trial(2, 1))[0].content == b"one"


def test_those_that_others_may_go_on_from_stay_until_they_are_not_named(kept):
    kept.retain(frozenset())
    save(kept, 0, 1, rung=True)
    kept.retain(frozenset({0}))
    for child in (1, 2):
        assert start(kept, child, parent=0) == {"step": 1, "of": 0}
        save(kept, child, 2, rung=True)
    kept.retain(frozenset({0, 1, 2}))
    assert start(kept, 3, parent=0) == {"step": 1, "of": 0}
    kept.retain(frozenset({1, 2}))
    assert kept.numbers() == [1, 2]


def test_a_part_of_a_state_is_inherited_but_all_of_ones_own_is_kept():
    data, part = pack({"w": 1.5, "momentum": 0.5}), '["w"]'
    with pytest.raises(UsageError, match=r"\['w', 'momentum'\], found 'weights'"):
        inherited(data, '["w", "weights"]')
    both = Trials.concat(
        [
            Trials(
                np.array([n]), SPACE.decode(np.zeros((1, 1))), np.ones(1), np.zeros(1, int), names
            )
            for n, names in (
                (3, np.array([part], object)),
                (4, None),
                (5, np.array([part], object)),
            )
        ]
    )
    starts = {i: Checkpoint(number, 1.0, data) for i, number in enumerate((0, 0, 5))}
    job = Job(print, SPACE, Objectives(("loss",), (False,)), seed=0)
    called = arguments_of(job, Signature(takes_trial=True), both, [0, 0, 0], starts)
    states = [trial.checkpoint for _, trial in called]
    assert states == [{"w": 1.5}, {"w": 1.5, "momentum": 0.5}, {"w": 1.5, "momentum": 0.5}]
