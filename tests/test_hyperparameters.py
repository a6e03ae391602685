"""Hyper-parameters are declared once: constructor, documentation and validation follow, for new variants too."""

import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Literal

import numpy as np
import pytest
import torch
from conftest import QUICK
from pydantic import Field
from sklearn.base import BaseEstimator, clone
from torch import nn

from aaekit import AdversarialAutoencoder, InputError, SemiSupervisedAAE, SupervisedBaseline, losses
from aaekit.core.phase import Phase
from aaekit.estimators._hyperparameters import (
    GROUPS,
    Positive,
    Rate,
    Share,
    Weight,
    hyperparameters,
    hyperparameters_of,
    validated,
)
from aaekit.estimators._plan import Plan
from aaekit.nn.networks import CategoricalNetworks

ESTIMATORS = [AdversarialAutoencoder, SemiSupervisedAAE, SupervisedBaseline]


@hyperparameters
class Toy(BaseEstimator):
    """A toy.

    It does nothing.

    Attributes
    ----------
    nothing_ : None
    """

    n: Annotated[Positive, "Data", Field(description="a number of things")] = 3
    rate: Annotated[Rate, Field(description="a learning rate")] = 1e-3
    weight: Annotated[Weight, "Losses", Field(description="a weight")] = 1.0
    share: Annotated[Share, "Networks", Field(description="a share")] = 0.0
    flag: Annotated[bool, Field(description="yes or no")] = False
    sizes: Annotated[tuple[Positive, ...], "Networks", Field(description="some sizes")] = (4, 5)
    kind: Annotated[Literal["round", "square"], Field(description="a kind")] = "round"
    steps: Annotated[Literal["auto"] | Positive | None, Field(description="steps; 'auto' by size")] = "auto"
    net: Annotated[Literal["small"] | nn.Module | Callable, Field(description="a name or an object")] = "small"
    factors: Annotated[Mapping[str, Weight] | None, "Losses", Field(description="a factor for each name")] = None
    constant = 7


@hyperparameters
class BiggerToy(Toy):
    """More of it."""

    rate = 0.5
    share: Annotated[Share, "Networks", Field(description="a bolder share")] = 0.25
    extra: Annotated[float, "Data", Field(gt=0, description="one more")] = 2.0


@hyperparameters
class BiggestToy(BiggerToy):
    """Even more."""

    n = 4


ORDER = ["n", "share", "sizes", "weight", "factors", "rate", "flag", "kind", "steps", "net"]  # group after group


# --- the constructor
def test_fields_become_keyword_arguments_with_their_defaults():
    arguments = inspect.signature(Toy).parameters
    assert set(arguments) == set(ORDER)
    assert all(a.kind is inspect.Parameter.KEYWORD_ONLY for a in arguments.values())
    assert {n: a.default for n, a in arguments.items()} == Toy().get_params() == {
        "n": 3, "rate": 1e-3, "weight": 1.0, "share": 0.0, "flag": False, "sizes": (4, 5), "kind": "round",
        "steps": "auto", "net": "small", "factors": None,
    }  # fmt: skip
    with pytest.raises(TypeError):
        Toy(5)  # pyright: ignore


def test_subclasses_inherit_override_and_add():
    assert set(inspect.signature(BiggerToy).parameters) == {*inspect.signature(Toy).parameters, "extra"}
    assert BiggerToy().share == 0.25 and Toy().share == 0.0
    assert hyperparameters_of(BiggerToy)["share"].description == "a bolder share"
    assert hyperparameters_of(BiggerToy)["n"].description == "a number of things"


def test_a_subclass_changes_a_default_by_its_name_and_value_alone():
    assert (Toy().rate, BiggerToy().rate, BiggestToy().rate) == (1e-3, 0.5, 0.5)
    assert (Toy().n, BiggerToy().n, BiggestToy().n) == (3, 3, 4) and BiggestToy(n=9, rate=0.1).n == 9
    old, new = hyperparameters_of(Toy)["rate"], hyperparameters_of(BiggestToy)["rate"]
    assert (old.kind, old.description, old.group) == (new.kind, new.description, new.group) and new.default == 0.5
    assert "rate : float, default=0.5" in BiggestToy.__doc__ and "rate : float, default=0.001" in Toy.__doc__
    assert "n : int, default=4" in BiggestToy.__doc__
    with pytest.raises(InputError, match="^rate: expected .*greater than 0"):
        validated(BiggestToy, {"rate": 0})
    assert clone(BiggestToy(share=0.5)).get_params()["rate"] == 0.5
    assert "constant" not in BiggestToy().get_params(), "only what was annotated once is a parameter"


@pytest.mark.parametrize("cls", [Toy, BiggerToy])
def test_scikit_learn_knows_the_parameters(cls):
    model = cls(n=8, net=nn.Linear(1, 2), sizes=(1,))
    again = clone(model)
    assert type(again) is cls and again.n == 8 and again.sizes == (1,) and again.net is not model.net
    assert again.set_params(rate=0.25).rate == 0.25
    with pytest.raises(ValueError, match="Invalid parameter"):
        model.set_params(size=3)
    assert "n=8" in repr(model)


def test_estimators_are_compared_by_identity():
    assert Toy() != Toy() and len({Toy(), Toy()}) == 2


# --- the documentation
def test_the_docstring_lists_the_parameters_before_the_attributes():
    lines = Toy.__doc__.splitlines()
    assert lines[0] == "A toy." and lines.count("Parameters") == lines.count("Attributes") == 1
    assert lines.index("It does nothing.") < lines.index("Parameters") < lines.index("Attributes")
    assert "n : int, default=3" in lines and "    a number of things" in lines
    assert "kind : 'round' | 'square', default='round'" in lines
    assert "steps : 'auto' | int | None, default='auto'" in lines
    assert "factors : mapping | None, default=None" in lines
    assert "rate : float, default=0.5" in BiggerToy.__doc__ and "nothing_" not in BiggerToy.__doc__


def test_the_docstring_lists_the_parameters_group_after_group():
    assert list(hyperparameters_of(Toy)) == ORDER
    lines = Toy.__doc__.splitlines()
    assert [line.strip("*") for line in lines if line.startswith("**")] == ["Data", "Networks", "Losses", "Training"]
    listed = [line.split(" : ")[0] for line in lines if " : " in line and line.split(" : ")[0] in ORDER]
    assert listed == ORDER
    assert lines.index("**Networks**") < lines.index("share : float, default=0.0") < lines.index("**Losses**")
    assert BiggerToy.__doc__.index("extra :") < BiggerToy.__doc__.index("**Networks**"), "new ones join their group"
    groups = [line.strip("*") for line in SemiSupervisedAAE.__doc__.splitlines() if line.startswith("**")]
    assert groups == [g for g in GROUPS if g in groups] and len(groups) == len(set(groups))


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_every_parameter_of_every_estimator_is_documented_and_its_default_is_valid(cls):
    declared = hyperparameters_of(cls)
    assert [n for n, h in declared.items() if not h.description] == []
    assert [n for n in declared if f"\n{n} : " not in cls.__doc__] == []
    defaults = {n: h.default for n, h in declared.items()}
    assert validated(cls, defaults) == defaults == cls().get_params()


def test_choices_types_and_what_text_can_give():
    declared = hyperparameters_of(Toy)
    assert declared["kind"].choices == ("round", "square") and declared["n"].choices == ()
    assert declared["net"].choices == ("small",) and nn.Module in declared["net"].types
    assert declared["steps"].types == (Literal["auto"], int, type(None))
    assert all(h.from_text for h in declared.values())
    assert not hyperparameters_of(Machine)["net"].from_text
    assert [n for n, h in declared.items() if h.is_mapping] == ["factors"]


@hyperparameters
class Machine(BaseEstimator):
    """What no text can give."""

    net: Annotated[nn.Module | None, Field(description="an object")] = None


# --- validation
@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"rate": "1e-3"}, {"rate": 0.001}),
        ({"n": "5"}, {"n": 5}),
        ({"flag": "true"}, {"flag": True}),
        ({"flag": "no"}, {"flag": False}),
        ({"sizes": [500, 500]}, {"sizes": (500, 500)}),
        ({"sizes": ["500", "20"]}, {"sizes": (500, 20)}),
        ({"sizes": ()}, {"sizes": ()}),
        ({"steps": "12"}, {"steps": 12}),
        ({"steps": "auto"}, {"steps": "auto"}),
        ({"steps": None}, {"steps": None}),
        ({"n": np.int64(4), "share": np.float32(0.5), "flag": np.bool_(True)}, {"n": 4, "share": 0.5, "flag": True}),
        ({"n": 4.0}, {"n": 4}),
        ({"factors": {"a": "0.5", "b": 2}}, {"factors": {"a": 0.5, "b": 2.0}}),
        ({"factors": {}}, {"factors": {}}),
        ({"factors": None}, {"factors": None}),
        ({}, {}),
    ],
)
def test_values_are_converted_to_their_types(values, expected):
    converted = validated(Toy, values)
    assert converted == expected
    assert {k: type(v) for k, v in converted.items()} == {k: type(v) for k, v in expected.items()}


def test_objects_pass_as_they_are():
    module = nn.Linear(1, 1)
    assert validated(Toy, {"net": module})["net"] is module
    assert validated(Toy, {"net": len})["net"] is len


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"n": 0}, r"^n: expected a number greater than or equal to 1, got 0 \(default 3\)$"),
        ({"n": 2.5}, "fractional part, got 2.5"),
        ({"n": "many"}, "^n: expected integer, .*got 'many'"),
        ({"rate": 0}, "greater than 0"),
        ({"rate": 11}, "less than or equal to 10"),
        ({"rate": float("nan")}, "^rate: .*, got nan"),
        ({"weight": -1}, "greater than or equal to 0"),
        ({"weight": float("inf")}, "finite"),
        ({"share": 1.0}, "less than 1"),
        ({"sizes": (3, 0)}, r"^sizes: expected a number greater than or equal to 1, got \(3, 0\)"),
        ({"sizes": "500,500"}, "^sizes: expected tuple, got '500,500'"),
        ({"sizes": 500}, r"^sizes: expected a list, for instance \[500\], got 500"),
        ({"kind": "squar"}, "^kind: expected 'round' or 'square', got 'squar'.*id you mean 'square'?"),
        ({"steps": "0"}, r"^steps: expected a number greater than or equal to 1, got '0' \(default 'auto'\)$"),
        ({"steps": "aut"}, "^steps: expected 'auto' or a value of type int, got 'aut'.*id you mean 'auto'?"),
        ({"net": "smal"}, "id you mean 'small'?"),
        ({"net": 3}, "^net: expected .*, got 3"),
        ({"factors": {"a": -1.0}}, "^factors: expected a number greater than or equal to 0, got {'a': -1.0}"),
        ({"factors": {"a": "much"}}, "^factors: expected number, .*got {'a': 'much'}"),
        ({"factors": {1: 1.0}}, "^factors: expected string, got {1: 1.0}"),
        ({"factors": 2.0}, "^factors: expected dictionary, got 2.0"),
        ({"weigth": 1}, "^expected a parameter of Toy, got 'weigth'.*id you mean 'weight'?$"),
        ({"zzz": 1}, r"^expected a parameter of Toy, got 'zzz'$"),
        ({"constant": 1}, "expected a parameter of Toy, got 'constant'"),
    ],
)
def test_bad_values_get_one_line_that_says_what_is_expected(values, message):
    with pytest.raises(InputError, match=message.replace("?", r"\?").replace("|", r"\|")) as error:
        validated(Toy, values)
    assert "\n" not in str(error.value)


def test_all_errors_come_at_once_each_with_its_source():
    with pytest.raises(InputError) as error:
        validated(Toy, {"shrae": 1, "n": 0, "rate": -1.0, "sizes": (0, 0), "kind": "round"}, source="run.yaml")
    lines = str(error.value).splitlines()
    assert [line.split(": expected")[0] for line in lines] == [
        "run.yaml",
        "run.yaml: n",
        "run.yaml: sizes",
        "run.yaml: rate",
    ]
    assert "got 'shrae'" in lines[0] and "id you mean 'share'?" in lines[0]


# --- a new variant is a short subclass
@hyperparameters
class ShortStyles(SemiSupervisedAAE):
    """A variant that also keeps the style codes short."""

    style_weight: Annotated[Weight, "Losses", Field(description="weight of the squared length of z")] = 10.0
    dropout = 0.1

    def phases(self, nets: CategoricalNetworks, plan: Plan) -> list[Phase]:
        """Those of the base, and one more."""
        return [*super().phases(nets, plan), Phase("style", losses.style_l2, (nets.encoder,), self.style_weight)]


@pytest.mark.parametrize("schedule", ["joint", "alternating"])
def test_a_variant_of_a_few_lines_works_from_end_to_end(schedule, few_labels, tmp_path):
    assert len(inspect.getsource(ShortStyles).splitlines()) <= 12
    X, y = few_labels
    settings = {**QUICK, "max_steps": 30, "schedule": schedule, "backbone": "mlp"} | {"loss_weights": {"generator": 0}}
    model = clone(ShortStyles(**settings)).fit(X, y)
    assert model.dropout == 0.1 and model.plan_.weights["style"] == 10.0
    long = ShortStyles(**settings, style_weight=1e-9).fit(X, y)
    assert np.square(model.transform(X)).sum(1).mean() < 0.5 * np.square(long.transform(X)).sum(1).mean()
    assert model.history_[-1]["style"] < long.history_[-1]["style"]
    assert "style" not in ShortStyles(**settings, style_weight=0.0).fit(X, y).history_[-1]
    assert set(model.predict(X)) <= set(range(10)) and model.generate([3]).shape == (1, 1, 8, 8)
    model.save(tmp_path / "m")
    for cls in (ShortStyles, SemiSupervisedAAE):
        again = cls.load(tmp_path / "m")
        assert type(again) is ShortStyles and again.style_weight == 10.0
        assert np.array_equal(again.predict_proba(X), model.predict_proba(X))
    with pytest.raises(InputError, match="style_weight: expected .*, got -1"):
        ShortStyles(**settings).set_params(style_weight=-1).fit(X, y)
    assert "style_weight : float, default=10.0" in ShortStyles.__doc__
    assert "style_weight" not in hyperparameters_of(SemiSupervisedAAE)


# --- what fit does with them
@pytest.mark.parametrize("cls", ESTIMATORS)
def test_the_constructor_stores_and_fit_validates(cls, few_labels):
    model = cls(dropout=3.0)
    assert model.dropout == 3.0
    with pytest.raises(InputError, match="dropout: expected .*, got 3.0"):
        model.fit(*few_labels)


@pytest.mark.parametrize(
    "change",
    [{"latent_dim": "3"}, {"latent_dim": 2.0}, {"adversarial": "no"}, {"loss_weights": {"generator": "2"}}],
    ids=str,
)
def test_what_fit_accepts_it_takes_as_validated(change, few_labels):
    """Either the value is refused in one line, or it means what it was converted to."""
    try:
        model = AdversarialAutoencoder(**{**QUICK, **change}).fit(few_labels[0])
    except InputError:
        return
    meant = AdversarialAutoencoder(**{**QUICK, **validated(AdversarialAutoencoder, change)}).fit(few_labels[0])
    for a, b in zip(model.networks_.parameters(), meant.networks_.parameters(), strict=True):
        assert torch.equal(a, b)
