"""The registry of systems: what `aae train` can train.

A system is an estimator and one `register` line here; its command, its comparison with other methods, its report and
its line in the documentation follow. Other packages add theirs by the entry-point group `aaekit.systems`::

    [project.entry-points."aaekit.systems"]
    toy = "their_package:TOY"  # a System whose name is toy

Nothing here imports torch: an estimator is a dotted path, resolved when it is needed.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aaekit._imports import load
from aaekit.errors import InputError, nearest

if TYPE_CHECKING:
    from aaekit.estimators._base import Estimator

__all__ = ["SYSTEMS", "System", "find", "register"]

ENTRY_POINTS = "aaekit.systems"


@dataclass(frozen=True)
class System:
    """A system: an estimator under the name that commands, YAML files and run directories use.

    Parameters
    ----------
    name : str
        As in `aae train NAME`.
    estimator : str
        Where its class is: ``"package.module:Class"``.
    help : str
        One or two sentences, shown by `aae train --help`.
    needs_labels : bool, default False
        Whether it cannot be trained without any label.
    comparable : bool, default False
        Whether other methods can be trained with the same labels to compare with (`--compare`).
    conditional : bool, default False
        Whether its decoder receives labels, which `--condition` chooses: classes, domains or both.
    """

    name: str
    estimator: str
    help: str
    needs_labels: bool = False
    comparable: bool = False
    conditional: bool = False

    def load(self) -> "type[Estimator[Any]]":
        """Import the estimator's class.

        Raises
        ------
        InputError
            If there is no such class.
        """
        module, _, name = self.estimator.partition(":")
        try:
            return getattr(load(module), name)
        except (ImportError, AttributeError) as error:
            raise InputError(
                f"system {self.name}: expected an estimator at {self.estimator!r}, got {error}: "
                "write it as package.module:Class"
            ) from error


SYSTEMS: dict[str, System] = {}


def register(system: System) -> None:
    """Add a system.

    Raises
    ------
    InputError
        If its name is taken.
    """
    if system.name in SYSTEMS:
        raise InputError(
            f"expected a new name of a system, got {system.name!r} of {SYSTEMS[system.name].estimator}: "
            "choose another name"
        )
    SYSTEMS[system.name] = system


def find(name: str) -> System:
    """Return a system by its name; one that is not registered is looked for among the entry points.

    Raises
    ------
    InputError
        If there is none of that name, or another package's entry point for it is broken.
    """
    if name in SYSTEMS:
        return SYSTEMS[name]
    from importlib.metadata import entry_points

    points = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    if name not in points:
        names = [*SYSTEMS, *points]
        raise InputError(f"expected a system ({', '.join(names)}), got {name!r}{nearest(name, names)}")
    try:
        system = points[name].load()
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"system {name}: expected a System at {points[name].value!r}, got {error}: repair or remove the package"
        ) from error
    if not isinstance(system, System) or system.name != name:
        raise InputError(
            f"system {name}: expected a System of that name at {points[name].value!r}, got {system!r}: "
            "repair or remove the package"
        )
    register(system)
    return system


register(
    System(
        "generator",
        "aaekit.estimators.autoencoder:AdversarialAutoencoder",
        "New samples from a prior, and latent codes of rows: the adversarial autoencoder. Needs no labels.",
    )
)
register(
    System(
        "classifier",
        "aaekit.estimators.semi_supervised:SemiSupervisedAAE",
        "A classifier from few labelled and many unlabelled rows: the semi-supervised adversarial autoencoder.",
        needs_labels=True,
        comparable=True,
    )
)
register(
    System(
        "clusters",
        "aaekit.estimators.clustering:ClusteringAAE",
        "Clusters without labels; they can be named afterwards, see `aae name`.",
    )
)
register(
    System(
        "embedding",
        "aaekit.estimators.embedding:EmbeddingAAE",
        "A map of the rows in two (or more) dimensions, from no labels, a few or all.",
    )
)
register(
    System(
        "style",
        "aaekit.estimators.supervised:SupervisedAAE",
        "Style separated from content: the decoder receives the label. Also translates between domains.",
        needs_labels=True,
        conditional=True,
    )
)
register(
    System(
        "pretrained",
        "aaekit.estimators.pretrained:PretrainedClassifier",
        "A classifier on a trained autoencoder: its encoder, fine-tuned or frozen, and a linear layer.",
        needs_labels=True,
        comparable=True,
    )
)
register(
    System(
        "outliers",
        "aaekit.estimators.outliers:AAEOutlierDetector",
        "Outlier scores from reconstruction errors and the density of codes. Needs no labels.",
    )
)
register(
    System(
        "baseline",
        "aaekit.estimators.baseline:SupervisedBaseline",
        "The classifier's encoder alone, trained on the labelled rows only; a baseline for comparison.",
        needs_labels=True,
        comparable=True,
    )
)
