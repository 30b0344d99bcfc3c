"""Run directories: the record of a run, its test pairs, its lineage and its provenance."""

from __future__ import annotations

from regbench.results.frame import records, to_frame
from regbench.results.logged import Logged, LogReader
from regbench.results.pairs import Pairs, read_pairs, write_pairs
from regbench.results.schema import Identity, Measure, Result, json_schema, run_id_of
from regbench.results.store import find_runs, load_result, write_bytes, write_json, write_result, write_text

__all__ = [
    "Identity",
    "LogReader",
    "Logged",
    "Measure",
    "Pairs",
    "Result",
    "find_runs",
    "json_schema",
    "load_result",
    "read_pairs",
    "records",
    "run_id_of",
    "to_frame",
    "write_bytes",
    "write_json",
    "write_pairs",
    "write_result",
    "write_text",
]
