"""A run as a page, runs as a table, and runs taken away."""

import base64
import json
import re

import pytest
from click.testing import CliRunner

from regbench.cli.report import command as report
from regbench.cli.runs import command as runs_verb
from regbench.errors import UsageError
from regbench.locks import locked
from regbench.report.run_page import run_page
from regbench.results import load_result, records
from regbench.results.layout import LOCK, RESULT
from tests.report.made_up import component, identity_of, pairs_of, save_run
from tests.report.test_html import read


@pytest.fixture
def run(tmp_path):
    """A finished run of a strategy without labels."""
    identity = identity_of("mcnet", strategy=component("colreg", rounds=2), supervision="none")
    return tmp_path / "runs" / save_run(tmp_path / "runs", identity, pairs_of(0.3, 0)).run_id


def test_the_page_shows_the_result_first_and_fetches_nothing(run):
    page = run_page(run)
    reader = read(page)
    assert reader.unmatched == []
    mace = load_result(run / RESULT).metrics["mace"]
    head = page.partition("<main>")[0]
    assert f"{mace.value:.2f} [{mace.ci95[0]:.2f}, {mace.ci95[1]:.2f}] px" in head
    assert "better than doing nothing" in head
    assert "aligned" not in head
    assert "strategy.rounds" in page.partition("Settings")[2]
    for _, attrs in reader.elements:
        for name in ("src", "href"):
            assert (attrs.get(name) or "data:").startswith("data:")
    (record,) = [a["href"] for a in reader.all("a") if a.get("download") == "result.json"]
    assert json.loads(base64.b64decode(record.partition("base64,")[2]))["run_id"] == run.name
    assert page.count("<polyline") == 1


def test_what_others_wrote_cannot_break_out(tmp_path):
    evil = "</style><script>alert(1)</script>"
    saved = save_run(tmp_path, identity_of("mcnet", strategy=component(evil, x=evil)), pairs_of(0.3, 0))
    (tmp_path / saved.run_id / "log.jsonl").write_text(json.dumps({"stage": evil, "loss": 1.5}) + "\n")
    page = run_page(tmp_path / saved.run_id)
    assert read(page).all("script") == []
    assert "loss 1.5" in page


def test_the_verb_writes_it_beside_the_run(run):
    done = CliRunner().invoke(report, [str(run)])
    assert done.exit_code == 0, done.output
    assert (run / "report.html").read_text() == run_page(run)


def test_several_runs_are_several_pages(run, tmp_path):
    other = tmp_path / "runs" / save_run(tmp_path / "runs", identity_of("dhn"), pairs_of(0.5, 0)).run_id
    assert CliRunner().invoke(report, [str(run), str(other)]).exit_code == 0
    assert "dhn" in (other / "report.html").read_text()
    with pytest.raises(UsageError, match="is one file, and these are 2 runs"):
        CliRunner().invoke(report, [str(run), str(other), "--out", str(tmp_path / "x.html")], catch_exceptions=False)


def test_runs_are_records(run):
    (row,) = records(run.parent)
    assert row["strategy"] == "colreg"
    assert row["strategy.rounds"] == 2
    assert row["mace_low"] < row["mace"] < row["mace_high"]
    assert row["folder"] == str(run)


def test_runs_are_listed(run):
    done = CliRunner().invoke(runs_verb, ["list", str(run.parent)])
    assert re.search(rf"{run.name} +mcnet x colreg .*better than doing nothing", done.output)
    assert (
        json.loads(CliRunner().invoke(runs_verb, ["list", str(run.parent), "--json"]).output)[0]["run_id"] == run.name
    )
    assert isinstance(CliRunner().invoke(runs_verb, ["list", str(run / "none")]).exception, UsageError)


def test_a_run_is_shown(run):
    done = CliRunner().invoke(runs_verb, ["show", str(run)])
    assert done.exit_code == 0, done.output
    assert "MACE" in done.output
    assert "pairs.h5" in done.output


def test_a_run_is_deleted_and_nothing_else(run, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years")
    done = CliRunner().invoke(runs_verb, ["rm", str(run), str(tmp_path / "mine"), "--yes"])
    assert isinstance(done.exception, UsageError)
    assert run.exists(), "nothing is deleted where one of several cannot be"
    assert CliRunner().invoke(runs_verb, ["rm", str(run)], input="n\n").exit_code != 0
    assert run.exists()
    assert CliRunner().invoke(runs_verb, ["rm", str(run), "--yes"]).exit_code == 0
    assert not run.exists()
    assert (tmp_path / "mine" / "thesis.tex").exists()


def test_a_teacher_and_a_run_at_work_stay(run):
    teacher = load_result(run / RESULT)
    student = identity_of("mcnet", strategy=component("sshnet-d"), ancestors=[teacher.run_id])
    save_run(run.parent, student, pairs_of(0.2, 1), teachers=[teacher])
    done = CliRunner().invoke(runs_verb, ["rm", str(run), "--yes"])
    assert "learned from" in str(done.exception)
    with locked(run / LOCK, wait=False):
        done = CliRunner().invoke(runs_verb, ["rm", str(run), "--yes", "--force"])
        assert "a process works on this run" in str(done.exception)
    assert run.exists()
    assert CliRunner().invoke(runs_verb, ["rm", str(run), "--yes", "--force"]).exit_code == 0


def test_a_link_is_no_run(run, tmp_path):
    (tmp_path / "link").symlink_to(run)
    done = CliRunner().invoke(runs_verb, ["rm", str(tmp_path / "link"), "--yes"])
    assert "is a link" in str(done.exception)
    assert run.exists()
