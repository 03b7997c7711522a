"""Bags: what is written is read back by others' readers; cut or damaged anywhere, what is whole is still there."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mcap", reason="install the extra [record]")

from hypothesis import given, settings
from hypothesis import strategies as st

from data.bag_reading import BagFile, is_bag, read_bag, survey, totals
from data.bag_repair import repair_bag
from data.bags import BagTopic, BagWriter
from data.errors import UserError

TEXT = BagTopic("/arm/words", "std_msgs/msg/String", "string data\n")
RELIABLE = {
    "history": "keep_last", "depth": 10, "reliability": "reliable", "durability": "volatile",
    "deadline": {"sec": 0, "nsec": 0}, "lifespan": {"sec": 0, "nsec": 0}, "liveliness": "automatic",
    "liveliness_lease_duration": {"sec": 0, "nsec": 0}, "avoid_ros_namespace_conventions": False,
}  # fmt: skip
NUMBER = BagTopic("/arm/number", "std_msgs/msg/Int32", "int32 data\n", (RELIABLE,))
START_NS = 1_700_000_000_000_000_000


def text_message(words: str) -> bytes:
    raw = words.encode() + b"\0"
    return b"\0\1\0\0" + len(raw).to_bytes(4, "little") + raw


def number_message(number: int) -> bytes:
    return b"\0\1\0\0" + number.to_bytes(4, "little", signed=True)


def write(folder: Path, count: int = 60, close: bool = True, **options: int) -> list[tuple[str, bytes, int, int]]:
    """Writes messages of two topics, a chunk every ten; returns them."""
    writer = BagWriter(folder, flush_s=0.0, **options)
    expected = []
    for number in range(count):
        topic, data = (TEXT, text_message(f"word {number}")) if number % 3 else (NUMBER, number_message(number))
        stamps = START_NS + number * 1_000_000, START_NS + number * 1_000_000 + 500
        writer.write(writer.add_topic(topic), data, *stamps)
        expected.append((topic.name, data, *stamps))
        if number % 10 == 9:
            writer.flush()
    if close:
        writer.close()
    return expected


def read(path: Path) -> list[tuple[str, bytes, int, int]]:
    return [(one.topic.name, one.data, one.published_ns, one.arrived_ns) for one in read_bag(path)]


def test_what_is_written_is_read_back_with_both_stamps(tmp_path: Path) -> None:
    expected = write(tmp_path / "bag")
    assert read(tmp_path / "bag") == expected
    files = survey(tmp_path / "bag")
    assert files[0].complete and files[0].topics[1].qos == (RELIABLE,)
    figures = totals(files)
    assert figures["topics"] == {"/arm/number": 20, "/arm/words": 40} and figures["closed"]


def assert_others_read(folder: Path, expected: list[tuple[str, bytes, int, int]]) -> None:
    """The readers of mcap and of rosbags find the same messages, decoded."""
    reading, decoding = pytest.importorskip("mcap.reader"), pytest.importorskip("mcap_ros2.decoder")
    rosbags = pytest.importorskip("rosbags.highlevel")
    decoded = []
    for file in sorted(folder.glob("*.mcap")):
        with file.open("rb") as stream:
            reader = reading.make_reader(stream, decoder_factories=[decoding.DecoderFactory()])
            assert reader.get_summary() is not None
            decoded += [(channel.topic, ros.data) for _, channel, _, ros in reader.iter_decoded_messages()]
    wanted = [
        (topic, int.from_bytes(data[4:], "little") if topic == NUMBER.name else data[8:-1].decode())
        for topic, data, *_ in expected
    ]
    assert decoded == wanted
    with rosbags.AnyReader([folder]) as any_reader:
        found = [(c.topic, bytes(raw), at) for c, at, raw in any_reader.messages()]
        assert found == [(topic, data, arrived) for topic, data, _, arrived in expected]
        values = [any_reader.deserialize(raw, c.msgtype).data for c, _, raw in any_reader.messages()]
        assert values == [value for _, value in wanted]


def test_the_readers_of_mcap_and_of_rosbags_open_it(tmp_path: Path) -> None:
    assert_others_read(tmp_path / "bag", write(tmp_path / "bag"))
    metadata = json.loads((tmp_path / "bag" / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    assert metadata["message_count"] == 60 and metadata["storage_identifier"] == "mcap"


def test_a_full_file_is_followed_by_the_next_one(tmp_path: Path) -> None:
    expected = write(tmp_path / "bag", file_bytes=1500)
    names = [file.path.name for file in survey(tmp_path / "bag")]
    assert names == [f"bag_{number}.mcap" for number in range(len(names))] and len(names) > 1
    assert read(tmp_path / "bag") == expected
    assert_others_read(tmp_path / "bag", expected)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, list[tuple[str, bytes, int, int]], list[int]]:
    """A bag that was closed: its bytes, its messages, and the end of each chunk."""
    folder = tmp_path_factory.mktemp("whole") / "bag"
    expected = write(folder)
    file = BagFile(folder / "bag_0.mcap")
    ends = [chunk.end for chunk in file.chunks()]
    return file.path.read_bytes(), expected, ends


@settings(deadline=None)
@given(data=st.data())
def test_cut_anywhere_all_whole_chunks_are_read_and_repair_completes_it(
    whole: tuple[bytes, list[tuple[str, bytes, int, int]], list[int]],
    tmp_path_factory: pytest.TempPathFactory,
    data: st.DataObject,
) -> None:
    content, expected, ends = whole
    cut = data.draw(st.integers(0, len(content) - 1))
    folder = tmp_path_factory.mktemp("cut") / "bag"
    folder.mkdir()
    (folder / "bag_0.mcap").write_bytes(content[:cut])
    there = expected[: 10 * sum(end <= cut for end in ends)]
    assert read(folder) == there
    report = repair_bag(folder)
    assert report.actions and read(folder) == there
    assert survey(folder)[0].complete and repair_bag(folder).actions == ()
    kept = folder / "bag_0.mcap.torn"
    assert not kept.exists() or content[:cut].endswith(kept.read_bytes())
    if there:
        assert_others_read(folder, there)


@settings(deadline=None)
@given(data=st.data())
def test_a_flipped_byte_never_gives_a_message_that_was_not_written(
    whole: tuple[bytes, list[tuple[str, bytes, int, int]], list[int]],
    tmp_path_factory: pytest.TempPathFactory,
    data: st.DataObject,
) -> None:
    content, expected, ends = whole
    place = data.draw(st.integers(8, ends[-1] - 1))
    damaged = bytearray(content)
    damaged[place] ^= data.draw(st.integers(1, 255))
    path = tmp_path_factory.mktemp("flip") / "bag_0.mcap"
    path.write_bytes(damaged)
    found = read(path)
    assert set(found) <= set(expected)
    before = sum(end <= place for end in ends)
    assert found[: 10 * before] == expected[: 10 * before]


def test_chunks_behind_a_damaged_one_are_read_and_stay_after_repair(tmp_path: Path) -> None:
    expected = write(tmp_path / "bag", close=False)
    file = BagFile(tmp_path / "bag" / "bag_0.mcap")
    chunks = list(file.chunks())
    for hurt in (2, len(chunks) - 1):
        content = bytearray(file.path.read_bytes())
        content[chunks[hurt].end - 5] ^= 0x40
        file.path.write_bytes(content)
    there = expected[:20] + expected[30:50]
    assert read(tmp_path / "bag") == there
    size = file.path.stat().st_size
    report = repair_bag(tmp_path / "bag")
    assert "2 damaged chunks are left out" in str(report)
    assert file.path.read_bytes()[:size] == content, "nothing recorded is deleted"
    assert_others_read(tmp_path / "bag", there)


def test_a_damaged_first_chunk_costs_no_topic(tmp_path: Path) -> None:
    expected = write(tmp_path / "bag", close=False)
    file = BagFile(tmp_path / "bag" / "bag_0.mcap")
    first = next(file.chunks())
    content = bytearray(file.path.read_bytes())
    content[first.end - 5] ^= 0x40
    file.path.write_bytes(content)
    assert read(tmp_path / "bag") == expected[10:]
    repair_bag(tmp_path / "bag")
    assert_others_read(tmp_path / "bag", expected[10:])


def test_other_files_and_taken_folders_are_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "x.mcap").write_bytes(b"something else altogether")
    with pytest.raises(UserError, match="expected an MCAP file at .*x.mcap, got other bytes"):
        read(tmp_path / "x.mcap")
    with pytest.raises(UserError, match="exists already; give every bag a folder of its own"):
        BagWriter(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="a folder with .mcap files, found none"):
        read(tmp_path / "empty")
    assert not is_bag(tmp_path / "empty") and is_bag(tmp_path)


FILLING = """
import resource, signal, sys
from pathlib import Path
from data.bags import BagWriter
from data.errors import UserError
from tests.data.test_bags import TEXT, START_NS
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
import random
noise = random.Random(0)
writer = BagWriter(Path(sys.argv[1]), flush_s=0.0, chunk_bytes=20_000)
topic = writer.add_topic(TEXT)
for number in range(1000):
    try:
        writer.write(topic, noise.randbytes(5000), START_NS + number, START_NS + number)
    except UserError as error:
        print(number, error)
        break
try:
    writer.write(topic, b"more", START_NS, START_NS)
except UserError as error:
    print(error)
writer.close()
"""


def test_a_full_disk_ends_it_in_one_sentence_and_what_came_before_is_readable(tmp_path: Path) -> None:
    limit = 300_000
    done = subprocess.run(
        [sys.executable, "-c", FILLING, str(tmp_path / "bag")],
        capture_output=True,
        text=True,
        timeout=60.0,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    count, _, sentence = first.partition(" ")
    assert sentence == second and sentence.startswith("disk full while recording to")
    found = read(tmp_path / "bag")
    assert int(count) - 5 <= len(found) <= int(count) and len(found) > 40
    assert (tmp_path / "bag" / "bag_0.mcap").stat().st_size < limit
    assert survey(tmp_path / "bag")[0].torn_bytes == 0, "the torn record was dropped"
    repair_bag(tmp_path / "bag")
    assert len(read(tmp_path / "bag")) == len(found)
