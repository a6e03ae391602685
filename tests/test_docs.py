"""The documentation: programs run, commands are accepted, numbers are those of the logs, links exist."""

import re
import runpy
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
import typer

from aaekit.cli import app as cli
from aaekit.data.sets import SETS
from aaekit.estimators._base import Estimator
from aaekit.systems import SYSTEMS
from reproduction import doc_tables, experiments, logs

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
TEXTS = {page.relative_to(ROOT).as_posix(): page.read_text(encoding="utf-8") for page in PAGES}
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^aae .*$|(?<=`)aae [^`]*(?=`)", re.MULTILINE)

CONFIGS = re.compile(r"^```yaml\n# (\S+\.yaml)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)

PROGRAMS = [(f"{name}:{text[: block.start()].count(chr(10)) + 2}", block[1])
            for name, text in TEXTS.items() for block in BLOCK.finditer(text)]  # fmt: skip
COMMANDS = sorted({command for text in TEXTS.values() for command in COMMAND.findall(text)})


@pytest.mark.usefixtures("few_trees")
@pytest.mark.filterwarnings("ignore:expected .* clusters, got")  # two steps make few clusters
@pytest.mark.parametrize("program", [p for _, p in PROGRAMS], ids=[name for name, _ in PROGRAMS])
def test_programs_run(program, tmp_path, monkeypatch):
    planned = Estimator._planned

    def planned_shorter(self, *args, **decisions):
        return replace(planned(self, *args, **decisions), n_steps=2, warmup_steps=0)

    monkeypatch.setattr(Estimator, "_planned", planned_shorter)
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "program.py"
    path.write_text(program, encoding="utf-8")
    registries = [(registry, dict(registry)) for registry in (SETS, SYSTEMS)]
    try:
        runpy.run_path(str(path))
    finally:
        for registry, entries in registries:
            registry.clear()
            registry.update(entries)


def test_there_are_programs_and_commands():
    assert len(PROGRAMS) >= 7 and len(COMMANDS) >= 15


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_are_accepted(line, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for text in TEXTS.values():  # files that the pages show
        for name, settings in CONFIGS.findall(text):
            Path(name).write_text(settings, encoding="utf-8")
    _, *words = shlex.split(line, comments=True)
    command, rest = typer.main.get_command(cli.app), words
    while hasattr(command, "commands") and rest and not rest[0].startswith("-"):
        context = command.make_context("aae", list(rest), resilient_parsing=True)
        name, command, rest = command.resolve_command(context, list(rest))
        assert command is not None, name
    if not hasattr(command, "commands") and len(rest):
        command.make_context(line, list(rest), resilient_parsing="--help" in rest)
    if words[0] == "train" and len(words) > 2 and "--help" not in words:
        with pytest.raises(SystemExit) as stop:
            cli.main([*words, "--print-config"])
        assert stop.value.code == 0, capsys.readouterr().err
    if words[0] == "reproduce" and len(words) > 1 and not words[1].startswith("-"):
        assert words[1] in experiments.names()


@pytest.mark.parametrize("name", TEXTS)
def test_measured_figures_are_those_of_the_logs(name):
    assert doc_tables.filled(TEXTS[name]) == TEXTS[name], "run python -m reproduction.doc_tables on it"


def test_cells_name_experiments_and_every_log_is_in_the_results():
    shown = {experiment for text in TEXTS.values() for _, experiment, _, _ in doc_tables.CELL.findall(text)}
    assert shown <= set(experiments.names())
    for log in logs.read_all():
        assert f"| {log['experiment']} |" in TEXTS["docs/results.md"]


def test_cells_are_filled_from_logs(tmp_path):
    log = {
        "experiment": "a",
        "title": "a title",
        "published": "none",
        "target": None,
        "measure": "error",
        "seconds": 65.0,
        "seeds": [{"seed": 0, "error": 1.0, "map auc": 0.5}, {"seed": 1, "error": 2.0, "map auc": 1}],
    }
    logs.write(log, tmp_path)
    page = "| <!-- ours:a -->old | <!-- ours:a:map auc --> |\n<!-- ours:b:x -->5.0\n| <!-- ours:a:time --> |\n"
    assert doc_tables.filled(page, tmp_path) == (
        "| <!-- ours:a -->1.50 ± 0.71 (2 seeds) | <!-- ours:a:map auc -->0.750 ± 0.354 (2 seeds) |\n"
        "<!-- ours:b:x -->not measured yet\n| <!-- ours:a:time -->65 s |\n"
    )
    page = "a\n<!-- results: begin -->\nold\n<!-- results: end -->\nb"
    begun, ended = doc_tables.filled(page, tmp_path).split("| a title | none |  | 1.50 ± 0.71 (2 seeds) | 65 s | a |")
    assert begun.startswith("a\n<!-- results: begin -->") and ended.endswith("<!-- results: end -->\nb")
    with pytest.raises(KeyError):
        doc_tables.filled("<!-- ours:a:nothing -->", tmp_path)


@pytest.mark.parametrize("name", TEXTS)
def test_links_lead_somewhere(name):
    for target in re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", re.sub(r"(?s)^```.*?^```", "", TEXTS[name])):
        if target.startswith("http"):
            continue
        path, _, anchor = target.partition("#")
        page = (ROOT / name).parent / path if path else ROOT / name
        assert page.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}, target
