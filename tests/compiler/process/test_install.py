"""Files appear whole, together or not at all, whatever stands in their places and whenever the process is killed."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tilewright.compiler.process import staging, temporary
from tilewright.compiler.process.install import install, written_whole
from tilewright.compiler.process.journal import repair
from tilewright.errors import OutputError

HEADER = "/* net: a model compiled by Tilewright 1 for a test.\n */\n"


def made(folder: Path, version: str) -> dict[Path, Path]:
    """A library and its header, ready to be installed as net.so and net.h."""
    source = folder / "build"
    source.mkdir(exist_ok=True)
    (source / "library.so").write_text(f"library {version}")
    (source / "library.so").chmod(0o755)
    (source / "library.h").write_text(f"{HEADER}{version}")
    return {source / "library.so": folder / "out" / "net.so", source / "library.h": folder / "out" / "net.h"}


def installed(folder: Path) -> tuple[str, ...]:
    """The versions of the library and the header; nothing for one that is not there."""
    names = (folder / "out" / "net.so", folder / "out" / "net.h")
    return tuple(path.read_text().split()[-1] for path in names if path.exists())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "out").iterdir())


def test_both_appear_with_their_modes(folder: Path) -> None:
    install(made(folder, "1"))

    assert installed(folder) == ("1", "1") and names(folder) == ["net.h", "net.so"]
    assert os.access(folder / "out" / "net.so", os.X_OK) and not os.access(folder / "out" / "net.h", os.X_OK)


# Ends itself at the Nth thing that it does in the folder.
KILLED = """
import os, signal, sys
from pathlib import Path
from tilewright.compiler.process.install import install
folder, left = sys.argv[1], int(sys.argv[2])
def hook(event, arguments):
    global left
    if event in ("open", "os.rename", "os.link", "os.remove", "os.truncate") and folder in str(arguments):
        left -= 1
        if left < 0: os.kill(os.getpid(), signal.SIGKILL)
sources = {Path(source): Path(place) for source, place in zip(sys.argv[3::2], sys.argv[4::2])}
sys.addaudithook(hook)
install(sources)
"""


def install_killed(folder: Path, files: dict[Path, Path], after: int) -> bool:
    """Whether the process was killed before it was done."""
    arguments = [str(path) for pair in files.items() for path in pair]
    command = [sys.executable, "-c", KILLED, str(folder / "out"), str(after), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode != 0


@pytest.mark.parametrize("before", [True, False], ids=["over an older pair", "new"])
def test_a_kill_at_any_moment_leaves_a_pair(folder: Path, before: bool) -> None:
    if before:
        install(made(folder, "old"))
    states = set()
    for after in range(60):
        files = made(folder, f"new{after}")
        previous = installed(folder)
        killed = install_killed(folder, files, after)
        as_left = installed(folder)
        # Even before anything is repaired, no file that was there is missing or half written.
        assert len(as_left) >= len(previous)
        repair(folder / "out" / "net.so")
        assert installed(folder) in (previous, (f"new{after}",) * 2)
        states.add((as_left == previous, installed(folder) == previous))
        if not killed:
            break
    else:
        pytest.fail("it never ended")
    # Kills were met before, between and after the renames.
    assert {(True, True), (False, False)} <= states
    install(made(folder, "last"))
    assert installed(folder) == ("last", "last") and names(folder) == ["net.h", "net.so"]


@pytest.mark.parametrize("failing", [0, 1])
@pytest.mark.parametrize("before", [True, False], ids=["over an older pair", "new"])
def test_a_rename_that_fails_changes_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, failing: int, before: bool
) -> None:
    if before:
        install(made(folder, "old"))
    replace, count = Path.replace, 0

    def fails(self: Path, place: Path) -> Path:
        nonlocal count
        count += 1
        if count == failing + 1:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return replace(self, place)

    monkeypatch.setattr(Path, "replace", fails)
    with pytest.raises(OSError, match="Input/output"):
        install(made(folder, "new"))

    assert installed(folder) == (("old", "old") if before else ())
    assert names(folder) == (["net.h", "net.so"] if before else [])


def test_without_links_the_old_files_are_copied(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*arguments: object, **options: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    install(made(folder, "old"))
    monkeypatch.setattr(os, "link", refused)
    test_a_rename_that_fails_changes_nothing(folder, monkeypatch, 1, True)


def test_a_journal_moves_nothing_else(folder: Path) -> None:
    precious, place = folder / "out" / "precious", folder / "out" / "net.so"
    precious.write_text("mine")
    for text in (
        f'{{"renames": [["{precious}", "{folder / "out" / "other"}"]]}}',
        f'{{"renames": [["{precious}", "{place}"]]}}',
        '{"renames": [["a"',
        '{"renames": 3}',
        "[" * 100_000,
    ):
        (folder / "out" / ".net.so.publishing").write_text(text)
        repair(place)
        assert names(folder) == ["precious"]


def test_names_cannot_be_guessed_and_links_are_not_followed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {staging.unused_name(folder / "net.so").name for _ in range(20)}
    assert len(seen) == 20 and not any(str(os.getpid()) in name.split(".") for name in seen)
    # Where somebody guesses all the same, the link that he made there is not written through.
    victim = folder / "victim"
    victim.write_text("precious")
    name = folder / "out" / f".net.so.{'0' * 32}.tmp"
    name.symlink_to(victim)
    monkeypatch.setattr(staging, "unused_name", lambda path: name)
    with pytest.raises(FileExistsError):
        install(made(folder, "1"))
    assert victim.read_text() == "precious"


def test_links_are_written_through(folder: Path) -> None:
    (folder / "v1").mkdir()
    for name, target in (("net.so", "model.so"), ("net.h", "model.h")):
        (folder / "out" / name).symlink_to(Path("..") / "v1" / target)
    for version in ("1", "2"):  # first through links that name nothing yet
        install(made(folder, version))
        assert installed(folder) == (version, version)
    assert (folder / "out" / "net.so").is_symlink() and (folder / "out" / "net.h").is_symlink()
    assert (folder / "v1" / "model.so").read_text() == "library 2"
    with written_whole(folder / "out" / "net.so") as file:
        file.write(b"library 3")
    assert (folder / "out" / "net.so").is_symlink() and (folder / "v1" / "model.so").read_text() == "library 3"


def test_what_is_no_file_is_refused(folder: Path) -> None:
    out = folder / "out"
    os.mkfifo(out / "pipe.so")
    (out / "folder.so").mkdir()
    (out / "circle.so").symlink_to("circle.so")
    (out / "null.so").symlink_to("/dev/null")
    (out / "stdout.so").symlink_to("/dev/stdout")
    places = [*(out / f"{name}.so" for name in ("pipe", "folder", "circle", "null", "stdout"))]
    places += [Path("/dev/stdout"), Path("/dev/null"), Path("/dev/fd/1"), Path("/dev/nothing"), Path("/proc/self/fd/1")]
    before = [os.lstat(place).st_ino if os.path.lexists(place) else None for place in places[:-1]]
    for place in places:
        with pytest.raises(OutputError):
            install({made(folder, "1").popitem()[0]: place})
        with pytest.raises(OutputError), written_whole(place) as file:
            file.write(b"text")
    assert [os.lstat(place).st_ino if os.path.lexists(place) else None for place in places[:-1]] == before


def test_a_foreign_header_stays(folder: Path) -> None:
    header = folder / "out" / "net.h"
    header.write_text("int mine(void);\n")
    with pytest.raises(OutputError, match="did not write"):
        install(made(folder, "1"))
    assert header.read_text() == "int mine(void);\n" and names(folder) == ["net.h"]
    header.write_text("")  # there is nothing to lose
    install(made(folder, "1"))
    install(made(folder, "2"))
    assert installed(folder) == ("2", "2")


def test_a_library_and_a_header_in_one_place_are_refused(folder: Path) -> None:
    (folder / "out" / "net.h").symlink_to("net.so")
    with pytest.raises(OutputError, match="one file"):
        install(made(folder, "1"))


def test_left_overs_go_and_what_is_in_use_stays(folder: Path) -> None:
    place = folder / "out" / "net.so"
    dead = staging.unused_name(place)
    dead.write_text("half")
    other = staging.unused_name(folder / "out" / "net.so2")
    other.write_text("of another place")
    alive, descriptor = staging.create(place)
    install(made(folder, "1"))
    os.close(descriptor)

    assert not dead.exists() and alive.exists() and other.exists()


def test_long_names(folder: Path) -> None:
    place = folder / "out" / f"{'n' * 249}.so"
    source = next(iter(made(folder, "1")))
    for _ in range(2):
        install({source: place, made(folder, "1").popitem()[0]: place.with_suffix(".h")})
    assert len(names(folder)) == 2


def test_two_at_once_leave_one_pair(folder: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from tilewright.compiler.process.install import install\n"
        "sources = {Path(s): Path(p) for s, p in zip(sys.argv[1::2], sys.argv[2::2])}\n"
        "for _ in range(150): install(sources)\n"
    )
    processes = []
    for version in ("one", "two"):
        build = folder / version
        build.mkdir()
        files = {source: folder / "out" / place.name for source, place in made(build, version).items()}
        arguments = [str(path) for pair in files.items() for path in pair]
        processes.append(subprocess.Popen([sys.executable, "-c", code, *arguments]))
    assert [process.wait(60) for process in processes] == [0, 0]
    library, header = installed(folder)
    assert library == header and names(folder) == ["net.h", "net.so"]


def test_temporary_folders_are_made_while_others_sweep(tmp_path: Path) -> None:
    code = (
        "from tilewright.compiler.process.temporary import temporary_folder\n"
        "for _ in range(400):\n"
        "    with temporary_folder() as folder:\n"
        "        (folder / 'file').write_text('text')\n"
        "        assert (folder / 'file').exists()\n"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    processes = [subprocess.Popen([sys.executable, "-c", code], env=environment) for _ in range(4)]
    assert [process.wait(60) for process in processes] == [0] * 4
    assert list(tmp_path.iterdir()) == []


def test_temporary_folders_of_the_dead_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    code = (
        "import os, signal; from tilewright.compiler.process.temporary import temporary_folder\n"
        "with temporary_folder() as folder:\n"
        "    (folder / 'weights.bin').write_text('large')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    for _ in range(2):
        subprocess.run([sys.executable, "-c", code], env={**os.environ, "TMPDIR": str(tmp_path)}, check=False)
    (tmp_path / f"{temporary.PREFIX}link").symlink_to(tmp_path)
    (tmp_path / "else").mkdir()
    assert len(list(tmp_path.glob(f"{temporary.PREFIX}*"))) == 2  # the second removed what the first had left
    with temporary.temporary_folder() as first, temporary.temporary_folder() as second:
        assert {path.name for path in tmp_path.iterdir()} == {
            first.name,
            second.name,
            f"{temporary.PREFIX}link",
            "else",
        }
    assert {path.name for path in tmp_path.iterdir()} == {f"{temporary.PREFIX}link", "else"}
