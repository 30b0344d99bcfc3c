"""Figures show the numbers they are made of: what is drawn is read back from the axes."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from click.testing import CliRunner
from matplotlib.figure import Figure

from regbench.cli.figure import command
from regbench.errors import DataError, UsageError
from regbench.report.board import load_board
from regbench.report.figures import charts, curves
from regbench.report.figures.files import save_figure
from regbench.report.inputs import load_sections
from tests.report.made_up import MANIFEST, component, identity_of, pairs_of, save_run


@pytest.fixture(scope="module")
def section(template):
    board = load_board(template / "results" / "demo")
    return next(iter(board.sections.items()))


def test_the_area_below_a_curve_is_the_auc(section):
    for row in section[1]:
        if not row.finished:
            continue
        thresholds = np.linspace(0, 20, 20001)
        area = curves.cumulative_percent(row, thresholds)[:-1].mean()
        assert area == pytest.approx(row.pair_scores["auc@20"].mean(), abs=0.01)


def test_curves_have_a_line_a_row_in_the_order_of_the_board(section):
    (axes,) = curves.cumulative_error_curves(*section).axes
    labels = [line.get_label() for line in axes.lines]
    assert labels == ["mcnet × supervised", "mimgcd × mcnet × colreg (rounds=3)", "mimgcd × mcnet × colreg (rounds=1)",
                      "ihn1 × sshnet-d", "mcnet × self-supervised", "identity"]  # fmt: skip
    styles = {(line.get_color(), line.get_linestyle()) for line in axes.lines}
    assert len(styles) == len(labels)


def test_bars_are_as_high_as_the_scores(section):
    section, rows = section
    (axes,) = charts.auc_bars(section, rows).axes
    (supervised,) = [row for row in rows if row.identity.strategy and row.identity.strategy.name == "supervised"]
    heights = [patch.get_height() for patch in axes.containers[1].patches]
    assert heights == pytest.approx([supervised.pair_scores[m].mean() for m in charts.AUCS])


def test_points_stand_at_the_error_and_the_minutes_of_their_rows(section):
    section, rows = section
    (axes,) = charts.error_against_time(section, rows).axes
    points = {bars.get_label(): bars.lines[0].get_xydata()[0] for bars in axes.containers}
    assert "identity" not in points
    (row,) = [row for row in rows if row.identity.strategy and row.identity.strategy.name == "supervised"]
    pairs = row.finished[0].pairs
    minutes, ratio = points["mcnet × supervised"]
    assert minutes == pytest.approx(row.finished[0].result.training["seconds"] / 60)
    assert ratio == pytest.approx(row.pair_scores["mace"].mean() / pairs.identity_error.mean())


def transfer_runs(folder, names, **changes):
    """A method trained on each data set and tested on each, the farther the worse."""
    for i, trained in enumerate(names):
        for j, tested in enumerate(names):
            identity = identity_of(
                "mcnet",
                strategy=component("supervised"),
                train_dataset={"name": trained, "pack_sha256": f"{i}" * 64},
                test_dataset={"name": tested, "manifest_sha256": f"{j}" * 64},
                **changes,
            )
            yield folder / save_run(folder, identity, pairs_of(0.2 + 0.3 * abs(i - j), i)).run_id


def test_the_matrix_holds_every_cell(tmp_path):
    sections = load_sections(list(transfer_runs(tmp_path, ["one", "two"])))
    axes = charts.transfer_matrix(sections).axes[0]
    drawn = axes.images[0].get_array()
    assert [label.get_text() for label in axes.get_yticklabels()] == ["one", "two"]
    for section, rows in sections.items():
        for row in rows:
            place = ("one", "two").index(row.identity.train_dataset.name), ("one", "two").index(section.dataset)
            pairs = row.finished[0].pairs
            assert drawn[place] == pytest.approx(row.pair_scores["mace"].mean() / pairs.identity_error.mean())


def test_a_matrix_is_of_one_method_under_one_protocol(tmp_path):
    runs = list(transfer_runs(tmp_path, ["one", "two"]))
    other = save_run(tmp_path, identity_of("ihn", strategy=component("supervised")), pairs_of(0.2, 9))
    with pytest.raises(UsageError, match="a matrix is of one method"):
        charts.transfer_matrix(load_sections([*runs, tmp_path / other.run_id]))
    again = list(transfer_runs(tmp_path, ["one"], budget="full"))
    with pytest.raises(UsageError, match="two rows were trained on one and tested on one"):
        charts.transfer_matrix(load_sections([*runs, *again]))


def test_a_radar_is_of_aucs_or_of_data_sets(tmp_path, section):
    section, rows = section
    axes = charts.auc_radar({section: rows}).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["AUC@3", "AUC@5", "AUC@10", "AUC@20"]
    assert axes.lines[0].get_ydata()[0] == axes.lines[0].get_ydata()[-1]
    several = load_sections(list(transfer_runs(tmp_path, ["one", "two"])))
    with pytest.raises(UsageError, match="three axes"):
        charts.auc_radar(several)


def test_training_curves_count_steps_on_from_stage_to_stage(tmp_path):
    stages = [{"name": "first", "steps": 100}, {"name": "second", "steps": 50}]
    (tmp_path / "result.json").write_text(json.dumps({"training": {"stages": stages}}))
    entries = [("first", 50, 0.9), ("first", 100, 0.8), ("second", 50, 0.7)]
    (tmp_path / "curve.jsonl").write_text(
        "".join(
            json.dumps({"stage": s, "step": n, "deploys": "r", "mace_over_identity": v}) + "\n" for s, n, v in entries
        )
    )
    (axes,) = curves.training_curves([tmp_path]).axes
    assert axes.lines[0].get_xdata().tolist() == [50, 100, 150]
    assert axes.lines[0].get_ydata().tolist() == [0.9, 0.8, 0.7]
    (tmp_path / "curve.jsonl").write_text("{")
    with pytest.raises(DataError, match="is broken"):
        curves.training_curves([tmp_path])
    (tmp_path / "curve.jsonl").unlink()
    with pytest.raises(DataError, match="training curves are drawn of run directories"):
        curves.training_curves([tmp_path])


@pytest.mark.parametrize(("suffix", "magic"), [("pdf", b"%PDF"), ("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_files_are_the_same_bytes_again(tmp_path, suffix, magic):
    made = []
    for name in ("a", "b"):
        figure = Figure(figsize=(2, 1))
        figure.subplots().plot([0, 1], label="line")
        save_figure(figure, tmp_path / "new" / f"{name}.{suffix}")
        made.append((tmp_path / "new" / f"{name}.{suffix}").read_bytes())
    assert made[0].startswith(magic)
    assert made[0] == made[1]


@pytest.mark.parametrize("kind", ["curves", "auc", "radar"])
def test_the_command_line_draws(template, tmp_path, kind):
    runs = [str(p) for p in sorted((template / "results" / "demo").glob("*.json")) if is_current(p)]
    path = tmp_path / "figure.pdf"
    done = CliRunner().invoke(command, [kind, *runs[:3], "--out", str(path)], catch_exceptions=False)
    assert done.output == f"{path}\n"
    assert path.read_bytes().startswith(b"%PDF")


def is_current(path) -> bool:
    raw = json.loads(path.read_text())
    return raw["status"] == "ok" and raw["identity"]["test_dataset"]["manifest_sha256"] == MANIFEST


def test_bad_requests(template, tmp_path):
    folder = template / "results" / "demo"
    ok = [str(path) for path in sorted(folder.glob("*.json")) if json.loads(path.read_text())["status"] == "ok"]

    def error_of(*args: str) -> Exception | None:
        return CliRunner().invoke(command, args).exception

    assert "a figure is written as .pdf, .png, .svg" in str(error_of("curves", ok[0], "--out", "x.jpg"))
    assert "judged on different test pairs" in str(error_of("auc", *ok))
    assert "only the data set has settings" in str(error_of("pairs", ok[0], "--set", "strategy.steps=1"))


@pytest.mark.parametrize("name", ["$x^2$", r"$\frac$", "_hidden", "50 % [bold]", "a_b^c"])
def test_names_are_drawn_as_they_are(tmp_path, name):
    run = tmp_path / save_run(tmp_path, identity_of(name, strategy=component(name)), pairs_of(0.2, 0)).run_id
    sections = load_sections([run])
    (section, rows), *_ = sections.items()
    figures = [
        curves.cumulative_error_curves(section, rows), charts.auc_bars(section, rows), charts.transfer_matrix(sections),
        charts.auc_radar(sections),
    ]  # fmt: skip
    for number, figure in enumerate(figures):
        path = tmp_path / f"{number}.svg"
        with matplotlib.rc_context({"svg.fonttype": "none"}):  # texts stay texts
            save_figure(figure, path)
        drawn = "".join(ElementTree.parse(path).getroot().itertext())
        assert f"{name} × {name}" in drawn.replace("\u200b", "")


def test_a_figure_takes_a_suffix_in_capitals(tmp_path):
    figure = Figure(figsize=(2, 1))
    save_figure(figure, tmp_path / "a.PNG")
    assert (tmp_path / "a.PNG").read_bytes().startswith(b"\x89PNG")
