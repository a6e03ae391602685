"""Hyper-parameters are declared once: constructor, documentation and validation follow, for new variants too."""

import inspect
from collections.abc import Callable
from typing import Annotated, Literal

import numpy as np
import pytest
import torch
from conftest import QUICK
from pydantic import Field
from sklearn.base import BaseEstimator, clone
from torch import nn

from aaekit import AdversarialAutoencoder, InputError, SemiSupervisedAAE, SupervisedBaseline
from aaekit.core.phase import Phase
from aaekit.estimators._hyperparameters import (
    Positive,
    Rate,
    Share,
    Weight,
    hyperparameters,
    hyperparameters_of,
    validated,
)

ESTIMATORS = [AdversarialAutoencoder, SemiSupervisedAAE, SupervisedBaseline]


@hyperparameters
class Toy(BaseEstimator):
    """A toy.

    It does nothing.

    Attributes
    ----------
    nothing_ : None
    """

    n: Annotated[Positive, Field(description="a number of things")] = 3
    rate: Annotated[Rate, Field(description="a learning rate")] = 1e-3
    weight: Annotated[Weight, Field(description="a weight")] = 1.0
    share: Annotated[Share, Field(description="a share")] = 0.0
    flag: Annotated[bool, Field(description="yes or no")] = False
    sizes: Annotated[tuple[Positive, ...], Field(description="some sizes")] = (4, 5)
    kind: Annotated[Literal["round", "square"], Field(description="a kind")] = "round"
    steps: Annotated[Literal["auto"] | Positive | None, Field(description="steps; 'auto' by size")] = "auto"
    net: Annotated[Literal["small"] | nn.Module | Callable, Field(description="a name or an object")] = "small"
    constant = 7


@hyperparameters
class BiggerToy(Toy):
    """More of it."""

    rate: Annotated[Rate, Field(description="a bolder rate")] = 0.5
    extra: Annotated[float, Field(gt=0, description="one more")] = 2.0


# --- the constructor
def test_fields_become_keyword_arguments_with_their_defaults():
    arguments = inspect.signature(Toy).parameters
    assert list(arguments) == ["n", "rate", "weight", "share", "flag", "sizes", "kind", "steps", "net"]
    assert all(a.kind is inspect.Parameter.KEYWORD_ONLY for a in arguments.values())
    assert {n: a.default for n, a in arguments.items()} == Toy().get_params() == {
        "n": 3, "rate": 1e-3, "weight": 1.0, "share": 0.0, "flag": False, "sizes": (4, 5), "kind": "round",
        "steps": "auto", "net": "small",
    }  # fmt: skip
    with pytest.raises(TypeError):
        Toy(5)  # pyright: ignore


def test_subclasses_inherit_override_and_add():
    assert list(inspect.signature(BiggerToy).parameters) == [*inspect.signature(Toy).parameters, "extra"]
    assert BiggerToy().rate == 0.5 and Toy().rate == 1e-3
    assert hyperparameters_of(BiggerToy)["rate"].description == "a bolder rate"
    assert hyperparameters_of(BiggerToy)["n"].description == "a number of things"


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
    assert "rate : float, default=0.5" in BiggerToy.__doc__ and "nothing_" not in BiggerToy.__doc__


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


@hyperparameters
class Machine(BaseEstimator):
    """What no text can give."""

    net: Annotated[nn.Module | None, Field(description="an object")] = None


# --- validation
@pytest.mark.parametrize(
    ("given", "expected"),
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
        ({}, {}),
    ],
)
def test_values_are_converted_to_their_types(given, expected):
    found = validated(Toy, given)
    assert found == expected
    assert {k: type(v) for k, v in found.items()} == {k: type(v) for k, v in expected.items()}


def test_objects_pass_as_they_are():
    module = nn.Linear(1, 1)
    assert validated(Toy, {"net": module})["net"] is module
    assert validated(Toy, {"net": len})["net"] is len


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"n": 0}, r"^n=0: input should be greater than or equal to 1 \(default 3\)$"),
        ({"n": 2.5}, "fractional part"),
        ({"n": "many"}, "valid integer"),
        ({"rate": 0}, "greater than 0"),
        ({"rate": 11}, "less than or equal to 10"),
        ({"rate": float("nan")}, "rate=nan"),
        ({"weight": -1}, "greater than or equal to 0"),
        ({"weight": float("inf")}, "finite"),
        ({"share": 1.0}, "less than 1"),
        ({"sizes": (3, 0)}, r"sizes=\(3, 0\): input should be greater than or equal to 1"),
        ({"sizes": "500,500"}, "valid tuple"),
        ({"kind": "squar"}, "expected 'round', 'square': did you mean 'square'?"),
        ({"steps": "0"}, r"^steps='0': input should be greater than or equal to 1 \(default 'auto'\)$"),
        ({"steps": "aut"}, "expected 'auto' or a value of type int | NoneType: did you mean 'auto'?"),
        ({"net": "smal"}, "did you mean 'small'?"),
        ({"net": 3}, "net=3"),
        ({"weigth": 1}, "^'weigth' is not a parameter of Toy: did you mean 'weight'?$"),
        ({"zzz": 1}, r"^'zzz' is not a parameter of Toy\.$"),
        ({"constant": 1}, "'constant' is not a parameter"),
    ],
)
def test_bad_values_get_one_line_that_says_what_is_expected(given, message):
    with pytest.raises(InputError, match=message.replace("?", r"\?").replace("|", r"\|")) as error:
        validated(Toy, given)
    assert "\n" not in str(error.value)


def test_all_errors_come_at_once_each_with_its_source():
    with pytest.raises(InputError) as error:
        validated(Toy, {"shrae": 1, "n": 0, "rate": -1.0, "sizes": (0, 0), "kind": "round"}, source="run.yaml")
    lines = str(error.value).splitlines()
    assert [line.split("=")[0] for line in lines] == [
        "run.yaml: 'shrae' is not a parameter of Toy: did you mean 'share'?",
        "run.yaml: n",
        "run.yaml: rate",
        "run.yaml: sizes",
    ]


# --- a new variant is a short subclass
@hyperparameters
class ShortStyles(SemiSupervisedAAE):
    """A variant that also keeps the style codes short."""

    style_weight: Annotated[Weight, Field(description="weight of the squared length of z")] = 10.0

    def _phases(self, nets: nn.ModuleDict) -> list[Phase]:
        def length(step):
            return step.code().z.square().sum(1).mean()

        shrink = Phase("style", length, (nets["encoder"],), self.learning_rate, weight=self.style_weight)
        return [*super()._phases(nets), shrink]


@pytest.mark.parametrize("schedule", ["joint", "alternating"])
def test_a_variant_of_a_few_lines_works_from_end_to_end(schedule, few_labels, tmp_path):
    assert len(inspect.getsource(ShortStyles).splitlines()) <= 12
    X, y = few_labels
    settings = {**QUICK, "max_steps": 30, "schedule": schedule, "adversarial": False, "backbone": "mlp"}
    model = clone(ShortStyles(**settings)).fit(X, y)
    long = ShortStyles(**settings, style_weight=0.0).fit(X, y)
    assert np.square(model.transform(X)).sum(1).mean() < 0.5 * np.square(long.transform(X)).sum(1).mean()
    assert model.history_[-1]["style"] < long.history_[-1]["style"]
    assert set(model.predict(X)) <= set(range(10)) and model.generate([3]).shape == (1, 1, 8, 8)
    model.save(tmp_path / "m")
    for cls in (ShortStyles, SemiSupervisedAAE):
        again = cls.load(tmp_path / "m")
        assert type(again) is ShortStyles and again.style_weight == 10.0
        assert np.array_equal(again.predict_proba(X), model.predict_proba(X))
    with pytest.raises(InputError, match="style_weight=-1"):
        ShortStyles(**settings).set_params(style_weight=-1).fit(X, y)
    assert "style_weight : float, default=10.0" in ShortStyles.__doc__
    assert "style_weight" not in hyperparameters_of(SemiSupervisedAAE)


# --- what fit does with them
@pytest.mark.parametrize("cls", ESTIMATORS)
def test_the_constructor_stores_and_fit_validates(cls, few_labels):
    model = cls(dropout=3.0)
    assert model.dropout == 3.0
    with pytest.raises(InputError, match="dropout=3.0"):
        model.fit(*few_labels)


@pytest.mark.parametrize("change", [{"latent_dim": "3"}, {"latent_dim": 2.0}, {"adversarial": "no"}], ids=str)
def test_what_fit_accepts_it_takes_as_validated(change, few_labels):
    """Either the value is refused in one line, or it means what it was converted to."""
    try:
        model = AdversarialAutoencoder(**{**QUICK, **change}).fit(few_labels[0])
    except InputError:
        return
    meant = AdversarialAutoencoder(**{**QUICK, **validated(AdversarialAutoencoder, change)}).fit(few_labels[0])
    for a, b in zip(model.networks_.parameters(), meant.networks_.parameters(), strict=True):
        assert torch.equal(a, b)
