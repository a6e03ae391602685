"""Messages of errors have one form: `expected X, got Y: do Z`, in lower case, without a full stop at the end."""

import ast
import re
from pathlib import Path

import pytest

import aaekit

ROOT = Path(aaekit.__file__).parents[1]
FILES = sorted(path for folder in ("aaekit", "reproduction") for path in (ROOT / folder).rglob("*.py"))
ERRORS = {"InputError", "TrainingError", "FolderInUse"}
OTHER_WORDS = re.compile(r"\b(found|came|told|mend)\b")  # "got", "repair"


def raised(tree):
    """Every exception that is made to be raised or returned, (name, call)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and node.exc is not None:
            call = node.exc
            name = ast.unparse(call.func if isinstance(call, ast.Call) else call)
            yield name.rpartition(".")[2], call
        elif isinstance(node, ast.Return) and isinstance(node.value, ast.Call):
            name = ast.unparse(node.value.func).rpartition(".")[2]
            if name in ERRORS:
                yield name, node.value


def texts(node):
    """The texts that a message may have, each value in it as {its source}; none if it is written elsewhere."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    if isinstance(node, ast.JoinedStr):
        parts = [p.value if isinstance(p, ast.Constant) else "{" + ast.unparse(p.value) + "}" for p in node.values]
        return ["".join(parts)]
    if isinstance(node, ast.IfExp):
        return texts(node.body) + texts(node.orelse)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return [a + b for a in texts(node.left) or ["{}"] for b in texts(node.right) or ["{}"]]
    return []


def faults(source):
    """What is wrong with the messages of a file, a line each."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr) and ".{nearest(" in texts(node)[0]:
            yield f"line {node.lineno}: has a full stop before nearest(...), which begins with a colon"
    for name, call in raised(tree):
        where = f"line {call.lineno}"
        if name == "ValueError":
            yield f"{where}: ValueError instead of InputError"
        if name not in ERRORS or not isinstance(call, ast.Call) or not call.args:
            continue
        for message in texts(call.args[0]):
            words = re.sub(r"\{[^{}]*\}", "{}", message)
            first = re.match(r"\w+", words)
            if first and first[0][0].isupper() and first[0][1:].islower():  # others are names: X, SemiSupervisedAAE
                yield f"{where}: begins with a capital letter: {message}"
            if re.search(r"\.(\{\w+\})?$", message.rstrip()) or message != message.strip():
                yield f"{where}: ends with a full stop or a space: {message}"
            if "\n" in message:
                yield f"{where}: has several lines: {message}"
            if match := OTHER_WORDS.search(words):
                yield f"{where}: says {match[0]!r}: {message}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_messages_have_one_form(path):
    assert list(faults(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        ('raise InputError("Expected labels, got none")', "capital"),
        ('raise InputError("expected labels, got none.")', "full stop"),
        ('raise errors.InputError(f"expected labels, got {y!r}.{nearest(y, names)}")', "full stop"),
        ('raise InputError(f"expected labels, got {y!r}.{guess}")', "full stop"),
        ('raise InputError("expected labels, found none")', "found"),
        ('raise TrainingError(f"{path}: damaged: mend it")', "mend"),
        ('return InputError("expected labels, got none: label some ")', "space"),
        ('raise InputError("expected labels, got " + str(y) + ".")', "full stop"),
        ('raise InputError("Expected labels" if y is None else "expected rows")', "capital"),
        ('raise ValueError("expected labels, got none")', "ValueError"),
        ("raise ValueError", "ValueError"),
        ('raise InputError(f"{path}: expected labels, got {found}: label some{nearest(y, names)}")', None),
        ('raise InputError("X: expected rows, got none")', None),
        ('raise InputError("SemiSupervisedAAE requires y to be passed, but the target y is None")', None),
        ("raise InputError(message)", None),
        ('raise TypeError("Expected a callable.")', None),
    ],
)
def test_what_is_wrong_is_seen(statement, fault):
    wrong = list(faults(f"def f():\n    {statement}\n"))
    assert len(wrong) == (fault is not None) and (fault is None or fault in wrong[0])
