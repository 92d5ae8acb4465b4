"""How many trials share a GPU, and how it is found out what they take of it."""

from __future__ import annotations

import os
import sys
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raysearch.engine.device_memory import measure
from raysearch.engine.packing import LEVELS, Memory, Packing, out_of_memory, room

GB = 1e9
MEMORY = st.builds(Memory, peak=st.floats(0, 100), total=st.floats(1, 100))
NUMBER = st.sampled_from(LEVELS)
FEW = settings(max_examples=50, deadline=None)


@st.composite
def packings(draw):
    """After anything that may have happened."""
    packing = Packing()
    for _ in range(draw(st.integers(0, 30))):
        now = draw(st.sampled_from(["saw", "went_well", "ran_out"]))
        known = draw(st.booleans())
        given = packing.sharers if known else draw(NUMBER)
        packing = getattr(packing, now)(draw(MEMORY) if now == "saw" else given)
    return packing


def test_nothing_is_shared_before_anything_is_known():
    assert Packing().sharers == Packing().went_well(1).ran_out(1).sharers == 1


@pytest.mark.parametrize(
    ("peak", "sharers"), [(0, 16), (1, 12), (2, 6), (3, 4), (6, 2), (7, 1), (16, 1)]
)
def test_peaks_and_headroom_fit_together(peak, sharers):
    assert Packing().saw(Memory(peak * GB, 16 * GB)).sharers == sharers


@FEW
@given(packings(), st.lists(MEMORY))
def test_the_highest_peak_on_the_smallest_gpu_counts(packing, memories):
    for memory in memories:
        before, packing = packing, packing.saw(memory)
        assert packing.sharers in LEVELS
        assert before.sharers == 1 or packing.sharers <= before.sharers
        assert packing.sharers == 1 or packing.sharers * memory.peak < memory.total


@FEW
@given(packings(), NUMBER)
def test_where_memory_ran_out_fewer_share(packing, sharers):
    after = packing.ran_out(sharers)
    assert after.sharers < sharers or sharers == 1
    assert after.ran_out(sharers) == after  # those that failed together count once
    if sharers == 1:
        assert after == packing


def test_one_level_more_is_tried_after_twice_as_many_each_time():
    packing = Packing().saw(Memory(GB, 100 * GB)).ran_out(16)
    for patience, level, more in [(32, 8, 12), (64, 6, 8), (128, 4, 6)]:
        for _ in range(patience):
            assert packing.sharers == level
            packing = packing.went_well(level)
        assert packing.sharers == more
        packing = packing.ran_out(more)


@FEW
@given(st.randoms(use_true_random=False), st.floats(0.05, 1.0), st.floats(0, 0.1))
def test_every_trial_gets_through_or_fails_with_a_gpu_to_itself(chance, most, too_large):
    """One GPU; its memory runs out if all that run on it need more than there is."""
    packing, waiting, done = Packing(), list(range(60)), {}
    need = [2.0 if chance.random() < too_large else chance.uniform(0, most) for _ in waiting]
    runs = dict.fromkeys(waiting, 0)
    while waiting:
        sharers = packing.sharers
        together, waiting = waiting[:sharers], waiting[sharers:]
        fits = sum(need[i] for i in together) <= 1
        for i in together:
            runs[i] += 1
            if fits:
                packing = packing.saw(Memory(need[i], 1.0)).went_well(sharers)
            else:
                packing = packing.ran_out(sharers)
            if fits or sharers == 1:
                done[i] = fits
            else:
                waiting.insert(0, i)
    assert all(fits == (need[i] <= 1) for i, fits in done.items())
    assert max(runs.values()) <= len(LEVELS)


@FEW
@given(st.integers(0, 8), st.lists(NUMBER, max_size=20), NUMBER)
def test_no_more_begin_than_there_is_place_for(gpus, held, sharers):
    new = room(gpus, held, sharers) - len(held)
    taken = sum(1 / n for n in held)
    assert new >= 0
    assert new == 0 or taken + new / sharers <= gpus + 1e-6
    assert taken + (new + 1) / sharers > gpus + 1e-9  # one more would be too many


# --- what is taken for it ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "says",
    [
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.",
        "torch.cuda.OutOfMemoryError: CUDA out of memory.",
        "RuntimeError: CUDA error: out of memory",
        "cupy.cuda.memory.OutOfMemoryError: Out of memory allocating 8,000 bytes",
        "jaxlib.xla_extension.XlaRuntimeError: RESOURCE_EXHAUSTED: Out of memory while trying",
        "jax.errors.JaxRuntimeError: RESOURCE_EXHAUSTED: Failed to allocate request for 40.0GiB",
        "RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "numba.cuda.cudadrv.driver.CudaAPIError: [2] Call to cuMemAlloc: CUDA_ERROR_OUT_OF_MEMORY",
    ],
)
def test_errors_of_every_library_are_known(says):
    assert out_of_memory(f'Traceback (most recent call last):\n  File "a.py", line 1\n{says}\n')
    assert out_of_memory(f"{says}\n\nThe above exception was ...\n\nTrialError: gave up\n")


@pytest.mark.parametrize(
    "says",
    [
        "MemoryError",
        "ValueError: out of range",
        '  File "a.py", line 7, in train\n    except torch.OutOfMemoryError:\nKeyError: 1',
    ],
)
def test_other_errors_are_not(says):
    assert not out_of_memory(f"Traceback (most recent call last):\n{says}\n")


# --- what measures it -------------------------------------------------------------------------


@pytest.fixture
def libraries(monkeypatch):
    """Puts libraries in place of those that there are."""
    for name in ("torch", "cupy", "pynvml"):
        monkeypatch.setitem(sys.modules, name, None)
    return lambda **found: [monkeypatch.setitem(sys.modules, *each) for each in found.items()]


def torch(peak, begun=True):
    cuda = SimpleNamespace(
        is_initialized=lambda: begun,
        max_memory_reserved=lambda: peak,
        mem_get_info=lambda: (1 * GB, 16 * GB),
    )
    return SimpleNamespace(cuda=cuda)


def cupy(held):
    return SimpleNamespace(
        get_default_memory_pool=lambda: SimpleNamespace(total_bytes=lambda: held),
        cuda=SimpleNamespace(Device=lambda: SimpleNamespace(mem_info=(1 * GB, 16 * GB))),
    )


def pynvml(held, pid):
    process = SimpleNamespace(pid=pid, usedGpuMemory=held)
    return SimpleNamespace(
        nvmlInit=lambda: None,
        nvmlDeviceGetCount=lambda: 2,
        nvmlDeviceGetHandleByIndex=lambda i: i,
        nvmlDeviceGetComputeRunningProcesses=lambda i: [process] if i == 1 else [],
        nvmlDeviceGetMemoryInfo=lambda i: SimpleNamespace(total=[8 * GB, 16 * GB][i]),
    )


def test_libraries_that_are_loaded_are_asked(libraries):
    assert measure() is None
    libraries(torch=torch(3 * GB, begun=False), cupy=cupy(0))
    assert measure() is None
    libraries(torch=torch(3 * GB))
    assert measure() == (3.6 * GB, 16 * GB)  # with CUDA's own
    libraries(cupy=cupy(2 * GB))
    assert measure() == (5.6 * GB, 16 * GB)


def test_the_driver_knows_what_libraries_do_not(libraries):
    libraries(torch=torch(3 * GB), pynvml=pynvml(9 * GB, pid=-1))
    assert measure() == (3.6 * GB, 16 * GB)
    libraries(pynvml=pynvml(9 * GB, os.getpid()))
    assert measure() == (9 * GB, 16 * GB)


def test_a_library_that_fails_is_as_good_as_none(libraries):
    libraries(torch=SimpleNamespace(), pynvml=pynvml(9 * GB, os.getpid()))
    assert measure() == (9 * GB, 16 * GB)
