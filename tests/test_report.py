import base64
import inspect
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from aaekit import plots
from aaekit.errors import InputError
from aaekit.report import FigureEntry, Table, write_report

pytestmark = pytest.mark.filterwarnings("error")

VOID = {"meta", "img", "br", "link", "input"}


class Page(HTMLParser):
    """Collects tags, attributes and text, and checks that every tag is closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.text, self.balanced = [], [], [], True
        self.feed(text)
        self.balanced = self.balanced and not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        self.balanced = self.balanced and bool(self.open) and self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def draw():
    return plots.sample_grid(np.linspace(0, 1, 4 * 64).reshape(4, 1, 8, 8))


@pytest.fixture
def page(tmp_path):
    png = plots.save(plots.label_distribution(np.eye(3)), tmp_path / "labels.png")
    path = write_report(
        tmp_path / "run" / "report.html",
        "Digits <b>& co</b>",
        summary=[("Test error", "1.12 %"), ("Labels <used>", "50")],
        tables=[Table("Errors", ["system", "error"], [["ours <i>", 1.123456], ["theirs", None]], "One seed & more.")],
        figures=[
            FigureEntry('Samples "new"', "Look <here>.", draw()),
            FigureEntry("Labels", plots.DESCRIPTIONS["label_distribution"].caption, str(png)),
        ],
        settings={"latent_dim": 10, "prior": {"name": "<gaussian>", "sd": 1.0}, "hidden": [100, 50], "augment": True},
        versions={"torch": "2.13.0"},
        subtitle="50 labels {not a field}",
    )
    return path.read_text(encoding="utf-8"), png


def test_the_page_is_well_formed_and_every_link_has_its_target(page):
    html = Page(page[0])
    assert html.balanced
    ids = [attributes["id"] for _, attributes in html.tags if "id" in attributes]
    links = [attributes["href"] for attributes in html.all("a")]
    assert len(ids) == len(set(ids))
    assert sorted(links) == sorted("#" + key for key in ids)
    assert len(links) == 3 + 5  # chapters; one table, two figures, settings, versions


def test_every_figure_is_inside_with_alternative_text(page):
    text, png = page
    images = Page(text).all("img")
    data = [base64.b64decode(image["src"].removeprefix("data:image/png;base64,")) for image in images]
    assert data == [plots.to_png(draw()), png.read_bytes()]
    assert images[0]["alt"] == 'Samples "new". Look <here>.'
    assert all(int(image["width"]) > 100 and int(image["height"]) > 100 for image in images)
    assert text.count("<figcaption>") == 2


def test_nothing_is_fetched_or_run(page):
    text = re.sub(r"base64,[A-Za-z0-9+/=]+", "", page[0])
    assert not re.search(r"https?:|//|@import|url\(|<script|<link|<iframe| on\w+=", text)
    (policy,) = [m["content"] for m in Page(text).all("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")


def test_strings_are_escaped_and_shown_as_they_were(page):
    html = Page(page[0])
    seen = "".join(html.text)
    for text in (
        "Digits <b>& co</b>", "Labels <used>", "ours <i>", "One seed & more.", "Look <here>.", "<gaussian>",
        "50 labels {not a field}",
    ):  # fmt: skip
        assert text in seen
    assert {"b", "i", "used", "here", "gaussian"}.isdisjoint(tag for tag, _ in html.tags)


def test_numbers_and_settings_are_readable(page):
    seen = [text for text in Page(page[0]).text if text.strip()]
    for name, value in {"ours <i>": "1.123", "theirs": "\u2013", "prior.sd": "1", "hidden": "100, 50", "augment": "yes",
                        "torch": "2.13.0", "Test error": "1.12 %"}.items():  # fmt: skip
        assert seen[seen.index(name) + 1] == value


def test_an_almost_empty_report(tmp_path):
    text = write_report(tmp_path / "r.html", "Nothing yet").read_text()
    assert Page(text).balanced
    assert "Nothing yet" in text
    assert "<nav" not in text


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("missing.png", "expected a PNG file for the figure 'a', got .*missing.png: No such file"),
        ("text.png", "expected a PNG file for the figure 'a', got another format: .*text.png"),
    ],
)
def test_a_bad_figure_leaves_the_old_report(entry, message, tmp_path):
    (tmp_path / "text.png").write_text("no image")
    path = tmp_path / "report.html"
    path.write_text("old")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(InputError, match=message):
        write_report(path, "New", figures=[FigureEntry("a", "b", tmp_path / entry)])
    assert path.read_text() == "old"
    assert sorted(tmp_path.iterdir()) == before


def test_a_bad_table_or_a_full_disk_writes_nothing(tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    with pytest.raises(InputError, match="expected 2 entries in each row of table 'T', got 1"):
        write_report(path, "New", tables=[Table("T", ["a", "b"], [[1]])])

    def full(*_):
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(InputError, match="disk full"):
        write_report(path, "New")
    assert not list(tmp_path.iterdir())


def test_every_figure_function_has_a_caption():
    drawing = {
        name
        for name, function in inspect.getmembers(plots, inspect.isfunction)
        if function.__module__.startswith(plots.__name__) and not name.startswith("_")
        and inspect.signature(function).return_annotation is plots.Figure
    }  # fmt: skip
    assert drawing == set(plots.DESCRIPTIONS)
    assert all(d.title and d.caption.endswith(".") for d in plots.DESCRIPTIONS.values())
