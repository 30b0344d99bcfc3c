"""Images and the CSV of a data set change below a pack."""

from __future__ import annotations

from tests.runs.place import TRAINED, picture
from tests.runs.ways.way import Way


def changed_image(place):
    picture(500, place.root / "target/10.png")
    return place.plan().run_id


def changed_training_image(place):
    picture(500, place.root / "source/02.png")
    return place.plan(**TRAINED).run_id


def changed_image_of_equal_size(place):
    path = place.root / "target/10.png"
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)
    return place.plan().run_id


def removed_pair(place):
    for side in ("source", "target"):
        (place.root / side / "11.png").unlink()
    return place.plan().run_id


def renamed_image(place):
    (place.root / "target/10.png").rename(place.root / "target/20.png")
    return place.plan().run_id


def exchanged_images(place):
    one, two = place.root / "target/10.png", place.root / "target/11.png"
    one.rename(place.root / "x.png")
    two.rename(one)
    (place.root / "x.png").rename(two)
    return place.plan().run_id


def edit_csv(place, old: str, new: str, *, plan: bool = True) -> str:
    path = place.root / "pairs.csv"
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))
    return place.plan().run_id if plan else ""


def csv_other_partner(place):
    edit_csv(place, "source/09.png,target/09.png", "source/09.png,target/10.png", plan=False)
    return edit_csv(place, "source/10.png,target/10.png", "source/10.png,target/09.png")


def csv_other_split(place):
    return edit_csv(place, "08.png,train", "08.png,test")


def csv_other_group(place):
    return edit_csv(place, "test,11", "test,10")


def csv_another_row(place):
    for side in ("source", "target"):
        picture(600, place.root / side / "12.png")
    return edit_csv(place, "test,11\n", "test,11\nsource/12.png,target/12.png,test,12\n")


def without_root(place):
    """The pack knows its folder, also where nobody names it."""
    picture(500, place.root / "target/10.png")
    return place.plan(root=None).run_id


WAYS: dict[str, Way] = {
    way.__name__: way
    for way in (
        changed_image,
        changed_training_image,
        changed_image_of_equal_size,
        removed_pair,
        renamed_image,
        exchanged_images,
        csv_other_partner,
        csv_other_split,
        csv_other_group,
        csv_another_row,
        without_root,
    )
}

CONTENT = r"folder-\w+\.h5 no longer fits its data set and is not used: \S+{} has another content.*--force"
GONE = r"folder-\w+\.h5 no longer fits its data set and is not used: \S+{} is gone.*--force"
REFUSED = {
    "changed_image": CONTENT.format(r"target/10\.png"),
    "changed_training_image": CONTENT.format(r"source/02\.png"),
    "changed_image_of_equal_size": CONTENT.format(r"target/10\.png"),
    "exchanged_images": CONTENT.format(r"target/10\.png"),
    "without_root": CONTENT.format(r"target/10\.png"),
    "removed_pair": GONE.format(r"source/11\.png"),
    "renamed_image": GONE.format(r"target/10\.png"),
    **dict.fromkeys(
        ("csv_other_partner", "csv_other_split", "csv_other_group", "csv_another_row"), CONTENT.format(r"pairs\.csv")
    ),
}
