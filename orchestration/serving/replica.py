"""A replica: it follows what is published into a folder or an object store, and needs no home."""

from __future__ import annotations

import json
import threading
from pathlib import Path

from orchestration.errors import TraithouseError
from orchestration.home import write_atomically
from orchestration.published.lookup_file import KEYS, POINTER, read_pointer
from orchestration.published.served_copy import ServedCopy
from orchestration.serving.metrics import LOG

FOLLOW_SECONDS = 1.0


class Replica:
    """Copies what is served to a folder of its own, and goes on with what it has where the store cannot be reached.

    Args:
        source: what is followed.
        folder: of its own.

    """

    def __init__(self, source: ServedCopy, folder: Path) -> None:
        self._source, self._folder = source, folder
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True, name="replica")
        self._trouble = ""

    def start(self) -> None:
        """Copies what there is, and goes on in a thread."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._try()
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread."""
        self._ended.set()
        self._thread.join(timeout=5)

    def copy(self) -> bool:
        """Copies what changed; returns whether there is another lookup.

        Raises:
            TraithouseError: the store cannot be reached, or holds something else.

        """
        keys = self._source.small_file(KEYS)
        known = self._folder / KEYS
        # A store that is gone for a while looks like one without keys; one whose keys are all revoked lists none.
        if keys is not None and (not known.exists() or known.read_bytes() != keys):
            write_atomically(known, keys)
        pointer = self._source.pointer()
        if pointer is None or pointer == read_pointer(self._folder):
            return False
        target = self._folder / pointer.file
        draft = target.with_name(f".{target.name}")
        self._source.fetch(pointer, draft)
        draft.replace(target)
        write_atomically(self._folder / POINTER, json.dumps(pointer._asdict()))
        for path in self._folder.glob("lookup-*.sqlite*"):
            if not path.name.startswith(pointer.file):
                path.unlink()
        return True

    def _follow(self) -> None:
        while not self._ended.wait(FOLLOW_SECONDS):
            self._try()

    def _try(self) -> None:
        try:
            self.copy()
            trouble = ""
        except (TraithouseError, OSError) as error:
            trouble = str(error)
        if trouble and trouble != self._trouble:
            LOG.error("What was served goes on. %s", trouble)
        self._trouble = trouble
