"""Every variant, for the contracts that hold for all of them."""

from functools import partial

from aaekit import (
    AAEOutlierDetector,
    AdversarialAutoencoder,
    ClusteringAAE,
    EmbeddingAAE,
    PretrainedClassifier,
    SemiSupervisedAAE,
    SupervisedAAE,
    SupervisedBaseline,
)

SCHEDULES = ["joint", "alternating"]
DIVERGENCES = ["gan", "least_squares", "wasserstein", "mmd", "sliced_wasserstein"]
VARIANTS = {
    "plain": partial(AdversarialAutoencoder, adversarial=False),
    **{f"basic {d}": partial(AdversarialAutoencoder, divergence=d) for d in DIVERGENCES},
    **{f"basic {p}": partial(AdversarialAutoencoder, prior=p) for p in ("mixture", "swiss_roll", "uniform")},
    **{f"basic {q}": partial(AdversarialAutoencoder, posterior=q) for q in ("gaussian", "universal")},
    "basic conv": partial(AdversarialAutoencoder, backbone="conv", latent_dim=5),
    "semi-supervised pseudo-labels": partial(
        SemiSupervisedAAE, consistency="pseudo_labels", pseudo_label_threshold=0.12
    ),
    "semi-supervised virtual adversarial": partial(SemiSupervisedAAE, augmentation="none"),
    "semi-supervised both": partial(SemiSupervisedAAE, consistency="both", pseudo_label_threshold=0.12),
    "semi-supervised mlp, no consistency": partial(SemiSupervisedAAE, backbone="mlp", consistency="none"),
    "semi-supervised by class": partial(SemiSupervisedAAE, style_matching="per_class", pseudo_label_threshold=0.12),
    **{
        f"semi-supervised {d}": partial(SemiSupervisedAAE, divergence=d, pseudo_label_threshold=0.12)
        for d in DIVERGENCES[2:]
    },
    "supervised by class": SupervisedAAE,
    "supervised in the aggregate": partial(SupervisedAAE, style_matching="marginal", backbone="mlp"),
    "clustering": partial(ClusteringAAE, n_clusters=5, consistency="both"),
    "clustering, all additions": partial(
        ClusteringAAE,
        n_clusters=5,
        loss_weights={"cyclic": 1.0, "style_l2": 0.15, "mode_reconstruction": 1.0, "mode_separation": 1.0},
        mode_separation_margin=5.0,
        adversarial_prior=True,
    ),
    "clustering, bare": partial(
        ClusteringAAE,
        n_clusters=5,
        adversarial_prior=False,
        loss_weights={"marginal_kl": 0, "conditional_entropy": 0},
        consistency="none",
        backbone="mlp",
    ),
    "embedding, few labels": partial(EmbeddingAAE, pseudo_label_threshold=0.12),
    "embedding, no labels": lambda **k: Unsupervised(EmbeddingAAE(n_clusters=5, centroid_margin=8.0, **k)),
    "pretrained": lambda **k: SecondStage(**k),
    "pretrained, frozen": lambda **k: SecondStage(frozen=True, **k),
    "outliers": AAEOutlierDetector,
    "baseline": lambda **k: SupervisedBaseline(**{n: v for n, v in k.items() if n != "schedule"}),
}
ONE_STAGE = {"baseline", "pretrained", "pretrained, frozen"}  # those without a decoder


def Unsupervised(model):
    """The same estimator, which is never shown a label."""
    fit = model.fit
    model.fit = lambda X, y=None, **k: fit(X, None, **k)
    return model


def SecondStage(**parameters):
    """On top of an autoencoder that has had a few steps."""
    parameters.pop("schedule", None)
    shared = {k: v for k, v in parameters.items() if k not in ("frozen", "optimizer")}
    return PretrainedClassifier(
        **parameters,
        autoencoder=AdversarialAutoencoder(**{**shared, "max_steps": 5}, latent_dim=16),
        learning_rate=1e-2,
    )
