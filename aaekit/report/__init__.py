"""One self-contained HTML page about a run: numbers, figures, settings. No scripts, nothing fetched from elsewhere."""

import base64
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from aaekit._files import write_text
from aaekit.plots import to_png

PNG = b"\x89PNG\r\n\x1a\n"

CAPTIONS = {  # what to look for, by the name of the function in `figures`
    "sample_grid": "Codes drawn from the prior and decoded. Look for variety and for samples that belong to no class: "
    "junk means that the prior covers places where no code of real data lies.",
    "code_grid": "An even grid of codes, decoded. Neighbours should resemble each other and change smoothly from class "
    "to class; a sudden blur is a hole in the latent space.",
    "reconstruction_pairs": "Above the input, below what came back through the code. Lost detail shows what the code "
    "has no room for; a different class below than above is a sample that the model confuses.",
    "latent_scatter": "Each point is the code of one sample; grey is the prior. The codes should fill the prior "
    "without holes. Where the code alone must tell the classes, they should be apart; where y tells them and z is "
    "style, the classes should overlap completely.",
    "code_vs_prior": "The filled histogram should follow the outline in every dimension. Narrower: the is_critic pulls "
    "the codes together; peaked at one value: that dimension is unused.",
    "label_distribution": "Left: a trained y is close to one-hot, so most of the mass should be near 1. Right: a class "
    "that is never predicted, or one that takes far more than its share, is a collapse.",
    "style_grid": "Every row is one class, every column one style. If class and style are separated, a row keeps its "
    "class, and what changes along it (slant, stroke) is the same in all rows.",
    "learning_curves": "Stop when the discriminator's outputs for real and fake both stay near 0.5 and the "
    "reconstruction has reached its floor. D(real) near 1 and D(fake) near 0: the discriminator has won, and the "
    "encoder learns nothing from it.",
    "confusion_matrix": "Rows are the truth, columns the prediction. Look off the diagonal: a dark cell is a pair of "
    "classes that are taken for each other, a dark column is a class that swallows the others.",
    "confident_mistakes": "The wrong answers that the model was surest of. Would you have read them otherwise? If yes "
    "to most, the model has a gap; if no, the labels may be wrong or the samples ambiguous.",
    "modes_and_samples": "First column: what the decoder makes of the label alone (z = 0). Beside it: real rows that "
    "were given this label. They should be of one kind, and the mode should be that kind; a mixed row is a label that "
    "means several things, a mode without rows is a label that is not used.",
    "learned_modes": "Each is drawn from y alone. A sharp, typical member of a class: y carries the class. The same "
    "blurred average everywhere: y says nothing, and all is in z. Two alike: two labels share a class.",
    "style_label_grid": "Every row takes the style of its first column and goes through all labels. Slant and stroke "
    "should stay along the row, the class should follow the column; if the source's class shines through, it is still "
    "in z.",
    "roll_walk": "One row an arc of the roll, from its centre outwards. Each row should be one class, and the class "
    "should change where the row does; a class that runs over into the next row lies beyond its arc.",
    "domain_translation": "Above the source, below the same row in the other domain. What it shows should stay, how it "
    "is drawn should change. A cross marks a translation in which a classifier that was trained apart no longer finds "
    "the source's class.",
    "latent_tsne": "Near neighbours among the codes are near here. Groups of one colour are classes that the code "
    "tells apart; a mixed group is one that it does not. Sizes of groups and distances between them mean nothing.",
    "embedding_comparison": "The same rows by several methods. Look for classes in one piece, and apart; compare the "
    "numbers below the names rather than the shapes: a method that draws neat islands may have torn neighbours apart.",
    "code_histogram": "The filled histogram should follow the outline. Narrower: the is_critic pulls the codes "
    "together; peaked at one value: the dimension is unused.",
    "confidence_histogram": "A trained y is close to one-hot, so most of the mass should be near 1; mass in the middle "
    "is rows between classes, mass at 1/K a y that was never learned.",
    "predicted_label_distribution": "Bars should reach the dashed line of the prior. An empty bar is a label that is "
    "not used, a bar far above the line one that swallows others.",
    "real_vs_obtained": "What was wanted is red, what the encoder makes of data is blue. They should agree: z as the "
    "prior, the labels as frequent as it has them, and the largest probability at 1: a draw of the prior is one-hot.",
    "cluster_matrix": "Rows are clusters, in the order of their most frequent class. One dark cell a row is a pure "
    "cluster; two are classes that share it. A column without a dark cell is a class that no cluster stands for.",
    "roc_curves": "The steeper a curve rises at the left, the more outliers are found before the first false alarms. "
    "On the dashed diagonal the score says nothing; below it, it says the opposite.",
    "auc_by_class": "One line for each class that was left out and had to be found. Look at a method's worst line, "
    "not at its mean alone: a class whose strokes others have, too, is reconstructed well, and so goes unnoticed.",
    "ablation_curves": "Grey is the training with nothing changed, blue with the change that the title names. How far "
    "apart they end is what the change costs.",
    "questions": "Below each sample is the number of its row.",
    "finetune_curves": "Where the curves begin tells what the encoder knew before it saw a label, where they end what "
    "the labels could still teach it. Stars and the hatched band are published figures.",
    "first_layer_features": "Each tile is what one unit responds to: red adds, blue subtracts. Strokes and spots are "
    "learned features; noise is a unit that training has hardly moved.",
}


@dataclass(frozen=True)
class Table:
    """A table of the report.

    Parameters
    ----------
    title : str
        Heading.
    columns : sequence of str
        Names of the columns.
    rows : sequence of sequences
        One entry a column; numbers are set to the right.
    note : str, default ""
        A sentence below the table.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    note: str = ""


@dataclass(frozen=True)
class FigureEntry:
    """A figure of the report.

    Parameters
    ----------
    title : str
        Heading, also the text for those who cannot see the figure.
    caption : str
        What to look for, see `CAPTIONS`.
    figure : Figure, str or Path
        A matplotlib figure, or the path of a PNG file.
    """

    title: str
    caption: str
    figure: Figure | str | Path


def write_report(
    path: str | Path,
    title: str,
    summary: Sequence[tuple[str, str]] = (),
    tables: Sequence[Table] = (),
    figures: Sequence[FigureEntry] = (),
    settings: Mapping[str, Any] | None = None,
    versions: Mapping[str, Any] | None = None,
    subtitle: str = "",
) -> Path:
    """Write the report, all or nothing.

    Parameters
    ----------
    path : str or Path
        Of the HTML file; the folder is made if need be.
    title : str
        Heading of the page.
    summary : sequence of (label, value)
        The main numbers, shown as cards; the first is the largest.
    tables : sequence of Table
    figures : sequence of FigureEntry
    settings, versions : mapping of str to anything, optional
        Hyper-parameters (a mapping inside is spread out: `prior.sd`) and versions, each as a table.
    subtitle : str, default ""
        A line below the heading.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    ValueError
        If a row of a table does not fit its columns or a figure is no PNG. Nothing is written then.
    FileNotFoundError
        If the path of a figure does not exist. Nothing is written then.
    """
    sections = [
        *(("Results", table.title, _table(table)) for table in tables),
        *(("Figures", entry.title, _figure(entry)) for entry in figures),
    ]
    for name, mapping in (("Settings", settings), ("Versions", versions)):
        if mapping:
            rows = [(key, _value(value)) for key, value in _flat(mapping)]
            sections.append(("Details", name, _table(Table(name, ("name", "value"), rows), wrap="details")))
    places = [(chapter, heading, f"s{k + 1}", body) for k, (chapter, heading, body) in enumerate(sections)]
    chapters = list(dict.fromkeys(chapter for chapter, *_ in places))
    contents = "".join(
        f'<li><a href="#{chapter.lower()}">{chapter}</a><ul>'
        + "".join(f'<li><a href="#{key}">{escape(heading)}</a></li>' for c, heading, key, _ in places if c == chapter)
        + "</ul></li>"
        for chapter in chapters
    )
    parts = [
        f'<section id="{chapter.lower()}"><h2>{chapter}</h2><div class="{chapter.lower()}">'
        + "".join(body.replace("<!--id-->", f' id="{key}"', 1) for c, _, key, body in places if c == chapter)
        + "</div></section>"
        for chapter in chapters
    ]
    cards = "".join(
        f'<div class="card"><dt>{escape(str(label))}</dt><dd>{escape(str(value))}</dd></div>'
        for label, value in summary
    )
    page = PAGE.format(
        title=escape(title),
        subtitle=f"<p>{escape(subtitle)}</p>" if subtitle else "",
        style=STYLE,
        cards=f'<dl class="cards">{cards}</dl>' if cards else "",
        contents=f'<nav aria-label="Contents"><h2>Contents</h2><ul>{contents}</ul></nav>' if contents else "",
        body="\n".join(parts),
    )
    return write_text(path, page)


def _table(table: Table, wrap: str = "div") -> str:
    """A table with its heading; folded away if `wrap` is details."""
    n = len(table.columns)
    for row in table.rows:
        if len(row) != n:
            raise ValueError(f"Expected {n} entries in each row of table {table.title!r}, got {len(row)}: {list(row)}.")
    kinds = [' class="number"' if _is_numeric(row[j] for row in table.rows) else "" for j in range(n)]
    head = "".join(
        f'<th scope="col"{kind}>{escape(str(name))}</th>' for name, kind in zip(table.columns, kinds, strict=True)
    )
    body = "".join(
        "<tr>" + "".join(f"<td{kind}>{escape(_value(v))}</td>" for v, kind in zip(row, kinds, strict=True)) + "</tr>"
        for row in table.rows
    )
    note = f'<p class="note">{escape(table.note)}</p>' if table.note else ""
    grid = f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{note}'
    if wrap == "details":
        return f'<details class="panel"<!--id-->><summary><h3>{escape(table.title)}</h3></summary>{grid}</details>'
    return f'<div class="panel"<!--id-->><h3>{escape(table.title)}</h3>{grid}</div>'


def _is_numeric(values: Iterable[Any]) -> bool:
    """Whether a column holds numbers, which stand at the right, one under the other."""
    there = [v for v in values if v is not None]
    return bool(there) and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in there)


def _figure(entry: FigureEntry) -> str:
    """A figure with its heading and caption; wide ones take the whole row."""
    png = to_png(entry.figure) if isinstance(entry.figure, Figure) else Path(entry.figure).read_bytes()
    if not png.startswith(PNG) or len(png) < 24:
        raise ValueError(f"Expected a PNG file for the figure {entry.title!r}, got another format: {entry.figure}.")
    width, height = struct.unpack(">II", png[16:24])
    shape = "wide" if width > 900 or width > max(700, 1.45 * height) else "square"
    title, caption = escape(entry.title), escape(entry.caption)
    return (
        f'<figure class="panel {shape}"<!--id-->><h3>{title}</h3>'
        f'<div class="plot"><img alt="{title}. {caption}" width="{width}" height="{height}" '
        f'src="data:image/png;base64,{base64.b64encode(png).decode("ascii")}"></div>'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _flat(mapping: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """Name and value of every setting, those of inner mappings as `outer.inner`."""
    for key, value in mapping.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _value(value: Any) -> str:
    """A value as a reader wants it: short numbers, no Python spelling of nothing."""
    if value is None:
        return "\u2013"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(_value(v) for v in value)
    return str(value)


PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<header><h1>{title}</h1>{subtitle}{cards}</header>
<div class="page">
{contents}
<main>
{body}
</main>
</div>
</body>
</html>
"""

STYLE = """
:root { --page: #f5f6f8; --panel: #fff; --ink: #1d2430; --soft: #5b6675; --line: #e0e4ea; --accent: #0072b2;
  --head: #10293f; }
@media (prefers-color-scheme: dark) { :root { --page: #12161c; --panel: #1b2129; --ink: #e6eaf0; --soft: #9fabb9;
  --line: #2d3641; --accent: #56b4e9; --head: #0b1825; } }
* { box-sizing: border-box; }
html { scroll-behavior: smooth; scroll-padding-top: 1rem; -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.55 system-ui, -apple-system, "Segoe UI",
  Roboto, "Helvetica Neue", Arial, sans-serif; overflow-wrap: break-word; }
header { background: linear-gradient(120deg, var(--head), #0a4a74); color: #fff;
  padding: 2.2rem max(1.25rem, calc(50vw - 40rem)) 2rem; }
header h1 { margin: 0; font-size: clamp(1.5rem, 1.1rem + 1.8vw, 2.3rem); line-height: 1.2; letter-spacing: -.01em; }
header p { margin: .4rem 0 0; color: #c6d9e8; max-width: 60rem; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .8rem; margin: 1.5rem 0 0; }
.card { background: rgb(255 255 255 / .1); border: 1px solid rgb(255 255 255 / .16); border-radius: .7rem;
  padding: .75rem 1rem; }
.card dt { font-size: .82rem; color: #c6d9e8; }
.card dd { margin: .1rem 0 0; font-size: 1.35rem; font-weight: 650; line-height: 1.25;
  font-variant-numeric: tabular-nums; }
.card:first-child { background: #fff; color: #10293f; }
.card:first-child dt { color: #4b5b6b; }
.card:first-child dd { font-size: 1.9rem; }
.page { max-width: 82.5rem; margin: 0 auto; padding: 1.25rem; display: grid; gap: 1.5rem 2rem;
  grid-template-columns: minmax(0, 1fr); }
nav { font-size: .92rem; }
nav h2 { font-size: .8rem; text-transform: uppercase; letter-spacing: .06em; color: var(--soft); margin: 0 0 .4rem; }
nav ul { list-style: none; margin: 0; padding: 0; }
nav > ul > li > a { font-weight: 600; }
nav li ul { margin: 0 0 .5rem; display: flex; flex-wrap: wrap; gap: 0 1rem; }
nav a { display: inline-block; padding: .18rem 0; color: var(--accent); text-decoration: none; }
nav a:hover { text-decoration: underline; }
section > h2 { font-size: 1.3rem; margin: 0 0 .8rem; }
section + section { margin-top: 2.2rem; }
.panel { background: var(--panel); border: 1px solid var(--line); border-radius: .8rem; padding: 1rem 1.15rem;
  margin: 0; min-width: 0; }
.panel h3 { margin: 0 0 .7rem; font-size: 1.02rem; line-height: 1.35; }
.figures, .results { display: grid; gap: 1.1rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 25rem), 1fr));
  align-items: start; grid-auto-flow: dense; }
.details { display: grid; gap: 1.1rem; }
.wide { grid-column: 1 / -1; }
.plot { background: #fff; border-radius: .5rem; overflow-x: auto; }
.plot img { display: block; margin: 0 auto; max-width: 100%; height: auto; }
figcaption { margin-top: .7rem; color: var(--soft); font-size: .92rem; max-width: 48rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .42rem .9rem .42rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--soft); font-weight: 600; white-space: nowrap; }
th:last-child, td:last-child { padding-right: 0; }
tbody tr:last-child td { border-bottom: 0; }
.number { text-align: right; white-space: nowrap; }
.note { margin: .6rem 0 0; color: var(--soft); font-size: .88rem; }
details td:first-child { width: 40%; font-family: ui-monospace, Menlo, Consolas, monospace; font-size: .86rem; }
summary { cursor: pointer; }
summary h3 { display: inline; }
details[open] summary { margin-bottom: .7rem; }
a:focus-visible, summary:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
@media (min-width: 64rem) {
  .page { grid-template-columns: 13rem minmax(0, 1fr); padding-top: 2rem; }
  nav { position: sticky; top: 1.5rem; align-self: start; max-height: calc(100vh - 3rem); overflow-y: auto; }
  nav li ul { display: block; }
  nav li li a { display: block; color: var(--soft); }
}
@media (max-width: 40rem) {
  .page { padding: 1rem .75rem; }
  .panel { padding: .9rem; }
  .card:first-child { grid-column: 1 / -1; }
  .wide .plot img { max-width: none; width: 42rem; }
}
@media print { header { background: none; color: #000; } nav { display: none; } .panel { break-inside: avoid; } }
"""
