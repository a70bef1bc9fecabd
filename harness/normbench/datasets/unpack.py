"""Unpacking a zip archive that nobody need trust: plain files below one folder, and no more."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from normbench.datasets.download import Progress, check_room, untold
from normbench.datasets.names import cut
from normbench.datasets.whole import sync_folder
from normbench.errors import WorkError

#: Files of an archive at most, and bytes of one of them.
_MOST_FILES, _LARGEST = 500_000, 1 << 28
#: All files together may have so many times the archive's bytes, and so many more.
_TIMES, _MORE = 20, 1 << 24
_PIECE = 1 << 20
#: The list of what an archive held, in the folder that it became.
LIST = "unpacked.json"


def unpack(archive: Path, folder: Path, progress: Progress = untold) -> int:
    """Unpack an archive to ``folder``, which takes its name only when all of it is there.

    A list of the files with their digests lies there too (:data:`LIST`). Returns how many files
    there are. Raises :class:`WorkError` for an archive with names that lead
    elsewhere, links and devices, several files of one name, encrypted files, more than a data set
    can hold, or damage; nothing is left then.
    """
    temporary = folder.with_name(f"{folder.name}.unpacking")
    try:
        with zipfile.ZipFile(archive) as opened:
            members = _checked(opened, archive)
            total = sum(member.file_size for member, _ in members)
            check_room(folder.parent, total, f"unpacking {archive.name}")
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
            done, digests = 0, {}
            for member, path in members:
                digests[str(path)] = _write(opened, member, temporary / path)
                done += member.file_size
                progress(done, total)
            (temporary / LIST).write_text(json.dumps(digests), encoding="utf-8")
        temporary.replace(folder)
        sync_folder(folder.parent)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise WorkError(
            f"the archive {archive.name} cannot be unpacked ({cut(error)}); likely fix: remove it, "
            "then run the same command again"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return len(members)


def _checked(opened: zipfile.ZipFile, archive: Path) -> list[tuple[zipfile.ZipInfo, PurePosixPath]]:
    """The archive's files and their places; nothing is written."""
    found: dict[str, tuple[zipfile.ZipInfo, PurePosixPath]] = {}
    members = opened.infolist()
    if len(members) > _MOST_FILES:
        raise _refused(archive, f"it has {len(members):,} files")
    for member in members:
        path = _place(member, archive)
        kind = stat.S_IFMT(member.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _refused(archive, f"{cut(member.filename)} is a link or a device")
        if member.is_dir():
            continue
        if member.flag_bits & 1:
            raise _refused(archive, f"{cut(member.filename)} is encrypted")
        if member.file_size > _LARGEST:
            raise _refused(archive, f"{cut(member.filename)} has {member.file_size:,} bytes")
        known = str(path).casefold()
        if known in found:
            raise _refused(archive, f"two of its files are called {cut(member.filename)}")
        found[known] = member, path
    total = sum(member.file_size for member, _ in found.values())
    if total > _TIMES * archive.stat().st_size + _MORE:
        raise _refused(archive, f"its files would have {total:,} bytes")
    for known in found:
        above = PurePosixPath(known).parents
        if any(str(one) in found for one in above):
            raise _refused(archive, f"{cut(known)} is below a file")
    return list(found.values())


def _place(member: zipfile.ZipInfo, archive: Path) -> PurePosixPath:
    """Where a member belongs, relative to the folder."""
    # what the archive says itself: zipfile shortens a name with a null character
    name = member.orig_filename
    path = PurePosixPath(name)
    parts = path.parts
    odd = "\\" in name or "\0" in name or ":" in name or path.is_absolute()
    if odd or ".." in parts or not parts or any(len(os.fsencode(p)) > 255 for p in parts):
        raise _refused(archive, f"the name {cut(name)!r} in it leads elsewhere, or is none")
    return path


def _write(opened: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> str:
    """Write a file; its SHA-256."""
    path.parent.mkdir(parents=True, exist_ok=True)
    written, digest = 0, hashlib.sha256()
    with opened.open(member) as source, path.open("xb") as file:
        while piece := source.read(_PIECE):
            written += len(piece)
            if written > member.file_size:
                raise zipfile.BadZipFile(f"{member.filename} is longer than it says")
            file.write(piece)
            digest.update(piece)
    if written != member.file_size:
        raise zipfile.BadZipFile(f"{member.filename} is shorter than it says")
    return digest.hexdigest()


def changed(folder: Path) -> tuple[int, dict[str, str]] | None:
    """How many files an unpacked folder has had, and those that are not as they were, with why.

    None where there is no list of them: the folder was not unpacked by :func:`unpack`.
    """
    try:
        known = json.loads((folder / LIST).read_text(encoding="utf-8"))
        listed = {str(name): str(digest) for name, digest in known.items()}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, AttributeError) as error:
        raise WorkError(f"{folder / LIST} cannot be read: {cut(error)}") from error
    found = {}
    for name, digest in listed.items():
        try:
            with (folder / name).open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                    found[name] = "its bytes have changed"
        except OSError as error:
            found[name] = error.strerror or str(error)
    return len(listed), found


def _refused(archive: Path, why: str) -> WorkError:
    return WorkError(
        f"the archive {archive.name} is refused: {why}. Nothing of it was unpacked; likely fix: "
        "get it from its own source"
    )
