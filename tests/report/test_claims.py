"""No sentence of a page claims more than its intervals allow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from regbench.report import leaderboard
from regbench.report.board import load_board
from regbench.report.ranking import rank_rows, seed_interval
from regbench.report.table import range_in_words
from regbench.results import Pairs
from tests.report.made_up import (
    identity_of,
    pairs_of,
    save_run,
)


def places(page: str) -> dict[str, str]:
    """Rank by row number, of the main table."""
    table = page.partition("| verdict")[2].partition("Over seeds")[0]
    cells = [[cell.strip() for cell in line.split("|")] for line in table.splitlines() if line.startswith("| ")]
    return {cell[1]: cell[2] for cell in cells}


def test_claims_are_supported(page):
    """The best row is separated from all; the two alike are not, and share a rank."""
    assert places(page) == {"1": "1", "2": "2", "3": "2", "4": "4", "5": "5", "6": "5", "7": "–"}
    assert "- row 1 is better than row 2 by" in page
    assert "row 2 and row 3" in page.partition("Not separated")[2]
    assert "row 2 is better than row 3" not in page


def test_no_sentence_claims_what_its_interval_does_not(template):
    """Every pair of rows a page orders has an interval of the difference without zero, also as printed."""
    (rows,) = load_board(template / "results" / "demo").sections.values()
    ranking = rank_rows(rows)
    assert ranking.better
    for (i, j), (low, high) in ranking.better.items():
        difference = ranking.rows[j].row.pair_scores["mace"] - ranking.rows[i].row.pair_scores["mace"]
        assert 0 < low < difference.mean() < high
        printed = [float(bound) for bound in range_in_words((low, high)).split(" to ")]
        assert printed[0] > 0
    assert range_in_words((0.0004, 1.25)) == "0.0004 to 1.25"


def board_of(folder: Path, *runs: tuple[str, Pairs]) -> Path:
    saved = [save_run(folder, identity_of(name), pairs) for name, pairs in runs]
    leaderboard.add(folder / "boards", "demo", [folder / result.run_id for result in saved])
    return folder / "boards"


def of_images(pairs: Pairs, count: int) -> Pairs:
    """The same pairs, said to come from ``count`` images."""
    return Pairs.of(pairs.displacement, pairs.estimate, pairs.ok, np.arange(len(pairs.ok)) % count)


def test_few_images_order_nothing_and_the_page_says_why(tmp_path):
    """Ten times apart, but of 27 images: no bracket, no rank, no order, no verdict."""
    root = board_of(tmp_path, ("identity", of_images(pairs_of(-1, 0), 27)), ("mcnet", of_images(pairs_of(0.1, 1), 27)))
    text = leaderboard.render(root, "demo").partition("## synthetic")[2]
    assert "No interval is given and no order claimed: 27 independent images" in text
    assert "better" not in text
    assert "[" not in text
    assert set(places("| verdict" + text.partition("| verdict")[2]).values()) == {"–"}
    assert "| open " in text


def test_a_row_that_one_image_decides_is_not_ordered(tmp_path):
    """One image at 400 px: its mean is the worst by far, and nothing is known of other images."""
    pairs = pairs_of(0.10, 1)
    estimate = pairs.estimate.copy()
    estimate[pairs.image == 5] += 300
    wild = Pairs.of(pairs.displacement, estimate, pairs.ok, pairs.image)
    root = board_of(tmp_path, ("mcnet", pairs_of(0.12, 2)), ("sift", wild))
    text = leaderboard.render(root, "demo")
    assert "row 2: one image makes up four fifths of the variance of its MACE, so no interval is given." in text
    assert "Not separated: row 1 and row 2." in text
    assert "is better than" not in text


def test_a_lead_that_unseen_failures_would_take_is_not_claimed(tmp_path):
    """A lead of 0.3 px that every image shows; doing nothing on 9 % of images costs the better row 1.3 px."""
    pairs = pairs_of(0.40, 1)
    nearer = pairs.estimate + 0.03 * (pairs.displacement - pairs.estimate)
    better = Pairs.of(pairs.displacement, nearer, pairs.ok, pairs.image)
    text = leaderboard.render(board_of(tmp_path, ("mcnet", pairs), ("mhn", better)), "demo")
    assert "A kind of failure on up to 9 % of images may be unseen." in text
    assert "is better than" not in text
    far = Pairs.of(
        pairs.displacement, pairs.estimate + 0.5 * (pairs.displacement - pairs.estimate), pairs.ok, pairs.image
    )
    text = leaderboard.render(board_of(tmp_path / "far", ("mcnet", pairs), ("mhn", far)), "demo")
    assert "row 1 is better than row 2" in text


def test_seed_interval_by_hand():
    assert seed_interval([1.0, 2.0]) is None
    assert seed_interval([11.0, 12.0, 13.0]) == pytest.approx((12 - 4.302653 / 3**0.5, 12 + 4.302653 / 3**0.5))
    assert seed_interval([1.0, 2.0, 3.0]) == pytest.approx((0.0, 2 + 4.302653 / 3**0.5))
    assert seed_interval([98.0, 99.0, 100.0], 100.0) == pytest.approx((99 - 4.302653 / 3**0.5, 100.0))
