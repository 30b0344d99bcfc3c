"""Reading and writing of files of a run: writes are atomic, and a broken file gives an error of one line."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from regbench.disk import append_line, replaced
from regbench.errors import DataError, NewerError
from regbench.results.layout import RESULT
from regbench.results.schema import SCHEMA_VERSION, Result, run_id_of
from regbench.texts import one_line

_log = logging.getLogger("regbench")


def write_bytes(path: Path, content: bytes) -> None:
    """Replace a file atomically: a reader sees the old content or the new one, also after a crash."""
    with replaced(path) as partial:
        partial.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Replace a text file atomically; UTF-8, line ends as given."""
    write_bytes(path, text.encode())


def write_json(path: Path, content: Any) -> None:
    """Replace a JSON file atomically. Numbers that are not finite become null, because JSON cannot express them."""
    write_text(path, json.dumps(_finite(content), indent=1, allow_nan=False, ensure_ascii=False) + "\n")


def append_json(path: Path, entry: Mapping[str, Any]) -> None:
    """Append one line of JSON to a file of such lines; half a line that a full disk left there is cut off first."""
    append_line(path, json.dumps(entry))


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """The entries of a file of lines of JSON, none where there is no file.

    Half a line at its end is what a killed or full disk leaves, and is no entry. Any other line that is no JSON object
    is left out with a warning.
    """
    if not path.is_file():
        return []
    *lines, rest = path.read_text(encoding="utf-8", errors="replace").split("\n")
    entries = []
    for number, line in enumerate([*lines, *([rest] if rest.endswith("}") else [])], 1):
        try:
            entry = json.loads(line)
        except ValueError:
            entry = None
        if isinstance(entry, dict):
            entries.append(entry)
        else:
            _log.warning("%s: line %d is damaged and was left out", path, number)
    return entries


def write_result(path: Path, result: Result) -> None:
    """Write ``result.json`` atomically.

    Raises:
        ValueError: ``run_id`` is not the hash of the identity.
    """
    expected = run_id_of(result.identity)
    if result.run_id != expected:
        raise ValueError(f"run_id {result.run_id} is not the hash of the identity, {expected}")
    write_json(path, result.model_dump(mode="json"))


def load_result(path: Path, *, committed: bool = False) -> Result:
    """Read and check ``result.json``.

    Args:
        path: the file.
        committed: also require that the file is called ``<run_id>.json``, as on a board.

    Raises:
        DataError: the file is missing, is not JSON, has a newer schema, violates the schema, or its run id is not the
            hash of its identity.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_constant)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not valid JSON ({one_line(str(error))}); run the job again or delete it") from error
    version = raw.get("schema_version") if isinstance(raw, dict) else None
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise NewerError(f"{path} has schema_version {version}, this regbench reads {SCHEMA_VERSION}; upgrade regbench")
    try:
        result = Result.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = one_line(".".join(map(str, first["loc"]))) or "the record"
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise DataError(f"{path} is not a result: {where}: {first['msg']}{more}") from error
    try:
        expected = run_id_of(raw["identity"])
        ancestors = {name: run_id_of(identity) for name, identity in raw.get("lineage", {}).items()}
    except ValueError as error:
        raise DataError(f"{path} is not a result: an identity holds a number that is not finite") from error
    if result.run_id != expected:
        raise DataError(f"{path}: run_id {result.run_id} is not the hash of the identity, {expected}; was it edited?")
    for name, found in ancestors.items():
        if name != found:
            raise DataError(f"{path}: the ancestor {name} is not the hash of the identity it is given; was it edited?")
    if committed and path.stem != result.run_id:
        raise DataError(f"{path} holds run {result.run_id}; rename it to {result.run_id}.json")
    return result


def find_runs(parent: Path) -> list[Path]:
    """Run directories (those holding a ``result.json``) at or below ``parent``, in order of their path."""
    return sorted(path.parent for path in parent.rglob(RESULT) if path.is_file())


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
