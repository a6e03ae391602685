"""How an estimator is written: few parameters, few bases, one literal list of phases, nothing overridden twice."""

import ast
import inspect
import textwrap

import pytest

from aaekit import estimators
from aaekit.estimators._base import Estimator
from aaekit.estimators._hyperparameters import hyperparameters_of

KINDS = [getattr(estimators, name) for name in estimators.__all__]
MAX_PARAMETERS, MAX_BASES, MAX_PRIVATE = 36, 3, 25


def subclasses(kind: type) -> list[type]:
    return [kind, *(s for c in kind.__subclasses__() for s in subclasses(c) if s.__module__.startswith("aaekit"))]


def own_classes(kind: type) -> list[type]:
    return [c for c in kind.__mro__ if c.__module__.startswith("aaekit.")]


def is_abstract(function) -> bool:
    """Whether a method does nothing but raise NotImplementedError."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    statements = [s for s in definition.body if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))]
    return len(statements) == 1 and "NotImplementedError" in ast.unparse(statements[0])


def methods(kind: type) -> dict[str, object]:
    """Functions and properties that a class defines itself."""
    described = {k: v for k, v in vars(kind).items() if hasattr(v, "__get__") and not isinstance(v, type)}
    generated = {"__init__", "set_fit_request", "set_score_request", "set_inverse_transform_request"}
    return {k: v for k, v in described.items() if k not in generated}


@pytest.mark.parametrize("kind", KINDS, ids=lambda c: c.__name__)
def test_constructors_have_few_parameters(kind):
    assert len(inspect.signature(kind).parameters) <= MAX_PARAMETERS


@pytest.mark.parametrize("kind", KINDS, ids=lambda c: c.__name__)
def test_each_parameter_is_described_and_in_a_group(kind):
    from aaekit.estimators._hyperparameters import GROUPS

    for h in hyperparameters_of(kind).values():
        assert h.description and h.group in GROUPS, h.name


@pytest.mark.parametrize("kind", subclasses(Estimator), ids=lambda c: c.__name__)
def test_defaults_are_those_of_the_class_that_declared_them_last(kind):
    """Whatever the order of the bases: a mixin without fields of its own must not bring back those of a grandparent."""
    assert {h.name: h.default for h in hyperparameters_of(kind).values()} == {
        name: getattr(kind, name) for name in hyperparameters_of(kind)
    }


@pytest.mark.parametrize("kind", KINDS, ids=lambda c: c.__name__)
def test_estimators_have_few_bases(kind):
    assert len(own_classes(kind)) - 1 <= MAX_BASES


@pytest.mark.parametrize("kind", KINDS, ids=lambda c: c.__name__)
def test_no_method_is_overridden_twice(kind):
    definitions = {}
    for c in own_classes(kind):
        for name, method in methods(c).items():
            if not name.startswith("__") and not (inspect.isfunction(method) and is_abstract(method)):
                definitions.setdefault(name, []).append(c.__name__)
    assert {name: where for name, where in definitions.items() if len(where) > 2} == {}


@pytest.mark.parametrize("kind", KINDS, ids=lambda c: c.__name__)
def test_few_private_methods_are_visible(kind):
    private = {name for c in own_classes(kind) for name in methods(c) if name[0] == "_" and name[1] != "_"}
    assert len(private) <= MAX_PRIVATE, sorted(private)


@pytest.mark.parametrize("kind", KINDS, ids=lambda c: c.__name__)
def test_phases_are_one_literal_list(kind):
    tree = ast.parse(inspect.getsource(inspect.getmodule(kind)))
    (body,) = (n.body for n in tree.body if isinstance(n, ast.ClassDef) and n.name == kind.__name__)
    defined = [n for n in body if isinstance(n, ast.FunctionDef) and n.name == "phases"]
    assert len(defined) == 1, "each estimator lists its phases in its own file"
    statements = [s for s in defined[0].body if isinstance(s, ast.Return)]
    assert len(statements) == 1 and isinstance(statements[0].value, ast.List), "the list is returned as it is written"
    edits = {"append", "extend", "insert", "remove", "pop"}
    assert not [n for n in ast.walk(defined[0]) if isinstance(n, ast.Attribute) and n.attr in edits]


@pytest.mark.parametrize("kind", KINDS, ids=lambda c: c.__name__)
def test_plan_networks_and_phases_are_public_and_documented(kind):
    for name in ("plan", "networks", "phases"):
        assert inspect.getdoc(getattr(kind, name))
        assert getattr(kind, name) is not getattr(Estimator, name)
