"""The figures in the documentation, copied from the logs.

A cell ``<!-- ours:EXPERIMENT:NUMBER -->`` is followed by a number of a log; without NUMBER, by the experiment's
`measure`; `time` is the mean time of a seed. The table of all logs goes between ``<!-- results: begin -->`` and
``<!-- results: end -->``.

``python -m reproduction.doc_tables README.md docs/*.md`` updates pages; a test checks that they agree with the logs.
"""

import re
import sys
from pathlib import Path

from aaekit._files import write_text
from reproduction import logs

CELL = re.compile(r"(<!-- ours:([\w-]+)(?::([^>]+?))? -->)([^|\n]*?)(?= *(?:\||$))", re.MULTILINE)
RESULTS = re.compile(r"(<!-- results: begin -->\n).*?(<!-- results: end -->)", re.DOTALL)
MISSING = "not measured yet"


def filled(text: str, folder: Path = logs.FOLDER) -> str:
    """A page with its cells filled in from the logs of a folder.

    Raises
    ------
    KeyError
        If a log lacks the number of a cell.
    """

    def cell(match: re.Match[str]) -> str:
        mark, experiment, number, _ = match.groups()
        path = logs.path_of(experiment, folder)
        return mark + (logs.measured(logs.read(path), number) if path.exists() else MISSING)

    if RESULTS.search(text):
        results = logs.markdown(logs.read_all(folder))
        text = RESULTS.sub(lambda match: match[1] + results + match[2], text)
    return CELL.sub(cell, text)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        page = Path(name)
        before = page.read_text(encoding="utf-8")
        if (after := filled(before)) != before:
            write_text(page, after)
            print(name)
