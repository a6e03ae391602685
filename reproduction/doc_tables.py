"""The measured figures in the documentation: cells ``<!-- ours:EXPERIMENT:NUMBER -->``, filled in from the logs.

Without a number, it is the one that counts in the experiment; `time` is the mean time of a seed. Between
``<!-- results: begin -->`` and ``<!-- results: end -->`` goes the table of all logs.

`python -m aaekit.experiments.cells README.md docs/*.md` renews them; a test holds the pages to the logs.
"""

import json
import re
import sys
from pathlib import Path

from aaekit._files import write_text
from reproduction import LOGS, log_path, markdown, measured, read_logs

CELL = re.compile(r"(<!-- ours:([\w-]+)(?::([^>]+?))? -->)([^|\n]*?)(?= *(?:\||$))", re.MULTILINE)
RESULTS = re.compile(r"(<!-- results: begin -->\n).*?(<!-- results: end -->)", re.DOTALL)
MISSING = "not measured yet"


def filled(text: str, folder: Path = LOGS) -> str:
    """A page with what the logs say in its cells.

    Raises
    ------
    KeyError
        When a log has no such number.
    """

    def cell(found: re.Match[str]) -> str:
        mark, experiment, number, _ = found.groups()
        path = log_path(experiment, folder)
        if not path.exists():
            return mark + MISSING
        return mark + measured(json.loads(path.read_text(encoding="utf-8")), number)

    if RESULTS.search(text):
        results = markdown(read_logs(folder))
        text = RESULTS.sub(lambda found: found[1] + results + found[2], text)
    return CELL.sub(cell, text)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        page = Path(name)
        before = page.read_text(encoding="utf-8")
        if (after := filled(before)) != before:
            write_text(page, after)
            print(name)
