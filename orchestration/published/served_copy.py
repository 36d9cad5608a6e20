"""A copy of what the API needs (lookup, pointer, keys) in a folder or an object store, which replicas follow.

The pointer is written last, so a replica never sees a part. Stores are those of fsspec (``s3://``, ``gs://``, a path);
their credentials are those of their own libraries.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterable
from pathlib import Path

import fsspec

from orchestration.errors import TraithouseError, UsageError
from orchestration.landing.object_store import OPTIONS
from orchestration.published.file_hash import file_hash
from orchestration.published.lookup_file import KEYS, POINTER, LookupPointer, parse_pointer

_LARGEST_SMALL_FILE = 10_000_000
_LOOKUPS = "lookup-*.sqlite"


class ServedCopy:
    """A folder or a prefix of an object store.

    Args:
        url: where; a path, or for example ``s3://bucket/prefix``.
        setting: the environment variable that names it, for messages.

    Raises:
        UsageError: no library for it is installed.

    """

    def __init__(self, url: str, setting: str) -> None:
        self._setting = setting
        try:
            scheme = url.partition("://")[0] if "://" in url else "file"
            self._store, self._root = fsspec.core.url_to_fs(url, **OPTIONS.get(scheme, {}))
        except (ImportError, ValueError):
            raise UsageError(
                f"{setting}: nothing here reads such an address.", "Use a folder, or install the library of the store."
            ) from None

    def pointer(self) -> LookupPointer | None:
        """What is served; nothing where nothing was copied yet.

        Raises:
            TraithouseError: the store cannot be reached.

        """
        found = self.small_file(POINTER)
        try:
            return parse_pointer(json.loads(found)) if found else None
        except (ValueError, AttributeError):
            return None

    def small_file(self, name: str) -> bytes | None:
        """The bytes of a file; nothing where it is not there.

        Raises:
            TraithouseError: the store cannot be reached, or the file is far too large.

        """
        try:
            with self._store.open(self._path(name), "rb") as stream:
                content: bytes = stream.read(_LARGEST_SMALL_FILE + 1)
        except FileNotFoundError:
            return None
        except Exception as error:
            raise self._trouble(error) from None
        if len(content) > _LARGEST_SMALL_FILE:
            raise TraithouseError(f"{self._setting}: {name} is too large to be one.", "Look at what has written it.")
        return content

    def fetch(self, pointer: LookupPointer, target: Path) -> None:
        """Copies a lookup to a path; what does not have its checksum is deleted.

        Raises:
            TraithouseError: it cannot be reached, or is another file.

        """
        try:
            self._store.get_file(self._path(pointer.file), str(target))
            is_right = file_hash(target) == pointer.sha256
        except Exception as error:
            target.unlink(missing_ok=True)
            raise self._trouble(error) from None
        if not is_right:
            target.unlink()
            raise TraithouseError(
                f"{self._setting}: {pointer.file} is not the file that {POINTER} names.", "It is fetched again."
            )

    def write(self, folder: Path, pointer: LookupPointer, *, kept: int) -> None:
        """Copies what a folder serves, and deletes lookups but so many of those before it.

        Raises:
            TraithouseError: the store cannot be reached.

        """
        try:
            self._store.makedirs(self._root, exist_ok=True)
            self._put(folder / pointer.file, pointer.file)
            self.write_keys(folder)
            self._put(folder / POINTER, POINTER)
            old = sorted(
                (path for path in self._store.glob(self._path(_LOOKUPS)) if posixpath.basename(path) != pointer.file),
                key=lambda path: str(self._store.modified(path)),
            )
            for path in old[: max(0, len(old) - kept)]:
                self._store.rm_file(path)
        except TraithouseError:
            raise
        except Exception as error:
            raise self._trouble(error) from None

    def write_keys(self, folder: Path) -> None:
        """Copies the keys.

        Raises:
            TraithouseError: the store cannot be reached.

        """
        try:
            if (folder / KEYS).exists():
                self._store.makedirs(self._root, exist_ok=True)
                self._put(folder / KEYS, KEYS)
        except Exception as error:
            raise self._trouble(error) from None

    def _put(self, source: Path, name: str) -> None:
        """Copies a file; in a folder it appears whole, as it does in an object store."""
        if "file" not in _names(self._store.protocol):
            self._store.put_file(str(source), self._path(name))
            return
        draft = self._path(f".{name}.part")
        self._store.put_file(str(source), draft)
        Path(draft).replace(self._path(name))

    def _path(self, name: str) -> str:
        return posixpath.join(self._root, name)

    def _trouble(self, error: Exception) -> TraithouseError:
        """What went wrong, by its kind: the text of an error of a store may hold what was sent."""
        return TraithouseError(
            f"{self._setting} cannot be reached: {type(error).__name__}.", "Check the address and its credentials."
        )


def _names(protocol: str | Iterable[str]) -> set[str]:
    return {protocol} if isinstance(protocol, str) else set(protocol)
