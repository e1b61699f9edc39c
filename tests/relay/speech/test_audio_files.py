"""The audio that waits to be fetched, in real files under a turned clock."""

from __future__ import annotations

import hashlib
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import attrs
import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

from relay.speech.audio_files import AudioFiles, AudioOptions
from relay.speech.audio_store import LINGER_SECONDS
from relay.speech.engines.port import Audio, SpeechFailed, audio_of
from tests.limits import HANGING

START = datetime(2026, 11, 22, 12, tzinfo=UTC)
AUDIO = audio_of(b"\1\2" * 8000)


@attrs.define
class TurnedClock:
    """A wall clock that stands still until it is turned."""

    seconds: float = START.timestamp()

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> TurnedClock:
    """Return the clock of the store."""
    return TurnedClock()


@pytest.fixture
def store(tmp_path: Path, clock: TurnedClock) -> AudioFiles:
    """Return a store that keeps audio for an hour, with room for some."""
    return AudioFiles(AudioOptions(directory=tmp_path / "audio", ttl=3600, max_bytes=100_000), clock)


def files(store: AudioFiles) -> list[Path]:
    """List what is on disk."""
    return sorted(store.options.directory.iterdir())


async def test_audio_is_found_by_its_name(store: AudioFiles) -> None:
    """What is found is the file, whole, and when it expires."""
    found = await store.find(await store.put(AUDIO))
    assert found is not None
    assert found.path.read_bytes() == AUDIO.wav
    assert (found.size, found.expires_at) == (len(AUDIO.wav), START.timestamp() + 3600)


async def test_each_message_has_a_name_of_its_own(store: AudioFiles) -> None:
    """The same audio twice gets two names that nobody can guess, and that the web takes as they are."""
    names = {await store.put(AUDIO) for _ in range(3)}
    assert len(names) == 3
    assert all(len(name) == 43 and name.replace("-", "").replace("_", "").isalnum() for name in names)


async def test_the_disk_does_not_know_the_name(store: AudioFiles) -> None:
    """A listing shows hashes, in a directory and in files that are ours alone."""
    name = await store.put(AUDIO)
    (file,) = files(store)
    assert file.name == f"{hashlib.sha256(name.encode()).hexdigest()}.wav"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(store.options.directory.stat().st_mode) == 0o700


async def test_audio_outlives_the_daemon(store: AudioFiles, clock: TurnedClock) -> None:
    """Another store over the same directory finds it, and knows when it expires."""
    name = await store.put(AUDIO)
    again = AudioFiles(store.options, clock)
    found = await again.find(name)
    assert found is not None
    assert found.expires_at == START.timestamp() + 3600


async def test_audio_expires(store: AudioFiles, clock: TurnedClock) -> None:
    """It is there until the last second, and then it is not, though its file lingers for those who read it."""
    name = await store.put(AUDIO)
    clock.seconds += 3599
    assert await store.find(name) is not None
    clock.seconds += 1
    assert await store.find(name) is None
    assert len(files(store)) == 1


async def test_the_time_runs_from_the_last_planned_use(store: AudioFiles, clock: TurnedClock) -> None:
    """A message for tomorrow is there tomorrow, and an hour longer."""
    name = await store.put(AUDIO, START + timedelta(days=1))
    clock.seconds += 86_400 + 3599
    assert await store.find(name) is not None
    clock.seconds += 1
    assert await store.find(name) is None


async def test_a_later_use_extends_and_an_earlier_one_shortens_nothing(store: AudioFiles) -> None:
    """The time that was promised last is never taken back."""
    name = await store.put(AUDIO)
    assert await store.extend(name, START + timedelta(hours=5))
    assert await store.extend(name, START)
    found = await store.find(name)
    assert found is not None
    assert found.expires_at == (START + timedelta(hours=6)).timestamp()


async def test_what_is_not_there_cannot_be_extended(store: AudioFiles, clock: TurnedClock) -> None:
    """Neither what expired nor what never was comes back."""
    name = await store.put(AUDIO)
    clock.seconds += 3600
    assert not await store.extend(name, START + timedelta(hours=5))
    assert not await store.extend("A" * 43, START)


async def test_audio_can_be_let_expire(store: AudioFiles) -> None:
    """Once its call is over a message need not be kept; doing it twice, or for nothing, is no error."""
    name = await store.put(AUDIO)
    await store.expire(name)
    await store.expire(name)
    await store.expire("A" * 43)
    assert await store.find(name) is None


@pytest.mark.parametrize("name", ["", "x", "../../etc/passwd", "A" * 43, "A" * 42 + "/", "A" * 43 + "\n", "ä" * 43])
async def test_what_is_no_name_is_not_there(store: AudioFiles, name: str) -> None:
    """Whatever is asked for, no path is made of it."""
    await store.put(AUDIO)
    assert await store.find(name) is None


async def test_what_expired_is_deleted(store: AudioFiles, clock: TurnedClock) -> None:
    """The task deletes files that nobody can be reading any more, and no others."""
    await store.put(AUDIO)
    clock.seconds += 1000
    fresh = await store.put(AUDIO)
    (store.options.directory / "notes.txt").write_text("not ours")
    clock.seconds += 2600 + LINGER_SECONDS
    with trio.fail_after(HANGING):
        async with trio.open_nursery() as nursery:
            await nursery.start(store.run)
            nursery.cancel_scope.cancel()
    found = await store.find(fresh)
    assert found is not None
    assert {each.name for each in files(store)} == {found.path.name, "notes.txt"}


async def test_deleting_goes_on(store: AudioFiles, clock: TurnedClock, autojump_clock: trio.testing.MockClock) -> None:
    """What expires while the task runs is deleted too, though at first there was not even a directory."""
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run)
        name = await store.put(AUDIO)
        clock.seconds += 3600 + LINGER_SECONDS
        await trio.sleep(store.options.sweep_every + 1)
        # The deleting thread was there first, and has it over before the name is looked up.
        assert await store.find(name) is None
        assert files(store) == []
        nursery.cancel_scope.cancel()


async def test_a_directory_that_cannot_be_read_is_reported_and_tried_again(store: AudioFiles) -> None:
    """A fault of the disk ends no task."""
    store.options.directory.write_text("a file")
    with capture_logs() as logs, trio.fail_after(HANGING):
        async with trio.open_nursery() as nursery:
            await nursery.start(store.run)
            nursery.cancel_scope.cancel()
    assert [each["event"] for each in logs] == ["audio_not_swept"]


async def test_a_crash_in_the_middle_leaves_nothing_for_long(store: AudioFiles, clock: TurnedClock) -> None:
    """A file that was never finished is not served, and is deleted as any other."""
    await store.put(AUDIO)
    (file,) = files(store)
    file.rename(file.with_suffix(".part"))
    clock.seconds += 3600 + LINGER_SECONDS
    await store.put(AUDIO)
    assert [each.suffix for each in files(store)] == [".wav"]


async def test_a_full_store_refuses_until_something_expired(store: AudioFiles, clock: TurnedClock) -> None:
    """What waits to be played is never driven out; the error says when to try again."""
    large = Audio(b"x" * 60_000, 3.75)
    first = await store.put(large)
    with pytest.raises(SpeechFailed) as refusal:
        await store.put(large)
    assert refusal.value.code == "audio_store_full"
    assert await store.find(first) is not None
    clock.seconds += 3600 + LINGER_SECONDS
    await store.put(large)


async def test_two_messages_do_not_share_the_last_room(store: AudioFiles) -> None:
    """Of those that come at once only as many are kept as there is room for."""
    outcomes: list[bool] = []

    async def put() -> None:
        try:
            await store.put(Audio(b"x" * 30_000, 1.0))
        except SpeechFailed:
            outcomes.append(False)
        else:
            outcomes.append(True)

    with trio.fail_after(HANGING):
        async with trio.open_nursery() as nursery:
            for _ in range(6):
                nursery.start_soon(put)
    assert sorted(outcomes) == [False] * 3 + [True] * 3
    assert sum(each.stat().st_size for each in files(store)) <= store.options.max_bytes


async def test_a_disk_that_takes_nothing_is_a_failure(store: AudioFiles) -> None:
    """The error is for the client, the reason for the log, and no name is in either."""
    store.options.directory.write_text("a file")
    with capture_logs() as logs, pytest.raises(SpeechFailed) as refusal:
        await store.put(AUDIO)
    assert refusal.value.code == "audio_not_kept"
    assert [each["event"] for each in logs] == ["audio_not_kept"]


async def test_a_put_is_not_cut_in_the_middle(store: AudioFiles) -> None:
    """Whoever is cancelled while the file is being written waits until it is whole."""
    with trio.fail_after(HANGING):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.put, AUDIO)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    assert [(each.suffix, each.stat().st_size) for each in files(store)] == [(".wav", len(AUDIO.wav))]
