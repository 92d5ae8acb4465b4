"""Damaged studies: every truncation gives an exact prefix, no damage gives a wrong row."""

from __future__ import annotations

import io
import random
import shutil

import pyarrow as pa
import pytest

from raysearch.errors import StudyCorrupt
from raysearch.log import Reader, Rows, StudyLog, check, salvage
from raysearch.log.segment import END, Segment, encode_frame, encode_header, find_frames
from raysearch.space import Choice, Float, Space
from raysearch.study import Study
from raysearch.testing.told import made_up

SPACE = Space({"x": Float(0, 1), "c": Choice(["a", "b"])})
SPEC = {"space": SPACE.to_json(), "metric": {"loss": "min"}}
ABOUT = {"study": "u", "session": 1, "part": 1}


def a_segment(sizes=(1, 3, 2), first=5):
    """The bytes of a segment, its batches, and where each one ends."""
    batches = [Rows(SPACE).to_batch(made_up(SPACE, k, seed=k)) for k in sizes]
    schema, data = encode_header(batches[0].schema, ABOUT)
    header, before, ends = data, 0, []
    for i, batch in enumerate(batches):
        frame, before = encode_frame(schema, header, batch, first + i, before)
        data += frame
        ends.append(len(data))
    return data, batches, ends


def read(data):
    segment = Segment(io.BytesIO(data), "a segment")
    frames = list(segment.frames())
    if not frames:
        return segment, []
    schema = segment.schema(frames[0], ABOUT)
    return segment, [segment.decode(frame, schema) for frame in frames]


def test_a_segment_is_what_arrow_writes():
    data, batches, _ = a_segment()
    assert pa.ipc.open_stream(data).read_all().to_batches() == batches
    segment, found = read(data + END)
    assert found == batches
    assert segment.sealed
    assert segment.dropped == 0
    assert not read(data)[0].sealed


def test_large_batches_are_compressed_as_arrow_does_it():
    data, batches, ends = a_segment(sizes=(100, 3000))
    assert pa.ipc.open_stream(data).read_all().to_batches() == batches
    assert read(data)[1] == batches
    assert ends[0] > batches[0].nbytes
    assert ends[1] - ends[0] < 0.8 * batches[1].nbytes
    for place in range(ends[0], ends[1], 997):
        broken = bytearray(data)
        broken[place] ^= 1
        assert read(bytes(broken))[1] == batches[:1]


def test_every_truncation_gives_an_exact_prefix():
    data, batches, ends = a_segment()
    header = next(find_frames(data)).offset
    for length in range(len(data) + 1):
        segment, found = read(data[:length])
        whole = sum(end <= length for end in ends)
        assert found == batches[:whole]
        assert not segment.sealed
        kept = ends[whole - 1] if whole else header if length >= header else 0
        assert segment.dropped == length - kept


@pytest.mark.parametrize("tail", [b"\0" * 500, b"\xff" * 500, END + b"\0", bytes(range(256)) * 4])
def test_rubbish_at_the_end_is_dropped(tail):
    data, batches, _ = a_segment()
    segment, found = read(data + tail)
    assert found == batches
    assert segment.dropped == len(tail)
    assert not segment.sealed


def test_flipped_bits_never_give_a_wrong_row():
    data, batches, ends = a_segment()
    rng = random.Random(0)
    for _ in range(4000):
        flipped = bytearray(data)
        flips = rng.choice([1, 1, 2, 8])
        for _ in range(flips):
            flipped[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        first = next(i for i, (a, b) in enumerate(zip(data, flipped, strict=True)) if a != b)
        try:
            segment, found = read(bytes(flipped))
        except StudyCorrupt as error:
            assert "a segment" in str(error)  # noqa: PT017
            continue
        assert found == batches[: len(found)]
        assert first >= (ends[len(found) - 1] if found else 0)
        assert segment.dropped > 0
        if flips == 1:  # only damage to the last batch can be taken for a torn end
            assert len(found) == 2


def test_batches_out_of_order_or_from_elsewhere_are_refused():
    data, _, ends = a_segment()
    start = next(find_frames(data)).offset
    swapped = data[: ends[0]] + data[ends[1] : ends[2]] + data[ends[0] : ends[1]]
    without = data[: ends[0]] + data[ends[1] :]
    headless = data[:start] + data[ends[0] :]
    for damaged in (swapped, without, headless, data[start:]):
        with pytest.raises(StudyCorrupt, match="a segment"):
            read(damaged)


def test_a_reader_is_patient_with_a_writer_that_is_faster():
    data, batches, _ = a_segment()

    class Growing(io.BytesIO):
        """Shows more of the file at every seek."""

        shown = 0

        def seek(self, *args):
            self.shown += 1500
            return super().seek(*args)

        def read(self, n=-1):
            left = max(self.shown - self.tell(), 0)
            return super().read(left if n is None or n < 0 else min(n, left))

    segment = Segment(Growing(data), "growing")
    frames = list(segment.frames())
    schema = segment.schema(frames[0], ABOUT)
    assert [segment.decode(frame, schema) for frame in frames] == batches


def test_extension_types_are_refused_before_anything_is_decoded():
    field = pa.field("config.x", pa.string(), metadata={"ARROW:extension:name": "evil"})
    schema, header = encode_header(pa.schema([field]), ABOUT)
    batch = pa.record_batch([pa.array(["a"])], schema=pa.schema([field]))
    frame, _ = encode_frame(schema, header, batch, 0, 0)
    with pytest.raises(StudyCorrupt, match="extension"):
        read(header + frame)


# --- whole studies ------------------------------------------------------------------------


@pytest.fixture
def study(tmp_path):
    """Two closed sessions, and one that was killed, of 4 rows each."""
    place = tmp_path / "study"
    for session in range(3):
        log = StudyLog.open(place, SPACE, SPEC)
        for i in range(2):
            log.append([made_up(SPACE, 2, first=4 * session + 2 * i)])
        if session < 2:
            log.close()
        else:
            log._release()
    return place


def numbers(place):
    return [n for batch in Reader(place).batches(["number"]) for n in batch.column(0).to_pylist()]


def files(place):
    return sorted((place / "log").iterdir())


def test_the_healthy_study_is_healthy(study):
    assert numbers(study) == list(range(12))
    assert [finding.kind for finding in check(study)] == ["sealed", "sealed", "open", "sealed"]


@pytest.mark.parametrize("which", [0, 1])
def test_missing_files_are_noticed(study, which):
    files(study)[which].unlink()
    with pytest.raises(StudyCorrupt, match=r"batches .* are missing"):
        numbers(study)
    with pytest.raises(StudyCorrupt, match="are missing"):
        StudyLog.open(study, SPACE, SPEC)
    assert check(study)[-1].kind == "corrupt"


def test_the_last_file_of_a_closed_study_cannot_go_unnoticed(study):
    StudyLog.open(study, SPACE, SPEC).close()
    files(study)[-1].unlink()
    with pytest.raises(StudyCorrupt, match="are missing"):
        numbers(study)
    for file in files(study):
        file.unlink()
    with pytest.raises(StudyCorrupt, match="are missing"):
        numbers(study)


def test_a_sealed_segment_may_not_be_shorter_than_it_was(study, monkeypatch):
    monkeypatch.setattr("raysearch.log.writer.compact", lambda reader, table: None)
    with StudyLog.open(study, SPACE, SPEC) as log:
        log.append([made_up(SPACE, 2, first=12)])
        log.append([made_up(SPACE, 2, first=14)])
    file = files(study)[-1]
    whole = file.read_bytes()
    assert whole.endswith(END)
    file.write_bytes(whole[: -len(END)])
    assert numbers(study) == list(range(16))  # no row is missing
    for length in (len(whole) - len(END) - 1, len(whole) // 2, 10, 0):
        file.write_bytes(whole[:length])
        with pytest.raises(StudyCorrupt, match="are missing or damaged"):
            numbers(study)


def test_an_older_segment_may_not_be_shorter_than_it_was(study, monkeypatch):
    monkeypatch.setattr("raysearch.log.writer.compact", lambda reader, table: None)
    with StudyLog.open(study, SPACE, SPEC) as log:
        log.append([made_up(SPACE, 2, first=12)])
    file = files(study)[-2]
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(StudyCorrupt, match="batches 5 to 5"):
        numbers(study)


def test_a_torn_end_is_tolerated_reported_and_gone_after_the_next_session(study):
    file = files(study)[-1]
    file.write_bytes(file.read_bytes()[:-3])
    assert numbers(study) == list(range(10))
    findings = check(study)
    assert [finding.kind for finding in findings] == ["sealed", "sealed", "torn", "sealed"]
    with StudyLog.open(study, SPACE, SPEC) as log:
        assert len(log.notes) == 1
        assert file.name in log.notes[0]
        log.append([made_up(SPACE, 2, first=10)])
    assert numbers(study) == list(range(12))
    with StudyLog.open(study, SPACE, SPEC) as log:
        assert log.notes == []


def test_flipped_bits_anywhere_in_a_study_never_give_a_wrong_row(study, tmp_path):
    rng = random.Random(1)
    good = pa.Table.from_batches(list(Reader(study).batches()))
    originals = {file: file.read_bytes() for file in files(study)}
    for trial in range(160):
        file = rng.choice(files(study))
        data = bytearray(originals[file])
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        file.write_bytes(data)
        try:
            found = pa.Table.from_batches(list(Reader(study).batches()))
        except StudyCorrupt as error:
            assert file.name in str(error)  # noqa: PT017
        else:
            assert found.equals(good.slice(0, len(found)))
            assert file.suffix == ".arrow"
            assert len(found) == 10
        if trial % 20 == 0:
            assert check(study)[files(study).index(file)].kind in ("corrupt", "torn")
            shutil.rmtree(tmp_path / "copy", ignore_errors=True)
            kept = salvage(study, tmp_path / "copy")
            rows = Study.load(tmp_path / "copy").trials.to_pylist()
            assert kept == len(rows) >= 8
            assert all(row in good.to_pylist() for row in rows)
        file.write_bytes(originals[file])


def test_salvage_finds_batches_behind_the_damage(study, tmp_path):
    file = files(study)[-1]
    data = bytearray(file.read_bytes())
    frames = list(find_frames(bytes(data)))
    data[frames[0].offset + len(frames[0].data) - 9] ^= 1
    file.write_bytes(data)
    with pytest.raises(StudyCorrupt, match=f"{file.name}: .*salvage"):
        numbers(study)
    before = file.read_bytes()
    assert salvage(study, tmp_path / "copy") == 10
    assert numbers(tmp_path / "copy") == [*range(8), 10, 11]
    assert file.read_bytes() == before


def test_files_of_another_study_do_not_pass_for_this_ones(study, tmp_path):
    other = tmp_path / "other"
    with StudyLog.open(other, SPACE, SPEC) as log:
        log.append([made_up(SPACE, 2)])
        log.append([made_up(SPACE, 2)])
    name = files(study)[0].name
    files(study)[0].unlink()
    shutil.copy(files(other)[0], study / "log" / files(other)[0].name)
    with pytest.raises(StudyCorrupt, match="another study"):
        numbers(study)
    assert name != files(other)[0].name
    part = files(study)[-1]
    part.rename(part.with_name("000003-000002.arrow"))
    (study / "log" / files(other)[0].name).unlink()
    with pytest.raises(StudyCorrupt, match="expected a segment of"):
        numbers(study)
