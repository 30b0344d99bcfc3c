"""Every code block of the pages that teach runs, in the order of the page."""

import pytest

from tests.documents.blocks import ROOT, Shell, blocks_of

DOCS = ROOT / "docs"
PAGES = [DOCS / "index.md"]
for _folder in ("guides", "tutorials", "concepts", "methods"):
    PAGES += sorted((DOCS / _folder).glob("*.md"))
PAGES = [page for page in PAGES if any(b.language in ("sh", "python") and not b.reason for b in blocks_of(page))]


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}-{page.stem}")
def test_every_block_runs(page, tmp_path):
    shell = Shell(tmp_path, tmp_path / "data")
    for block in blocks_of(page):
        if block.reason is None and (block.title or block.language in ("sh", "python")):
            shell.run(block)


def test_a_block_that_fails_is_told(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        'text\n\n```python title="a/b.py"\nx = 1\n```\n\n```sh\ncd a\ntest -f b.py\n```\n\n```sh\ntest -f c\n```\n'
    )
    blocks, shell = blocks_of(page), Shell(tmp_path / "shell", tmp_path)
    assert [b.line for b in blocks] == [3, 7, 12]
    shell.run(blocks[0])
    shell.run(blocks[1])
    with pytest.raises(AssertionError, match="the block at line 12 failed"):
        shell.run(blocks[2])  # in the folder that the block before it went to
