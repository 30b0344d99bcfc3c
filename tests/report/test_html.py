"""The page of a board: whole, harmless, usable without a mouse or a network, and looked at in a browser."""

from __future__ import annotations

import base64
import html
import json
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from regbench.errors import DataError
from regbench.metrics.corner import VERDICT_WORDS
from regbench.report import leaderboard
from regbench.report.board import load_board
from regbench.report.columns import columns_of
from regbench.report.figures.overlay import Scene
from regbench.report.ranking import ranked_sections
from regbench.report.render.comma_separated import to_csv
from regbench.report.render.html import to_html
from regbench.report.render.latex import to_latex
from regbench.report.render.markdown import to_markdown
from regbench.report.render.page_table import SHARED, page_table
from tests.report.made_up import component, identity_of, pairs_of, require_golden, save_run

SCRIPT = Path(leaderboard.__file__).parent / "render" / "templates" / "board.js"
VOID = {"meta", "input", "image", "line", "polygon", "br"}


class Reader(HTMLParser):
    """Every element with its attributes, the text of tables, and tags that do not match."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.parents: list[list[str]] = []
        self.open: list[str] = []
        self.unmatched: list[str] = []
        self.rows: list[list[str]] = []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.parents.append(list(self.open))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.parents.append(list(self.open))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.unmatched.append(tag)

    def handle_data(self, data):
        if "td" in self.open or "th" in self.open:
            self.rows[-1][-1] += data

    def all(self, *tags):
        return [attrs for tag, attrs in self.elements if tag in tags]


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    reader.close()
    return reader


def painted(ranked, index) -> Scene:
    """A picture of no data: what is tested is the page."""
    ring = np.array([[8.0, 8.0], [23.0, 8.0], [23.0, 23.0], [8.0, 23.0]])
    grey = np.full((32, 32, 3), 100, np.uint8)
    return Scene(index, 1.25, 24.9, grey, grey, ring, ring + 2)


@pytest.fixture(scope="module")
def board(template):
    return load_board(template / "results" / "demo")


@pytest.fixture(scope="module")
def page(board) -> str:
    return to_html(board, {section: painted for section in board.sections})


def test_golden_html(board):
    require_golden("leaderboard.html", to_html(board))


def test_the_markup_is_whole_and_accessible(page):
    reader = read(page)
    assert reader.unmatched == []
    assert reader.open == []
    identifiers = [attrs["id"] for _, attrs in reader.elements if "id" in attrs]
    assert len(identifiers) == len(set(identifiers))
    assert {attrs["aria-labelledby"] for attrs in reader.all("section")} <= set(identifiers)
    assert all(attrs.get("scope") == "col" for attrs in reader.all("th"))
    assert all({"aria-label", "aria-hidden", "class"} & set(attrs) for attrs in reader.all("svg"))
    controls = [parents for (tag, _), parents in zip(reader.elements, reader.parents, strict=True)
                if tag in ("input", "select")]  # fmt: skip
    assert controls
    assert all("label" in parents for parents in controls)
    assert len(reader.all("h1")) == 1


def test_nothing_is_fetched(page):
    assert "default-src 'none'" in page
    for _, attrs in read(page).elements:
        for name in ("src", "href", "srcset", "action", "data", "style"):
            assert (attrs.get(name) or "data:").startswith("data:"), attrs
    assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest|import\(", page)
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in page


def test_the_table_says_what_the_markdown_says(page, template):
    """Cell by cell, so that neither page can claim what the other does not; names and order are its own."""
    table = leaderboard.render(template, "demo").partition("may be unseen.\n\n")[2].partition("\n\n")[0].splitlines()
    cells = [[c.strip().replace("\\", "") for c in line.strip("|").split(" | ")] for line in [table[0], *table[2:]]]
    said = [dict(zip(cells[0], row, strict=True)) for row in cells[1:]]
    rows = read(page).rows[: len(cells)]
    shown = [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]
    shared = re.search(r'<p class="shared">In all rows: (.*?)\.</p>', page)
    assert rows[0][:6] == ["#", "rank", "method", "MACE", "× identity", "verdict"], "the result beside the name"
    for row, in_markdown in zip(shown, said, strict=True):
        names = [in_markdown.pop(role) for role in ("translator", "registrator", "strategy")]
        assert row.pop("method") == " × ".join(name for name in names if name != "–")
        words = in_markdown.pop("verdict").split(" or ")
        assert row.pop("verdict") == " or ".join(VERDICT_WORDS.get(word, word) for word in words)
        for head in set(in_markdown) - set(row):
            value = in_markdown.pop(head)
            assert value == "–" or f"{head} {value}" in html.unescape(shared[1]), "what is left out is said above"
        assert row == in_markdown


def test_what_rows_do_not_share_stays_in_the_table(board):
    (ranking,) = [ranking for _, ranking in ranked_sections(board)]
    shown = page_table(ranking)
    for head in SHARED:
        values = {c.cell(r) for c in columns_of(ranking) if c.head == head for r in ranking.rows} - {"–"}
        assert (head in shown.table.heads) == (len(values) > 1), head


def test_a_verdict_cannot_be_misunderstood(page):
    table = page.partition("<table")[2].partition("</table>")[0]
    assert "better than doing nothing" in table
    assert not re.search(r"\b(aligned|collapsed|diverged)\b", table)
    assert "“better than doing nothing” is below 0.9" in page


def test_downloads_hold_what_the_page_shows(page, board):
    files = {a["download"]: base64.b64decode(a["href"].partition("base64,")[2]).decode()
             for a in read(page).all("a") if "download" in a}  # fmt: skip
    assert files["demo.csv"] == to_csv([board])
    assert files["demo.tex"] == to_latex(board)
    assert "@software{regbench," in files["demo.bib"]
    assert "@misc{registrator-mcnet," in files["demo.bib"]
    assert files["demo.bib"].count("{") == files["demo.bib"].count("}")


def test_it_can_be_read_in_the_dark():
    style = (SCRIPT.parent / "board.css").read_text()
    light, dark = (dict(re.findall(r"(--\w+): (#\w+)", part)) for part in style.split("prefers-color-scheme", 1))
    dark = {name: colour for name, colour in dark.items() if name in light}
    assert set(re.findall(r"(--\w+): #", style.partition("prefers-color-scheme")[0])) == set(light)
    assert set(dark) == set(light), "every colour has one for the dark"
    assert all(f"var({name})" in style for name in light)


def test_statements_and_warnings_are_those_of_the_board(page, root):
    (line,) = re.findall("- row 1 (is better than row 2 by [0-9.]+ to [0-9.]+ px)", leaderboard.render(root, "demo"))
    assert re.search(rf"<li>row 1, mcnet × [\w-]+, {re.escape(line)}", page), "the method is named, not its row alone"
    assert "No agreement or disagreement with the order of Other | paper" in page
    for path in (root / "results" / "demo").glob("*.json"):
        if json.loads(path.read_text())["identity"]["supervision"] != "none":
            path.unlink()
    text = to_html(load_board(root / "results" / "demo"))
    assert "lacks supervised reference" in text.partition("<main>")[0]


def test_links_lead_on_and_nowhere_else(tmp_path):
    folder = tmp_path / "results" / "read"
    folder.mkdir(parents=True)
    settings = folder / "board.toml"
    settings.write_text('links = { "What was found" = "../docs/findings.md" }\n')
    board = load_board(folder)
    assert '<a href="../docs/findings.md">What was found</a>' in to_html(board)
    assert "Read next: [What was found](../docs/findings.md)." in to_markdown(board)
    for evil in ("javascript:alert(1)", "http://plain", "x) [y](z"):
        settings.write_text(f'links = {{ a = "{evil}" }}\n')
        with pytest.raises(DataError, match=r"board\.toml"):
            load_board(folder)


def test_data_for_the_script_are_the_errors_of_the_rows(page, board):
    data = json.loads(re.search(r'<script type="application/json">(.*?)</script>', page, re.S).group(1))
    (rows,) = board.sections.values()
    errors = {row.identity.registrator.name: row.pair_scores["mace"] for row in rows if row.finished}
    (nothing,) = [row for row in data["rows"] if row["name"] == "identity"]
    assert nothing["errors"] == pytest.approx(errors["identity"], abs=0.006)
    assert data["better"]["1,2"].startswith("Row 1 is better than row 2 by")
    assert "2,3" not in data["better"]
    assert data["limit"] >= 2 * max(errors["identity"]) - 1


def test_what_others_wrote_cannot_break_out(tmp_path):
    evil = "</script><img src=x onerror=alert(1)>"
    saved = save_run(tmp_path / "runs", identity_of("mcnet", strategy=component(evil)), pairs_of(0.3, 0))
    leaderboard.add(tmp_path, "evil", [tmp_path / "runs" / saved.run_id])
    (tmp_path / "results" / "evil" / "board.toml").write_text(f"title = '{evil}'\nnotes = ['<b>{evil}']\n")
    reader = read(to_html(load_board(tmp_path / "results" / "evil")))
    assert reader.all("img") == []
    assert reader.unmatched == []


def test_curves_end_where_auc_ends(page, board):
    """The last point of a line is the share of pairs below 20 px."""
    (rows,) = board.sections.values()
    (supervised,) = [row for row in rows if row.identity.strategy and row.identity.strategy.name == "supervised"]
    below = np.mean(supervised.finished[0].pairs.errors.for_auc <= 20)
    first = re.search(r'<polyline[^>]*points="([^"]*)"', page).group(1)
    x, y = map(float, first.split()[-1].split(","))
    assert (x, y) == pytest.approx((470, 290 - 270 * below), abs=0.1)


def test_pictures_are_of_embedded_data_alone(tmp_path):
    other = {"test_dataset": {"name": "vedai", "manifest_sha256": "a" * 64}}
    saved = save_run(tmp_path / "runs", identity_of("mcnet", **other), pairs_of(0.3, 0))
    leaderboard.add(tmp_path, "real", [tmp_path / "runs" / saved.run_id])
    (path,) = leaderboard.write_html(tmp_path, [], tmp_path / "out")
    text = path.read_text()
    assert "No pictures: they are shown of embedded data alone, not of vedai." in text
    assert "<image" not in text


def test_each_row_shows_three_pairs(page, board):
    (rows,) = board.sections.values()
    assert page.count("<image ") == 2 * 3 * sum(bool(row.finished) for row in rows)
    assert 'class="true" points="8.5,8.5 ' in page
    assert 'class="found" points="10.5,10.5 ' in page


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed; it runs the page's script alone")
def test_sorting_puts_what_has_no_number_last():
    probe = """
    const fs = require("fs"), vm = require("vm");
    const page = { document: { querySelectorAll: () => [] } };
    vm.runInNewContext(fs.readFileSync(process.argv[1], "utf8") + "; this.sortRows = sortRows;", page);
    const row = (sort, text) => ({ cells: [{ dataset: sort === null ? {} : { sort }, textContent: text }] });
    const rows = [row("10", "a"), row("", "b"), row("9", "c"), row("-1.5", "d")];
    const words = [row(null, "Beta"), row(null, "alpha")];
    const names = (list) => list.map((r) => r.cells[0].textContent).join("");
    console.log(names(page.sortRows(rows, 0, false)), names(page.sortRows(rows, 0, true)),
      names(page.sortRows(words, 0, false)));
    """
    done = subprocess.run(["node", "-e", probe, str(SCRIPT)], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["dcab", "acdb", "alphaBeta"]


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PROBE = """
<script>
const frame = document.querySelector("iframe"), told = {};
frame.addEventListener("load", () => {
  const page = frame.contentDocument, body = page.querySelector("table.main").tBodies[0];
  const words = (column) => [...body.rows].filter((r) => !r.hidden).map((r) => r.cells[column].textContent);
  told.overflow = page.documentElement.scrollWidth - page.documentElement.clientWidth;
  page.querySelectorAll("table.main th button")[3].click();
  page.querySelectorAll("table.main th button")[3].click();
  told.sorted = words(0);
  const filter = page.querySelector("input.filter");
  filter.value = "colreg"; filter.dispatchEvent(new Event("input"));
  told.filtered = words(2);
  filter.value = ""; filter.dispatchEvent(new Event("input"));
  page.querySelectorAll(".columns input")[0].click();
  told.left = [...body.rows[0].cells].filter((cell) => cell.hidden).map((cell) => cell.cellIndex);
  const edge = page.querySelector("table.main th:nth-child(6)").getBoundingClientRect().right;
  told.hidden = edge - page.documentElement.clientWidth;
  told.status = page.querySelector("output").textContent;
  told.dots = page.querySelectorAll("svg.scatter circle").length;
  told.between = page.querySelector(".between").textContent;
  document.title = JSON.stringify(told);
});
</script>
"""


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed, so the page is not opened in one")
@pytest.mark.parametrize("width", [1280, 390])
def test_in_a_browser(page, tmp_path, width):
    """In a frame, because a headless window is never narrower than 500 px. Pictures go where REGBENCH_SHOTS says."""
    path = tmp_path / f"page{width}.html"
    inner = html.escape(page, quote=True)
    frame = f'<iframe style="border:0;width:{width}px;height:4000px" srcdoc="{inner}"></iframe>'
    path.write_text(f'<!doctype html><meta charset="utf-8"><body style="margin:0">{frame}{PROBE}', encoding="utf-8")
    quiet = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
             f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=5000"]  # fmt: skip
    done = subprocess.run([CHROMIUM, *quiet, "--dump-dom", path.as_uri()], capture_output=True, text=True, timeout=120)
    told = json.loads(html.unescape(re.search(r"<title>(.*?)</title>", done.stdout).group(1)))
    assert told["overflow"] <= 0
    assert told["sorted"] == ["6", "5", "4", "3", "2", "1", "7"]
    assert len(told["filtered"]) == 4
    assert all("colreg" in cell or "sshnet-d" in cell for cell in told["filtered"])
    assert told["left"] == [6], "the column chooser hides a column"
    assert told["hidden"] <= 0, "name, MACE, x identity and verdict are seen without scrolling"
    assert told["status"] == "7 of 7 rows"
    assert told["dots"] == 256
    assert told["between"].startswith("Row 1 is better than row 2 by")
    if shots := os.environ.get("REGBENCH_SHOTS"):
        picture = Path(shots) / f"board-{width}.png"
        subprocess.run([CHROMIUM, *quiet, f"--window-size={max(width, 500)},4000", f"--screenshot={picture}",
                        path.as_uri()], capture_output=True, timeout=120, check=True)  # fmt: skip
