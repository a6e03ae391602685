# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportOptionalMemberAccess=false, reportOptionalSubscript=false
# (matplotlib types what a figure holds more widely than what these figures hold)
import inspect
import sys
from inspect import signature

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from PIL import Image
from sklearn.datasets import load_digits

from aaekit import curves, plots
from aaekit.errors import InputError
from aaekit.plots.training import PANELS

pytestmark = pytest.mark.filterwarnings("error")

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.uniform(size=(12, 1, 8, 6)).astype(np.float32)
COLOUR = RANDOM.uniform(size=(12, 3, 8, 6)).astype(np.float32)
TABLE = RANDOM.normal(size=(12, 5)).astype(np.float32)
Y = np.arange(12) % 3
P = RANDOM.dirichlet(np.ones(3), 12)
Z2, Z5 = RANDOM.normal(size=(60, 2)), RANDOM.normal(size=(60, 5))
HISTORY = {
    "epoch": [1, 2, 3],
    "reconstruction": [3.0, 2.0, 1.0],
    "z/D(real)": [0.9, 0.6, 0.5],
    "z/D(fake)": [0.1, 0.4, 0.5],
    "z/discriminator": [0.4, 0.6, 0.69],
    "z/generator": [1.4, 0.8, 0.69],
    "classification": [2.0, 1.0, 0.5],
    "eval/error": [None, 9.0, 4.25],
}

EVERY_FIGURE = {
    "sample_grid": lambda x: plots.sample_grid(x, 5),
    "code_grid": lambda x: plots.code_grid(x[:9]),
    "reconstruction_pairs": lambda x: plots.reconstruction_pairs(x, x, 4),
    "style_grid": lambda x: plots.style_grid(x, 3, 4, ["a", "b", "c"], [-1, 0, 1, 2]),
    "confident_mistakes": lambda x: plots.confident_mistakes(x, Y, (Y + 1) % 3, P.max(1), ["cat", "dog", "owl"]),
    "first_layer_features": lambda x: plots.first_layer_features(x - 0.5),
    "latent_scatter": lambda x: plots.latent_scatter(Z2, np.arange(60) % 3, prior_samples=Z2),
    "code_vs_prior": lambda x: plots.code_vs_prior(Z5, Z5),
    "label_distribution": lambda x: plots.label_distribution(P),
    "modes_and_samples": lambda x: plots.modes_and_samples(x[:4], x, Y),
    "predicted_rows": lambda x: plots.predicted_rows(x, Y, P.max(1), ["a", "b", "c", "d"]),
    "style_label_grid": lambda x: plots.style_label_grid(x[:2], x[:6], ["a", "b", "$c"], [7, 8]),
    "learned_modes": lambda x: plots.learned_modes(x, n_columns=5),
    "roll_walk": lambda x: plots.roll_walk(x, 3, None, Z2[:12], Z2),
    "domain_translation": lambda x: plots.domain_translation(x, x, "here", "there", Y, Y > 0),
    "latent_tsne": lambda x: plots.latent_tsne(Z2, np.arange(60) % 3),
    "embedding_comparison": lambda x: plots.embedding_comparison({"a": Z2, "b": -Z2}, np.arange(60) % 3, {"b": "!"}),
    "cluster_matrix": lambda x: plots.cluster_matrix(Y, np.arange(12) % 4),
    "roc_curves": lambda x: plots.roc_curves({"a": (np.arange(12), Y == 0)}),
    "auc_by_class": lambda x: plots.auc_by_class({"a": [0.4, np.nan, 0.9], "b": [0.5, np.nan, 0.8]}),
    "regrets": lambda x: plots.regrets({"a": {"5 per class": [1, 2], "all": [0.5]}, "b$": {"all": [-3]}}),
    "questions": lambda x: plots.questions(x, range(100, 100 + len(x))),
    "ablation_curves": lambda x: plots.ablation_curves({"a": [(1, 9), (2, 3)], "b": [(1, 9), (2, 5)]}),
    "finetune_curves": lambda x: plots.finetune_curves({"a": [3, 2, 1]}, {"a": [(1, 7.4)]}, {"b": (6, 7)}),
    "learning_curves": lambda x: plots.learning_curves(HISTORY),
    "search_history": lambda x: plots.search_history([3, 9, 2.5], [False, True, False], "error (%)", 3, 0.4),
    "parameter_importances": lambda x: plots.parameter_importances({"a$": 0.7, "b": 0.3}),
    "parameter_scores": lambda x: plots.parameter_scores(
        {"a$": [1, None, 10.0], "b": ["x", "y$", "x"]}, [3, 9, 2.5], "error (%)", 0, ["a$"]
    ),
    "confusion_matrix": lambda x: plots.confusion_matrix(Y, Y[::-1]),
}


def texts(axes):
    return [text.get_text() for text in axes.texts]


def titles(figure):
    return [axes.get_title(loc="left") for axes in figure.axes]


def legend(axes):
    return [] if axes.get_legend() is None else [text.get_text() for text in axes.get_legend().get_texts()]


SAMPLES = {"grey": IMAGES, "colour": COLOUR, "table": TABLE}
OF_SAMPLES = [
    "sample_grid", "code_grid", "reconstruction_pairs", "style_grid", "confident_mistakes", "first_layer_features",
    "modes_and_samples", "predicted_rows", "style_label_grid", "learned_modes", "roll_walk", "domain_translation",
]  # fmt: skip
CASES = [(name, kind) for name in EVERY_FIGURE for kind in SAMPLES if kind == "grey" or name in OF_SAMPLES]


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_every_figure_draws_without_pyplot(name, kind, tmp_path):
    samples = SAMPLES[kind]
    figure = EVERY_FIGURE[name](samples)
    assert type(figure) is Figure
    path = plots.save(figure, tmp_path / "new" / "figure.png")
    with Image.open(path) as image:
        assert min(image.size) > 100
        assert np.asarray(image.convert("L")).std() > 1  # something is drawn
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or not pyplot.get_fignums()


def test_every_figure_is_drawn_here_and_has_a_caption():
    public = [getattr(plots, name) for name in plots.__all__]
    drawing = {f.__name__ for f in public if inspect.isfunction(f) and signature(f).return_annotation is Figure}
    assert drawing == set(EVERY_FIGURE) == set(plots.DESCRIPTIONS)


@pytest.mark.parametrize(("images", "scale"), [(IMAGES, 1), (IMAGES, 3), (COLOUR, 2)])
def test_tile_puts_image_k_where_it_says(images, scale):
    mosaic = plots.tile(images, n_columns=5, gap=2, scale=scale)
    h, w = 8 * scale, 6 * scale
    assert mosaic.shape[:2] == (3 * (h + 2) - 2, 5 * (w + 2) - 2)
    for k, image in enumerate(images):
        top, left = (k // 5) * (h + 2), (k % 5) * (w + 2)
        cell = mosaic[top : top + h : scale, left : left + w : scale]
        np.testing.assert_array_equal(cell, image[0] if len(image) == 1 else image.transpose(1, 2, 0))
    assert (mosaic[h : h + 2] == 1).all()  # gap
    assert (mosaic[-h:, 2 * (w + 2) :] == 1).all()  # the empty places of the last row


def test_images_of_other_channels_are_drawn_as_their_mean():
    four = np.random.default_rng(0).random((3, 4, 5, 5), dtype=np.float32)
    np.testing.assert_allclose(plots.tile(four), plots.tile(four.mean(1, keepdims=True)))


def test_tile_clips_and_survives_nan():
    images = np.array([-1.0, 0.5, 2.0, np.nan]).reshape(1, 1, 2, 2)
    np.testing.assert_array_equal(plots.tile(images), [[0, 0.5], [1, 0]])


@pytest.mark.parametrize("images", [TABLE, IMAGES[:, :, 0], IMAGES[:0]])
def test_tile_refuses_what_is_no_image(images):
    with pytest.raises(InputError, match=r"^expected .*got"):
        plots.tile(images)


def test_sample_grid_shows_the_tiled_samples_in_one_image():
    figure = plots.sample_grid(IMAGES, n_columns=4, title="Seen")
    (axes,) = figure.axes
    (image,) = axes.images
    scale = 6
    np.testing.assert_array_equal(image.get_array(), plots.tile(IMAGES, 4, gap=2, scale=scale))
    assert titles(figure) == ["Seen"]


def test_a_table_is_drawn_as_one_profile_a_row():
    (axes,) = plots.sample_grid(TABLE, 5).axes
    curves = [c for c in axes.collections if isinstance(c, LineCollection)][1].get_segments()
    assert len(curves) == 12
    k = 7  # second row, third column; a larger value lies higher, that is at a smaller y
    assert curves[k][0, 0] == pytest.approx(2)
    assert ((curves[k][:, 1] >= 1) & (curves[k][:, 1] <= 2)).all()
    assert np.argsort(-curves[k][:, 1]).tolist() == np.argsort(TABLE[k]).tolist()


def test_code_grid_points_read_like_a_plot():
    z = plots.code_grid_points(3, (-2, 2))
    assert z.tolist()[:4] == [[-2, 2], [0, 2], [2, 2], [-2, 0]]
    assert z.tolist()[-1] == [2, -2]


def test_code_grid_ticks_name_the_codes():
    (axes,) = plots.code_grid(IMAGES[:9], (-2, 2)).axes
    values = ["\u22122.00", "0.00", "2.00"]
    assert [t.get_text() for t in axes.get_xticklabels()] == values
    places = dict(zip([t.get_text() for t in axes.get_yticklabels()], axes.get_yticks(), strict=True))
    assert places["2.00"] < places["0.00"] < places["\u22122.00"]  # image rows count downwards
    with pytest.raises(ValueError, match="square number of images, got 12"):
        plots.code_grid(IMAGES)


def test_reconstruction_pairs_puts_inputs_above():
    dark = np.zeros_like(IMAGES)
    figure = plots.reconstruction_pairs(IMAGES, dark, n=4)
    (image,) = figure.axes[0].images
    pixels = np.asarray(image.get_array())
    np.testing.assert_array_equal(pixels[: 8 * 6 : 6, : 6 * 6 : 6], IMAGES[0, 0])
    assert (pixels[-8 * 6 :, : 6 * 6] == 0).all()
    assert f"{np.mean(IMAGES**2):.3g}" in titles(figure)[0]
    with pytest.raises(InputError, match="the same shape"):
        plots.reconstruction_pairs(IMAGES, dark[:3])


def test_style_grid_labels_rows_and_columns():
    (axes,) = plots.style_grid(IMAGES, 3, 4, ["$a", "b", "c"], [-1, 0, 1, 2]).axes
    assert [t.get_text() for t in axes.get_yticklabels()] == [r"\$a", "b", "c"]
    assert [t.get_text() for t in axes.get_xticklabels()] == ["\u22121.00", "0.00", "1.00", "2.00"]
    with pytest.raises(InputError, match="expected 5 x 4 images"):
        plots.style_grid(IMAGES, 5, 4)


@pytest.mark.parametrize("z", [Z2[:, :1], Z2, Z5], ids=["1-D", "2-D", "5-D"])
def test_latent_scatter_draws_every_point_once(z):
    y = np.arange(60) % 4 - 1
    (axes,) = plots.latent_scatter(z, y, ["ant", "bee", "cow"], prior_samples=z[:50]).axes
    drawn = {c.get_label(): len(c.get_offsets()) for c in axes.collections}
    assert drawn == {"prior $p(z)$": 50, "unlabelled": 15, "ant": 15, "bee": 15, "cow": 15}
    assert legend(axes) == list(drawn)


def test_latent_scatter_keeps_codes_and_colours_apart():
    y = np.arange(60) % 12
    (axes,) = plots.latent_scatter(Z2, y).axes
    for k, group in enumerate(axes.collections):
        assert {tuple(p) for p in np.asarray(group.get_offsets())} == {tuple(p) for p in Z2[y == k]}
    colours = {tuple(c.get_facecolor()[0]) for c in axes.collections}
    assert len(colours) == 12
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("$z_1$", "$z_2$")


def test_latent_scatter_projects_more_dimensions_and_says_so():
    from sklearn.decomposition import PCA

    (axes,) = plots.latent_scatter(Z5, prior_samples=Z5 + 10).axes
    assert "principal component 1 of 5 dimensions" in axes.get_xlabel()
    pca = PCA(2).fit(Z5)
    assert f"{100 * pca.explained_variance_ratio_[0]:.0f} % of variance" in axes.get_xlabel()
    prior, codes = (np.asarray(c.get_offsets()) for c in axes.collections)
    expected = np.abs(pca.transform(Z5))
    np.testing.assert_allclose(np.sort(np.abs(codes), 0), np.sort(expected, 0), atol=1e-6)
    assert np.linalg.norm(prior.mean(0) - codes.mean(0)) > 1  # the prior goes through the codes' projection


def test_latent_scatter_names_separate_groups_and_only_those():
    y = np.repeat([0, 1, 2], 20)
    apart = np.array([[0, 0], [9, 0], [0, 9]])[y] + 0.1 * Z2
    assert texts(plots.latent_scatter(apart, y).axes[0]) == ["0", "1", "2"]
    mixed = np.tile(Z2[:20], (3, 1))
    assert texts(plots.latent_scatter(mixed, y).axes[0]) == []


def test_latent_scatter_thins_out_and_says_so():
    figure = plots.latent_scatter(Z2, max_points=10)
    assert len(figure.axes[0].collections[0].get_offsets()) == 10
    assert "10 of 60" in titles(figure)[0]


def test_code_vs_prior_has_one_panel_a_dimension_with_moments():
    z, prior = Z5 * 0 + [1, 2, 3, 4, 5] + 0.1 * Z5, Z5
    figure = plots.code_vs_prior(z, prior, max_dims=3)
    assert len(figure.axes) == 3
    for j, title in enumerate(titles(figure)):
        for values in (z[:, j], prior[:, j]):
            assert f"{values.mean():.2f} \u00b1 {values.std():.2f}".replace("-", "\u2212") in title
    assert "the first 3 of 5 dimensions" in figure.get_suptitle()


def test_code_vs_prior_survives_a_collapsed_dimension():
    plots.to_png(plots.code_vs_prior(np.zeros((5, 1)), np.zeros((5, 1))))


def test_label_distribution_shows_confidence_and_frequencies():
    p = np.array([[0.95, 0.05, 0, 0], [0.95, 0.05, 0, 0], [0.1, 0.1, 0.8, 0], [0.25, 0.35, 0.2, 0.2]])
    left, right = plots.label_distribution(p, ["a", "b", "c", "d"]).axes
    assert [bar.get_height() for bar in right.patches] == [50, 25, 25, 0]
    assert [t.get_text() for t in right.get_xticklabels()] == ["a", "b", "c", "d"]
    assert sum(bar.get_height() for bar in left.patches) == pytest.approx(100)
    assert left.get_title(loc="left").startswith("50 % of 4")
    with pytest.raises(InputError, match="expected 4 class names, got 2"):
        plots.label_distribution(p, ["a", "b"])


def test_label_distribution_compares_with_the_prior():
    right = plots.label_distribution(P, expected=[2, 1, 1]).axes[1]
    (prior,) = right.lines
    assert prior.get_ydata()[:3].tolist() == [50, 25, 25]
    counts = np.bincount(P.argmax(1), minlength=3)
    assert [p.get_height() for p in right.patches] == pytest.approx((100 * counts / 12).tolist())


def test_learning_curves_has_the_panels_whose_data_exist():
    assert titles(plots.learning_curves(HISTORY)) == [
        "Reconstruction",
        "Discriminator outputs",
        "Adversarial losses",
        "Losses of labelled rows",
        "Final error: eval 4.25 %",
    ]
    assert titles(plots.learning_curves({"epoch": [1], "reconstruction": [2.0], "learning_rate": [1.0]})) == [
        "Reconstruction",
        "Learning rate",
    ]
    assert titles(plots.learning_curves({"epoch": [1], "new": [2.0], "seconds": [9.0]})) == ["Other losses"]
    assert not plots.learning_curves({"epoch": [], "reconstruction": []}).axes


def half_lines(figure):
    return [line for axes in figure.axes for line in axes.lines if list(line.get_ydata()) == [0.5, 0.5]]


def test_the_stopping_line_is_there_only_with_discriminator_outputs():
    (line,) = half_lines(plots.learning_curves(HISTORY))
    assert line.get_linestyle() == "--"
    assert line.axes.get_title(loc="left") == "Discriminator outputs"
    rest = {key: values for key, values in HISTORY.items() if "D(" not in key}
    assert not half_lines(plots.learning_curves(rest))


def test_learning_curves_draws_the_numbers_and_skips_missing_ones():
    axes = {a.get_title(loc="left"): a for a in plots.learning_curves(HISTORY).axes}
    lines = {line.get_label(): line for line in axes["Discriminator outputs"].lines}
    assert lines["z/D(fake)"].get_ydata().tolist() == [0.1, 0.4, 0.5]
    assert lines["z/D(real)"].get_color() == lines["z/D(fake)"].get_color()
    assert lines["z/D(real)"].get_linestyle() != lines["z/D(fake)"].get_linestyle()
    (error,) = axes["Final error: eval 4.25 %"].lines
    assert error.get_xdata().tolist() == [2, 3]
    assert error.get_ydata().tolist() == [9, 4.25]


@pytest.mark.parametrize(
    ("history", "message"),
    [
        ({"reconstruction": [1.0]}, "a history with 'epoch', got reconstruction"),
        ({"epoch": [1, 2], "x": [1.0]}, "2 values of 'x'"),
    ],
)
def test_learning_curves_says_what_is_wrong(history, message):
    with pytest.raises(ValueError, match=message):
        plots.learning_curves(history)


def test_confusion_matrix_counts_normalises_and_gives_the_error():
    true, predicted = [0, 0, 0, 0, 1, 1, -1], [0, 0, 0, 1, 1, 1, 2]
    figure = plots.confusion_matrix(true, predicted, ["cat", "dog", "owl"])
    axes = figure.axes[0]
    at = {text.get_position(): text.get_text() for text in axes.texts}  # (column, row)
    assert at == {(0, 0): "3", (1, 0): "1", (1, 1): "2"}
    np.testing.assert_allclose(axes.images[0].get_array(), [[75, 25, 0], [0, 100, 0], [0, 0, 0]])
    assert titles(figure)[0] == "1 of 6 wrong: error 16.67 %"
    assert [t.get_text() for t in axes.get_yticklabels()] == ["cat", "dog", "owl"]


def test_labels_may_be_the_values_of_the_classes():
    by_value = plots.confusion_matrix([3, 7, 7], [3, 3, 7], classes=[3, 7])
    by_name = plots.confusion_matrix(["x", "y", "y"], ["x", "x", "y"])
    for figure in (by_value, by_name):
        np.testing.assert_allclose(figure.axes[0].images[0].get_array(), [[100, 0], [50, 50]])
    assert [t.get_text() for t in by_value.axes[0].get_xticklabels()] == ["3", "7"]


@pytest.mark.parametrize(
    ("y", "classes", "message"),
    [
        ([0, 3], ["a", "b"], r"labels from -1 to 1, got 0 to 3"),
        ([0, 3], [0, 1], r"got \[3\]"),
        ([-1, -1], None, "at least one labelled"),
    ],
)
def test_label_errors_say_what_is_wrong(y, classes, message):
    with pytest.raises(ValueError, match=message):
        plots.confusion_matrix(y, y, classes)


def test_a_hundred_classes_still_fit():
    y = np.arange(100)
    plots.to_png(plots.confusion_matrix(y, y, [f"a long class name {k}" for k in y]))
    plots.to_png(plots.label_distribution(np.eye(100)))
    plots.to_png(plots.latent_scatter(Z2, y[:60]))


def test_confident_mistakes_are_the_wrong_ones_surest_first():
    true = np.array([0, 0, 1, 1, -1, 1])
    predicted = np.array([0, 1, 0, 1, 0, 0])
    sure = np.array([0.99, 0.6, 0.9, 0.99, 1.0, 0.7])
    figure = plots.confident_mistakes(IMAGES[:6], true, predicted, sure, n=2)
    assert [a.get_xlabel() for a in figure.axes] == ["1 \u2192 0\n90 %", "1 \u2192 0\n70 %"]
    assert figure.get_suptitle().startswith("3 of 5 wrong, the 2 most confident")
    np.testing.assert_array_equal(figure.axes[1].images[0].get_array()[::6, ::6], IMAGES[5, 0])


def test_no_mistakes_is_a_figure_too():
    figure = plots.confident_mistakes(IMAGES, Y, Y, np.ones(12))
    assert [t.get_text() for t in figure.texts] == ["No mistakes among 12 samples"]


def test_first_layer_features_picks_the_strongest_on_a_symmetric_scale():
    weights = RANDOM.normal(size=(10, 48))
    weights[7] *= 9
    figure = plots.first_layer_features(weights, (1, 8, 6), n=4)
    image = figure.axes[0].images[0]
    low, high = image.get_clim()
    assert low == -high
    first = np.asarray(image.get_array())[:64:8, :48:8]  # 48 // 6 = 8 pixels a weight
    np.testing.assert_allclose(first, np.clip(weights[7].reshape(8, 6), low, high), atol=1e-5)
    assert "4 strongest of 10" in titles(figure)[0]
    with pytest.raises(InputError, match="expected an image of 48 features"):
        plots.first_layer_features(weights, (1, 5, 5))


def test_first_layer_features_of_zero_weights():
    plots.to_png(plots.first_layer_features(np.zeros((4, 1, 3, 3))))


def test_real_digits_of_one_class_look_alike_in_the_tile():
    digits = load_digits()
    zeros = (digits.images[digits.target == 0][:5] / 16)[:, None]
    mosaic = plots.tile(zeros, 5, gap=0)
    assert np.corrcoef(mosaic[:, :8].ravel(), mosaic[:, 8:16].ravel())[0, 1] > 0.7


def test_a_failed_save_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "figure.png"
    path.write_bytes(b"old")

    def full(*_):
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(InputError, match="disk full"):
        plots.save(plots.sample_grid(IMAGES), path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("z", [np.zeros(3), np.zeros((0, 2)), np.full((3, 2), np.nan)])
def test_code_errors_say_what_is_wrong(z):
    for draw in (plots.latent_scatter, lambda z: plots.code_vs_prior(z, Z2)):
        with pytest.raises(ValueError, match="expected (finite )?z"):
            draw(z)


def test_a_single_code_of_many_dimensions_is_drawn_by_its_first_two():
    (axes,) = plots.latent_scatter(Z5[:1]).axes
    np.testing.assert_allclose(np.asarray(axes.collections[0].get_offsets()), Z5[:1, :2])
    assert "of 5 dimensions" in axes.get_xlabel()


# --- modes, styles, domains
def pixels(axes, k=0):
    """The k-th image of an axes, one pixel for each of the 8 x 6 samples' own; they are drawn 6 times as large."""
    return np.asarray(axes.images[k].get_array())[::6, ::6]


def test_modes_stand_apart_from_the_rows_that_were_given_their_label():
    y = np.array([2, 0, 0, -1, 0, 2, 0, 0, 0, 0, 0, 0])
    (axes,) = plots.modes_and_samples(IMAGES[:3], IMAGES, y, n=4).axes
    assert [t.get_text() for t in axes.get_yticklabels()] == ["0 (9)", "1 (0)", "2 (2)"]
    lead, rest = axes.images
    assert lead.get_extent()[1] < rest.get_extent()[0] - 0.1
    height, width = 8 * 6 + 2, 6 * 6 + 2  # of a cell and its gap
    modes, rows = np.asarray(lead.get_array()), np.asarray(rest.get_array())
    for k in range(3):
        np.testing.assert_array_equal(modes[k * height : k * height + 48 : 6, :36:6], IMAGES[k, 0])
    for row, column, k in [(0, 0, 1), (0, 1, 2), (0, 2, 4), (0, 3, 6), (2, 0, 0), (2, 1, 5)]:
        cell = rows[row * height :, column * width :][:48:6, :36:6]
        np.testing.assert_array_equal(cell, IMAGES[k, 0])
    assert (rows[height : 2 * height] == 1).all()  # nobody was given the label 1
    assert (rows[2 * height :, 2 * width :] == 1).all()


def test_modes_and_samples_of_a_table_leave_blanks_out():
    (axes,) = plots.modes_and_samples(TABLE[:3], TABLE, [0] * 10 + [2] * 2, n=5).axes
    curves = [c for c in axes.collections if isinstance(c, LineCollection)][1::2]
    modes, rows = ([s for s in c.get_segments()] for c in curves)
    assert (len(modes), len(rows)) == (3, 5 + 0 + 2)
    np.testing.assert_allclose(modes[0][:, 1], rows[0][:, 1])  # the same row of data, on the same scale


def test_thirty_clusters_fit_a_page():
    thirty = np.tile(IMAGES, (3, 1, 1, 1))[:30]
    figure = plots.modes_and_samples(thirty, IMAGES, np.arange(12), [f"c{k}" for k in range(30)])
    assert len(figure.axes[0].get_yticks()) == 30
    assert figure.get_size_inches()[1] <= 14.2
    assert len(plots.learned_modes(thirty).axes[0].texts) == 30


def test_style_label_grid_has_a_row_a_source_and_a_column_a_label():
    (axes,) = plots.style_label_grid(IMAGES[:2], IMAGES[2:8], ["cat", "dog", "owl"], ["s", "t"]).axes
    assert [t.get_text() for t in axes.get_xticklabels()] == ["source", "cat", "dog", "owl"]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["s", "t"]
    lead, rest = (np.asarray(image.get_array()) for image in axes.images)
    np.testing.assert_array_equal(lead[50:98:6, :36:6], IMAGES[1, 0])
    np.testing.assert_array_equal(rest[50:98:6, 38:74:6], IMAGES[2 + 3 + 1, 0])  # source 1, label 1
    ticks, (left, right, *_) = axes.get_xticks(), axes.images[1].get_extent()
    assert ticks[0] < 1 < left < ticks[1] < left + 1 < ticks[2] < ticks[3] < right


def test_learned_modes_names_each():
    (axes,) = plots.learned_modes(IMAGES[:7], list("abcdefg"), n_columns=3).axes
    for k, (text, image) in enumerate(zip(axes.texts, axes.images, strict=True)):
        assert text.get_text() == "abcdefg"[k]
        left, right, bottom, top = image.get_extent()
        assert left < text.get_position()[0] < right
        assert text.get_position()[1] < top < bottom  # above its sample; rows count downwards
        np.testing.assert_array_equal(pixels(axes, k), IMAGES[k, 0])


def test_roll_walk_colours_the_path_as_the_rows():
    path = np.column_stack([np.arange(12), np.zeros(12)])
    rows, plane = plots.roll_walk(IMAGES, 3, ["a", "b", "c"], path, Z2).axes
    np.testing.assert_array_equal(np.asarray(rows.images[0].get_array())[50:98:6, :36:6], IMAGES[4, 0])
    behind, *arcs = plane.collections
    assert len(behind.get_offsets()) == 60
    assert texts(plane) == [t.get_text() for t in rows.get_yticklabels()] == ["a", "b", "c"]
    for k, (arc, patch) in enumerate(zip(arcs, rows.patches, strict=True)):
        assert arc.get_offsets()[:, 0].tolist() == list(range(4 * k, 4 * k + 4))
        assert tuple(arc.get_facecolor()[0]) == patch.get_facecolor()
    assert len(plots.roll_walk(IMAGES, 3).axes) == 1


def test_domain_translation_marks_what_is_lost():
    kept = np.ones(12, dtype=bool)
    kept[[3, 11]] = False
    figure = plots.domain_translation(IMAGES, 1 - IMAGES, "drawn", "printed", list("abcdefghijkl"), kept)
    (axes,) = figure.axes
    assert titles(figure) == ["drawn \u2192 printed: 10 of 12 keep their class (\u2717: lost)"]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["drawn", "printed"] * 2
    assert texts(axes) == [*"abc", "d \u2717", *"efghijk", "l \u2717"]
    frames = [p for p in axes.patches if p.get_linewidth() > 1]
    (upper, lower), (_, second) = ([i.get_extent() for i in axes.images][k : k + 2] for k in (0, 2))
    assert [f.get_xy() for f in frames] == [(3, lower[3]), (1, second[3])]  # top left of the translations
    assert (upper[3], lower[3]) == (0, 1)  # right below the source
    np.testing.assert_allclose(pixels(axes, 1)[:8, :6], 1 - IMAGES[0, 0])
    (unmarked,) = plots.domain_translation(IMAGES, IMAGES, "a", "b").axes
    assert not [p for p in unmarked.patches if p.get_linewidth() > 1] and not texts(unmarked)


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: plots.modes_and_samples(IMAGES[:3], COLOUR, Y), "same shape"),
        (lambda: plots.modes_and_samples(IMAGES[:3], IMAGES, Y[:5]), "one label per row"),
        (lambda: plots.modes_and_samples(IMAGES[:3], IMAGES, Y + 1), "labels of the classes|labels from -1"),
        (lambda: plots.modes_and_samples(IMAGES[:3], IMAGES, Y, ["a"]), "3 class names, got 1"),
        (lambda: plots.style_label_grid(IMAGES[:5], IMAGES), "each of 5 sources"),
        (lambda: plots.style_label_grid(IMAGES[:3], IMAGES, ["a"]), "each of 3 sources"),
        (lambda: plots.roll_walk(IMAGES, 5), "multiple of 5 images"),
        (lambda: plots.roll_walk(IMAGES, 3, path=Z2), r"path of shape \(12, 2\)"),
        (lambda: plots.roll_walk(IMAGES, 3, codes=Z5), "codes of shape"),
        (lambda: plots.domain_translation(IMAGES, COLOUR, "a", "b"), "shape of the sources"),
        (lambda: plots.domain_translation(IMAGES, IMAGES, "a", "b", correct=[True]), "label and mark per pair"),
        (lambda: plots.latent_tsne(Z5), r"shape \(n, 2\)"),
        (lambda: plots.latent_tsne(Z2, [0]), "one label per code"),
        (lambda: plots.embedding_comparison({}), "at least one embedding"),
        (lambda: plots.embedding_comparison({"a": Z2, "b": Z2[:3]}), "3 of 'b'"),
        (lambda: plots.embedding_comparison({"PCA": Z2}, notes={"PCB": ""}), "notes for PCA, got one for 'PCB'"),
        (lambda: plots.code_vs_prior(Z5, Z2), "samples of 5 dimensions as the codes, got 2"),
        (lambda: plots.label_distribution([0.5, 0.5]), r"shape \(n, K\)"),
        (lambda: plots.label_distribution([[np.nan, 0.5]]), "diverged"),
        (lambda: plots.label_distribution(P, expected=[0, 0, 0]), "not all 0"),
        (lambda: plots.label_distribution(P, expected=[1, 2]), "each of 3 classes, got 2"),
        (lambda: plots.cluster_matrix([0, 1], [0]), "one cluster per true label"),
        (lambda: plots.cluster_matrix([0, 1], [0, -1]), "clusters of 0 or more"),
        (lambda: plots.cluster_matrix([0, 1], [0, 3], cluster_names=["a", "b"]), "3"),
        (lambda: plots.roc_curves({}), "at least one method"),
        (lambda: plots.roc_curves({"a": ([1, 2], [0, 0])}), "both outliers and inliers"),
        (lambda: plots.roc_curves({"a": ([1, 2, 3], [0, 1])}), r"\(3,\) and \(2,\)"),
        (lambda: plots.auc_by_class({"a": [0.5], "b": [0.5, 0.6]}), "one shape"),
        (lambda: plots.auc_by_class({}), "got none"),
        (lambda: plots.ablation_curves({"a": [(1, 9)]}), "got 1"),
        (lambda: plots.questions(np.zeros((2, 1, 4, 4)), [1]), "2 samples and 1 numbers"),
        (lambda: plots.finetune_curves({}), "got none"),
        (lambda: plots.finetune_curves({"a": []}), "for 'a'"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_bad_input_is_said_in_one_line(draw, message):
    with pytest.raises(InputError, match=message) as error:
        draw()
    assert "\n" not in str(error.value)


# --- embeddings and distributions
def test_latent_tsne_has_no_numbers_on_its_axes():
    y = np.arange(60) % 3 - 1
    (axes,) = plots.latent_tsne(Z2, y, ["ant", "bee"], method="UMAP").axes
    drawn = {c.get_label(): np.asarray(c.get_offsets()) for c in axes.collections}
    assert {name: len(points) for name, points in drawn.items()} == {"unlabelled": 20, "ant": 20, "bee": 20}
    assert {tuple(p) for p in drawn["bee"]} == {tuple(p) for p in Z2[y == 1]}
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("UMAP 1", "UMAP 2")
    assert not len(axes.get_xticks()) and not len(axes.get_yticks())


def test_the_name_of_a_class_is_on_one_of_its_islands():
    random = np.random.default_rng(0)
    y = np.repeat([0, 1], 200)
    islands = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    Z = random.normal(size=(400, 2)) + islands[np.where(y == 0, 0, 1 + (np.arange(400) % 3 == 0))]
    (axes,) = (a for a in plots.embedding_comparison({"a": Z}, y).axes if a.collections)
    at = {t.get_text(): np.array(t.get_position()) for t in axes.texts if t.get_text() in ("0", "1")}
    assert np.linalg.norm(at["0"] - islands[0]) < 1 and np.linalg.norm(at["1"] - islands[1]) < 1


def test_embedding_comparison_draws_the_same_rows_everywhere_in_the_same_colours():
    y = np.arange(60) % 3
    figure = plots.embedding_comparison({"a": Z2, "b": 10 * Z2}, y, {"b": "kNN error 3 %"}, max_points=30)
    one, other = figure.axes
    assert [one.get_title(loc="left"), other.get_title(loc="left")] == ["a", "b"]
    assert "kNN error 3 %" in texts(other) and "kNN error 3 %" not in texts(one)
    for left, right in zip(one.collections, other.collections, strict=True):
        np.testing.assert_allclose(10 * np.asarray(left.get_offsets()), np.asarray(right.get_offsets()))
        assert tuple(left.get_facecolor()[0]) == tuple(right.get_facecolor()[0])
    assert sum(len(c.get_offsets()) for c in one.collections) == 30
    (legend,) = figure.legends
    assert [t.get_text() for t in legend.get_texts()] == ["0", "1", "2"]
    assert "30 of them" in figure.get_suptitle()


# --- training and results
@pytest.mark.parametrize(
    ("key", "title"),
    [
        ("y/generator", "Adversarial losses"),
        ("eval/reconstruction", "Reconstruction"),
        ("pseudo_label", "Losses of unlabelled rows"),
        ("consistency_kl", "Losses of unlabelled rows"),
        ("virtual_adversarial", "Losses of unlabelled rows"),
        ("conditional_entropy", "Losses of unlabelled rows"),
        ("marginal_kl", "Losses of unlabelled rows"),
        ("soft_label", "Losses of unlabelled rows"),
        ("cyclic", "Mutual information of $y$ and $x$"),
        ("mode_reconstruction", "Mutual information of $y$ and $x$"),
        ("style_l2", "Layout of the codes"),
        ("mode_separation", "Layout of the codes"),
        ("centroid_separation", "Layout of the codes"),
        ("confident", "Confident pseudo-labels"),
    ],
)
def test_each_phase_has_its_panel(key, title):
    assert titles(plots.learning_curves({"epoch": [1, 2], key: [2.0, 1.0]})) == [title]


def test_every_curve_has_a_panel_and_an_abbreviation_of_its_own():
    assert {curve.panel for curve in curves.CURVES.values()} | {"Other losses"} == set(PANELS)
    assert len({curve.abbreviation for curve in curves.CURVES.values()}) == len(curves.CURVES)
    assert curves.abbreviation("z/generator") == "z/G" and curves.abbreviation("new") == "new"


def test_losses_of_very_different_size_share_a_logarithmic_axis():
    history = {"epoch": [1, 2], "mode_reconstruction": [200.0, 150.0], "cyclic": [2.0, 0.3]}
    assert plots.learning_curves(history).axes[0].get_yscale() == "log"
    assert plots.learning_curves(history | {"cyclic": [2.0, 0.0]}).axes[0].get_yscale() == "linear"
    assert plots.learning_curves(history | {"cyclic": [100.0, 90.0]}).axes[0].get_yscale() == "linear"


def test_a_score_that_repeats_another_series_is_left_out():
    history = {"epoch": [1, 2], "validation/reconstruction": [2.0, 1.0], "validation/score": [2.0, 1.0]}
    assert titles(plots.learning_curves(history)) == ["Reconstruction"]
    assert titles(plots.learning_curves(history | {"validation/score": [3.0, 1.0]})) == [
        "Reconstruction", "Other losses",
    ]  # fmt: skip


def test_ablation_curves_show_each_change_beside_the_first():
    curves = {
        "as it is": [(50, 8.0), (100, 2.0)],
        "no noise": [(50, 9.0), (100, 3.0)],
        "other": [(50, 7.0), (100, 4.0)],
    }
    panels = plots.ablation_curves(curves).axes
    assert [axes.get_title(loc="left") or axes.get_title() for axes in panels] == ["no noise", "other"]
    for axes, name in zip(panels, ("no noise", "other"), strict=True):
        first, changed = axes.get_lines()
        np.testing.assert_array_equal(first.get_xydata(), curves["as it is"])
        np.testing.assert_array_equal(changed.get_xydata(), curves[name])


def test_finetune_curves_shows_runs_means_and_published_figures():
    runs = np.array([[8.0, 4.0, 2.0], [6.0, 4.0, 3.0]])
    ours = {"ours": runs, "other": [9, 8, 7]}
    (axes,) = plots.finetune_curves(ours, {"ours": [(1, 7.4), (10, 2)]}, {"other": (6, 7)}).axes
    lines = {line.get_label(): line for line in axes.lines}
    assert lines["ours: final error 2.50 %"].get_ydata().tolist() == [7, 4, 2.5]
    published = lines["ours, published"]
    assert list(zip(published.get_xdata(), published.get_ydata(), strict=True)) == [(1, 7.4), (10, 2)]
    assert published.get_markeredgecolor() == lines["ours: final error 2.50 %"].get_color()
    assert "other, published: 6 to 7 %" in legend(axes)
    assert axes.get_ylim()[0] == 0
    (band,) = axes.collections
    assert band.get_datalim(axes.transData).bounds == (1, 2, 2, 6)  # the best and the worst of both runs


def test_cluster_matrix_sorts_clusters_by_their_majority():
    true = np.array([0, 0, 0, 1, 1, 2, 2, -1])
    cluster = np.array([3, 3, 1, 1, 1, 0, 0, 0])
    figure = plots.cluster_matrix(true, cluster, ["cat", "dog", "owl"], ["p", "q", "r", "s"])
    axes = figure.axes[0]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["s (2)", "q (3)", "p (2)", "r (0)"]
    np.testing.assert_allclose(
        axes.images[0].get_array(), [[100, 0, 0], [100 / 3, 200 / 3, 0], [0, 0, 100], [0, 0, 0]]
    )  # fmt: skip
    assert {t.get_position(): t.get_text() for t in axes.texts} == {(0, 0): "2", (0, 1): "1", (1, 1): "2", (2, 2): "2"}
    assert f"error {100 / 7:.2f} % of 7" in titles(figure)[0]


def test_cluster_matrix_gives_the_majority_error_of_real_clusters(digits):
    from sklearn.cluster import KMeans

    from aaekit.evaluation.metrics import clustering_accuracy

    X, y = digits
    found = KMeans(30, n_init=1, random_state=0).fit_predict(X.reshape(len(X), -1))
    title = titles(plots.cluster_matrix(y, found))[0]
    assert f"error {100 - clustering_accuracy(y, found, 'majority'):.2f} %" in title


def test_roc_curves_give_the_area_best_first():
    outlier = np.array([0, 0, 0, 1, 1])
    scores = {"bad": (-np.arange(5), outlier), "good": (np.arange(5), outlier), "half": ([0, 2, 4, 1, 3], outlier)}
    (axes,) = plots.roc_curves(scores).axes
    assert legend(axes) == ["good: AUC 1.000", "half: AUC 0.500", "bad: AUC 0.000", "chance: AUC 0.5"]
    good = next(line for line in axes.lines if line.get_label().startswith("good"))
    assert (0, 100) in zip(good.get_xdata(), good.get_ydata(), strict=True)


def test_auc_by_class_draws_each_class_and_the_mean():
    figure = plots.auc_by_class({"a": [0.9, np.nan, 0.7], "b": [0.6, 0.8, 0.7]}, ["x", "y", "z"])
    (axes,) = figure.axes
    assert [t.get_text() for t in axes.get_yticklabels()] == ["x", "y", "z", "mean"]
    lines = {line.get_label(): line for line in axes.lines}
    np.testing.assert_allclose(lines["a (mean 0.800)"].get_xdata(), [0.9, np.nan, 0.7, 0.8])
    np.testing.assert_allclose(lines["b (mean 0.700)"].get_xdata(), [0.6, 0.8, 0.7, 0.7])
    places = dict(zip([t.get_text() for t in axes.get_yticklabels()], axes.get_yticks(), strict=True))
    assert lines["a (mean 0.800)"].get_ydata().tolist() == list(places.values())
