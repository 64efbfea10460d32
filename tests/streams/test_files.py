"""What is read has a bound, what is written is whole."""

import asyncio
import gzip
import io
import os
from pathlib import Path

import pytest

from streams.files import CHUNK, MAX_LINE, FileProblemError, LinesError, arriving, lines, text_of, write


@pytest.mark.parametrize("cut", [1, 2, 3, 7, CHUNK])
def test_lines_are_the_same_however_they_are_cut(cut: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line may begin in one chunk and end in another; the last one needs no end."""
    monkeypatch.setattr("streams.files.CHUNK", cut)
    text = b"one\n\n  two \r\n" + b"x" * 50 + b"\nlast"
    assert list(lines(io.BytesIO(text))) == text.split(b"\n")
    assert list(lines(gzip.GzipFile(fileobj=io.BytesIO(gzip.compress(text))))) == text.split(b"\n")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (gzip.compress(b"version: 1", mtime=0), "is packed with gzip: unpack it first"),
        ("version: 1".encode("utf-16"), "is UTF-16: save it as UTF-8"),
        (b"\xff\xfe\x00\x00v", "is UTF-32: save it as UTF-8"),
        (b"\x28\xb5\x2f\xfd\x00", "is packed with zstd: unpack it first"),
        (b"caf\xe9", "is not UTF-8 text: save it as UTF-8"),
    ],
)
def test_a_file_that_is_no_text_is_named_for_what_it_is(content: bytes, said: str, tmp_path: Path) -> None:
    """A journey file; and one of events, where it is more than a letter within one of them."""
    file = tmp_path / "file"
    file.write_bytes(content)
    with pytest.raises(FileProblemError, match=f"^{file}: {said}$"):
        text_of(file)
    if "not UTF-8" not in said:
        with pytest.raises(LinesError, match=f"^{said}$"):
            list(lines(io.BytesIO(content)))


def test_a_line_without_end_is_cut() -> None:
    """Of a line of 20 MB as much is kept as says that it is too long; the next one is whole."""
    long, after = lines(io.BytesIO(b"x" * 20_000_000 + b"\nafter"))
    assert MAX_LINE - CHUNK <= len(long) <= MAX_LINE + CHUNK
    assert after == b"after"


@pytest.mark.parametrize("cut", [1000, CHUNK])
def test_a_line_is_not_waited_for_without_bound(cut: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is a byte longer than is passed over ends the reading, and is named; the shorter is passed."""
    monkeypatch.setattr("streams.files.CHUNK", cut)
    monkeypatch.setattr("streams.files.MAX_PASSED_OVER", 100_000)
    assert len(list(lines(io.BytesIO(b"a\n" + bytes(100_000) + b"\nb")))) == 3
    for end in (b"", b"\nb"):
        read = lines(io.BytesIO(b"a\n" + bytes(100_001) + end))
        assert next(read) == b"a"
        with pytest.raises(LinesError, match=r"^line 2: has no end within "):
            next(read)


async def test_lines_arrive_as_they_are_written() -> None:
    """Of a pipe: nobody waits for its end, and `stop` is heard while nothing comes."""
    reading, writing = os.pipe()
    stop = asyncio.Event()
    arrived = arriving(reading, stop)
    try:
        os.write(writing, b"one\ntwo\nthr")
        assert [await anext(arrived), await anext(arrived)] == [b"one", b"two"]
        third = asyncio.ensure_future(anext(arrived, None))
        os.write(writing, b"ee\n")
        assert await third == b"three"
        nothing = asyncio.ensure_future(anext(arrived, None))
        await asyncio.sleep(0)
        stop.set()
        assert await nothing is None
    finally:
        os.close(reading)
        os.close(writing)


async def test_what_a_file_holds_arrives_too(tmp_path: Path) -> None:
    """A file on a disk cannot be waited for, and need not be."""
    (tmp_path / "some").write_bytes(b"one\ntwo")
    with (tmp_path / "some").open("rb") as file:
        assert [line async for line in arriving(file.fileno(), asyncio.Event())] == [b"one", b"two"]


async def test_stop_is_heard_while_a_file_is_read(tmp_path: Path) -> None:
    """A file on a disk always has more; whoever sets `stop` has his turn at each chunk of it."""
    stop = asyncio.Event()
    (tmp_path / "blank").write_bytes(b"\n" * 10 * CHUNK)
    with (tmp_path / "blank").open("rb") as file:
        asyncio.get_running_loop().call_soon(stop.set)
        assert len([line async for line in arriving(file.fileno(), stop)]) <= CHUNK


async def test_what_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    """A directory in the place of standard input."""
    directory = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(FileProblemError, match=r"^standard input: Is a directory$"):
            [line async for line in arriving(directory, asyncio.Event())]
    finally:
        os.close(directory)


def test_files_are_written_with_their_directories_and_modes(tmp_path: Path) -> None:
    """New ones as the user's mask says, old ones keep their mode; a link stays one."""
    kept, linked = tmp_path / "kept", tmp_path / "linked"
    kept.write_text("old")
    kept.chmod(0o640)
    linked.symlink_to(kept)
    write({tmp_path / "a/b/new": "1", linked: "2"})
    assert (tmp_path / "a/b/new").read_text() == "1"
    mask = os.umask(0)
    os.umask(mask)
    assert (tmp_path / "a/b/new").stat().st_mode & 0o777 == 0o666 & ~mask
    assert (kept.read_text(), kept.stat().st_mode & 0o777, linked.is_symlink()) == ("2", 0o640, True)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a", "kept", "linked"]


def test_what_cannot_be_written_is_named_and_nothing_changes(tmp_path: Path) -> None:
    """A directory in the place of the second file leaves the first as it was, and nothing beside it."""
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_text("old")
    second.mkdir()
    with pytest.raises(FileProblemError, match=f"^{second}: Is a directory$"):
        write({first: "new", second: "new"})
    assert first.read_text() == "old"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["first", "second"]


def test_a_device_is_written_in_its_place() -> None:
    """`/dev/full` takes nothing, which is told; it is still there."""
    with pytest.raises(FileProblemError, match=r"^/dev/full: No space left on device$"):
        write({Path("/dev/full"): "x"})
    assert Path("/dev/full").is_char_device()
