# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportOptionalMemberAccess=false, reportOptionalSubscript=false
# (matplotlib types what a figure holds more widely than what these figures hold)
import base64
import io
import sys

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from PIL import Image
from sklearn.datasets import load_digits

from aaekit import figures

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
    "evaluation/error": [None, 9.0, 4.25],
}

EVERY_FIGURE = {
    "sample_grid": lambda x: figures.sample_grid(x, 5),
    "code_grid": lambda x: figures.code_grid(x[:9]),
    "reconstruction_pairs": lambda x: figures.reconstruction_pairs(x, x, 4),
    "style_grid": lambda x: figures.style_grid(x, 3, 4, ["a", "b", "c"], [-1, 0, 1, 2]),
    "confident_mistakes": lambda x: figures.confident_mistakes(x, Y, (Y + 1) % 3, P.max(1), ["cat", "dog", "owl"]),
    "first_layer_features": lambda x: figures.first_layer_features(x - 0.5),
    "latent_scatter": lambda x: figures.latent_scatter(Z2, np.arange(60) % 3, prior_samples=Z2),
    "code_vs_prior": lambda x: figures.code_vs_prior(Z5, Z5),
    "label_distribution": lambda x: figures.label_distribution(P),
    "learning_curves": lambda x: figures.learning_curves(HISTORY),
    "confusion_matrix": lambda x: figures.confusion_matrix(Y, Y[::-1]),
}


def texts(axes):
    return [text.get_text() for text in axes.texts]


def titles(figure):
    return [axes.get_title(loc="left") for axes in figure.axes]


def legend(axes):
    return [] if axes.get_legend() is None else [text.get_text() for text in axes.get_legend().get_texts()]


SAMPLES = {"grey": IMAGES, "colour": COLOUR, "table": TABLE}
OF_NUMBERS = ["latent_scatter", "code_vs_prior", "label_distribution", "learning_curves", "confusion_matrix"]
CASES = [(name, kind) for name in EVERY_FIGURE for kind in SAMPLES if kind == "grey" or name not in OF_NUMBERS]


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_every_figure_draws_without_pyplot(name, kind, tmp_path):
    samples = SAMPLES[kind]
    figure = EVERY_FIGURE[name](samples)
    assert type(figure) is Figure
    path = figures.save(figure, tmp_path / "new" / "figure.png")
    with Image.open(path) as image:
        assert min(image.size) > 100
        assert np.asarray(image.convert("L")).std() > 1  # something is drawn
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or not pyplot.get_fignums()


@pytest.mark.parametrize(("images", "scale"), [(IMAGES, 1), (IMAGES, 3), (COLOUR, 2)])
def test_tile_puts_image_k_where_it_says(images, scale):
    mosaic = figures.tile(images, n_columns=5, gap=2, scale=scale)
    h, w = 8 * scale, 6 * scale
    assert mosaic.shape[:2] == (3 * (h + 2) - 2, 5 * (w + 2) - 2)
    for k, image in enumerate(images):
        top, left = (k // 5) * (h + 2), (k % 5) * (w + 2)
        cell = mosaic[top : top + h : scale, left : left + w : scale]
        np.testing.assert_array_equal(cell, image[0] if len(image) == 1 else image.transpose(1, 2, 0))
    assert (mosaic[h : h + 2] == 1).all()  # gap
    assert (mosaic[-h:, 2 * (w + 2) :] == 1).all()  # the empty places of the last row


def test_tile_clips_and_survives_nan():
    images = np.array([-1.0, 0.5, 2.0, np.nan]).reshape(1, 1, 2, 2)
    np.testing.assert_array_equal(figures.tile(images), [[0, 0.5], [1, 0]])


@pytest.mark.parametrize("images", [TABLE, IMAGES[:, :, 0], IMAGES[:0], np.zeros((2, 2, 4, 4))])
def test_tile_refuses_what_is_no_image(images):
    with pytest.raises(ValueError, match=r"^Expected .*got"):
        figures.tile(images)


@pytest.mark.parametrize("images", [IMAGES, COLOUR])
def test_save_mosaic_writes_the_pixels_enlarged(images, tmp_path):
    path = figures.save_mosaic(images, tmp_path / "mosaic.png", n_columns=4, scale=5)
    expected = np.round(255 * figures.tile(images, 4, gap=2, scale=5)).astype(np.uint8)
    with Image.open(path) as image:
        np.testing.assert_array_equal(np.asarray(image), expected)


def test_sample_grid_shows_the_tiled_samples_in_one_image():
    figure = figures.sample_grid(IMAGES, n_columns=4, title="Seen")
    (axes,) = figure.axes
    (image,) = axes.images
    scale = 6
    np.testing.assert_array_equal(image.get_array(), figures.tile(IMAGES, 4, gap=2, scale=scale))
    assert titles(figure) == ["Seen"]


def test_a_table_is_drawn_as_one_profile_a_row():
    (axes,) = figures.sample_grid(TABLE, 5).axes
    curves = [c for c in axes.collections if isinstance(c, LineCollection)][1].get_segments()
    assert len(curves) == 12
    k = 7  # second row, third column; a larger value lies higher, that is at a smaller y
    assert curves[k][0, 0] == pytest.approx(2)
    assert ((curves[k][:, 1] >= 1) & (curves[k][:, 1] <= 2)).all()
    assert np.argsort(-curves[k][:, 1]).tolist() == np.argsort(TABLE[k]).tolist()


def test_code_grid_points_read_like_a_plot():
    z = figures.code_grid_points(3, (-2, 2))
    assert z.tolist()[:4] == [[-2, 2], [0, 2], [2, 2], [-2, 0]]
    assert z.tolist()[-1] == [2, -2]


def test_code_grid_ticks_name_the_codes():
    (axes,) = figures.code_grid(IMAGES[:9], (-2, 2)).axes
    values = ["\u22122.00", "0.00", "2.00"]
    assert [t.get_text() for t in axes.get_xticklabels()] == values
    places = dict(zip([t.get_text() for t in axes.get_yticklabels()], axes.get_yticks(), strict=True))
    assert places["2.00"] < places["0.00"] < places["\u22122.00"]  # image rows count downwards
    with pytest.raises(ValueError, match="square number of images, got 12"):
        figures.code_grid(IMAGES)


def test_reconstruction_pairs_puts_inputs_above():
    dark = np.zeros_like(IMAGES)
    figure = figures.reconstruction_pairs(IMAGES, dark, n=4)
    (image,) = figure.axes[0].images
    pixels = np.asarray(image.get_array())
    np.testing.assert_array_equal(pixels[: 8 * 6 : 6, : 6 * 6 : 6], IMAGES[0, 0])
    assert (pixels[-8 * 6 :, : 6 * 6] == 0).all()
    assert f"{np.mean(IMAGES**2):.3g}" in titles(figure)[0]
    with pytest.raises(ValueError, match="one shape"):
        figures.reconstruction_pairs(IMAGES, dark[:3])


def test_style_grid_labels_rows_and_columns():
    (axes,) = figures.style_grid(IMAGES, 3, 4, ["$a", "b", "c"], [-1, 0, 1, 2]).axes
    assert [t.get_text() for t in axes.get_yticklabels()] == [r"\$a", "b", "c"]
    assert [t.get_text() for t in axes.get_xticklabels()] == ["\u22121.00", "0.00", "1.00", "2.00"]
    with pytest.raises(ValueError, match="Expected 5 x 4 images"):
        figures.style_grid(IMAGES, 5, 4)


@pytest.mark.parametrize("z", [Z2[:, :1], Z2, Z5], ids=["1-D", "2-D", "5-D"])
def test_latent_scatter_draws_every_point_once(z):
    y = np.arange(60) % 4 - 1
    (axes,) = figures.latent_scatter(z, y, ["ant", "bee", "cow"], prior_samples=z[:50]).axes
    drawn = {c.get_label(): len(c.get_offsets()) for c in axes.collections}
    assert drawn == {"prior $p(z)$": 50, "unlabelled": 15, "ant": 15, "bee": 15, "cow": 15}
    assert legend(axes) == list(drawn)


def test_latent_scatter_keeps_codes_and_colours_apart():
    y = np.arange(60) % 12
    (axes,) = figures.latent_scatter(Z2, y).axes
    for k, group in enumerate(axes.collections):
        assert {tuple(p) for p in np.asarray(group.get_offsets())} == {tuple(p) for p in Z2[y == k]}
    colours = {tuple(c.get_facecolor()[0]) for c in axes.collections}
    assert len(colours) == 12
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("$z_1$", "$z_2$")


def test_latent_scatter_projects_more_dimensions_and_says_so():
    from sklearn.decomposition import PCA

    (axes,) = figures.latent_scatter(Z5, prior_samples=Z5 + 10).axes
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
    assert texts(figures.latent_scatter(apart, y).axes[0]) == ["0", "1", "2"]
    mixed = np.tile(Z2[:20], (3, 1))
    assert texts(figures.latent_scatter(mixed, y).axes[0]) == []


def test_latent_scatter_thins_out_and_says_so():
    figure = figures.latent_scatter(Z2, max_points=10)
    assert len(figure.axes[0].collections[0].get_offsets()) == 10
    assert "10 of 60" in titles(figure)[0]


def test_code_vs_prior_has_one_panel_a_dimension_with_moments():
    z, prior = Z5 * 0 + [1, 2, 3, 4, 5] + 0.1 * Z5, Z5
    figure = figures.code_vs_prior(z, prior, max_dims=3)
    assert len(figure.axes) == 3
    for j, title in enumerate(titles(figure)):
        for values in (z[:, j], prior[:, j]):
            assert f"{values.mean():.2f} \u00b1 {values.std():.2f}".replace("-", "\u2212") in title
    assert "the first 3 of 5 dimensions" in figure.get_suptitle()


def test_code_vs_prior_survives_a_collapsed_dimension():
    figures.to_png(figures.code_vs_prior(np.zeros((5, 1)), np.zeros((5, 1))))


def test_label_distribution_shows_confidence_and_frequencies():
    p = np.array([[0.95, 0.05, 0, 0], [0.95, 0.05, 0, 0], [0.1, 0.1, 0.8, 0], [0.25, 0.35, 0.2, 0.2]])
    left, right = figures.label_distribution(p, ["a", "b", "c", "d"]).axes
    assert [bar.get_height() for bar in right.patches] == [50, 25, 25, 0]
    assert [t.get_text() for t in right.get_xticklabels()] == ["a", "b", "c", "d"]
    assert sum(bar.get_height() for bar in left.patches) == pytest.approx(100)
    assert left.get_title(loc="left").startswith("50 % of 4")
    with pytest.raises(ValueError, match="Expected 4 class names, got 2"):
        figures.label_distribution(p, ["a", "b"])


def test_learning_curves_has_the_panels_whose_data_exist():
    assert titles(figures.learning_curves(HISTORY)) == [
        "Reconstruction",
        "Discriminator outputs",
        "Adversarial losses",
        "Learning from labels",
        "Error at the end: evaluation 4.25 %",
    ]
    assert titles(figures.learning_curves({"epoch": [1], "reconstruction": [2.0], "rate": [1.0]})) == [
        "Reconstruction",
        "Learning rate",
    ]
    assert titles(figures.learning_curves({"epoch": [1], "cyclic": [2.0], "seconds": [9.0]})) == ["Other losses"]
    assert not figures.learning_curves({"epoch": [], "reconstruction": []}).axes


def half_lines(figure):
    return [line for axes in figure.axes for line in axes.lines if list(line.get_ydata()) == [0.5, 0.5]]


def test_the_stopping_line_is_there_only_with_discriminator_outputs():
    (line,) = half_lines(figures.learning_curves(HISTORY))
    assert line.get_linestyle() == "--"
    assert line.axes.get_title(loc="left") == "Discriminator outputs"
    rest = {key: values for key, values in HISTORY.items() if "D(" not in key}
    assert not half_lines(figures.learning_curves(rest))


def test_learning_curves_draws_the_numbers_and_skips_missing_ones():
    axes = {a.get_title(loc="left"): a for a in figures.learning_curves(HISTORY).axes}
    lines = {line.get_label(): line for line in axes["Discriminator outputs"].lines}
    assert lines["z/D(fake)"].get_ydata().tolist() == [0.1, 0.4, 0.5]
    assert lines["z/D(real)"].get_color() == lines["z/D(fake)"].get_color()
    assert lines["z/D(real)"].get_linestyle() != lines["z/D(fake)"].get_linestyle()
    (error,) = axes["Error at the end: evaluation 4.25 %"].lines
    assert error.get_xdata().tolist() == [2, 3]
    assert error.get_ydata().tolist() == [9, 4.25]


@pytest.mark.parametrize(
    ("history", "message"),
    [
        ({"reconstruction": [1.0]}, "have 'epoch', got reconstruction"),
        ({"epoch": [1, 2], "x": [1.0]}, "2 values of 'x'"),
    ],
)
def test_learning_curves_says_what_is_wrong(history, message):
    with pytest.raises(ValueError, match=message):
        figures.learning_curves(history)


def test_confusion_matrix_counts_normalises_and_gives_the_error():
    true, predicted = [0, 0, 0, 0, 1, 1, -1], [0, 0, 0, 1, 1, 1, 2]
    figure = figures.confusion_matrix(true, predicted, ["cat", "dog", "owl"])
    axes = figure.axes[0]
    at = {text.get_position(): text.get_text() for text in axes.texts}  # (column, row)
    assert at == {(0, 0): "3", (1, 0): "1", (1, 1): "2"}
    np.testing.assert_allclose(axes.images[0].get_array(), [[75, 25, 0], [0, 100, 0], [0, 0, 0]])
    assert titles(figure)[0] == "1 of 6 wrong: error 16.67 %"
    assert [t.get_text() for t in axes.get_yticklabels()] == ["cat", "dog", "owl"]


def test_labels_may_be_the_values_of_the_classes():
    by_value = figures.confusion_matrix([3, 7, 7], [3, 3, 7], classes=[3, 7])
    by_name = figures.confusion_matrix(["x", "y", "y"], ["x", "x", "y"])
    for figure in (by_value, by_name):
        np.testing.assert_allclose(figure.axes[0].images[0].get_array(), [[100, 0], [50, 50]])
    assert [t.get_text() for t in by_value.axes[0].get_xticklabels()] == ["3", "7"]


@pytest.mark.parametrize(
    ("y", "classes", "message"),
    [
        ([0, 3], ["a", "b"], r"labels -1 ... 1, got 0 ... 3"),
        ([0, 3], [0, 1], "got also 3"),
        ([-1, -1], None, "at least one labelled"),
    ],
)
def test_label_errors_say_what_is_wrong(y, classes, message):
    with pytest.raises(ValueError, match=message):
        figures.confusion_matrix(y, y, classes)


def test_a_hundred_classes_still_fit():
    y = np.arange(100)
    figures.to_png(figures.confusion_matrix(y, y, [f"a long class name {k}" for k in y]))
    figures.to_png(figures.label_distribution(np.eye(100)))
    figures.to_png(figures.latent_scatter(Z2, y[:60]))


def test_confident_mistakes_are_the_wrong_ones_surest_first():
    true = np.array([0, 0, 1, 1, -1, 1])
    predicted = np.array([0, 1, 0, 1, 0, 0])
    sure = np.array([0.99, 0.6, 0.9, 0.99, 1.0, 0.7])
    figure = figures.confident_mistakes(IMAGES[:6], true, predicted, sure, n=2)
    assert [a.get_xlabel() for a in figure.axes] == ["1 \u2192 0\n90 %", "1 \u2192 0\n70 %"]
    assert figure.get_suptitle().startswith("3 of 5 wrong, the 2 surest")
    np.testing.assert_array_equal(figure.axes[1].images[0].get_array()[::6, ::6], IMAGES[5, 0])


def test_no_mistakes_is_a_figure_too():
    figure = figures.confident_mistakes(IMAGES, Y, Y, np.ones(12))
    assert [t.get_text() for t in figure.texts] == ["No mistakes among 12 samples"]


def test_first_layer_features_picks_the_strongest_on_a_symmetric_scale():
    weights = RANDOM.normal(size=(10, 48))
    weights[7] *= 9
    figure = figures.first_layer_features(weights, (1, 8, 6), n=4)
    image = figure.axes[0].images[0]
    low, high = image.get_clim()
    assert low == -high
    first = np.asarray(image.get_array())[:64:8, :48:8]  # 48 // 6 = 8 pixels a weight
    np.testing.assert_allclose(first, np.clip(weights[7].reshape(8, 6), low, high), atol=1e-5)
    assert "4 strongest of 10" in titles(figure)[0]
    with pytest.raises(ValueError, match="Expected 48 features"):
        figures.first_layer_features(weights, (1, 5, 5))


def test_first_layer_features_of_zero_weights():
    figures.to_png(figures.first_layer_features(np.zeros((4, 1, 3, 3))))


def test_real_digits_of_one_class_look_alike_in_the_tile():
    digits = load_digits()
    zeros = (digits.images[digits.target == 0][:5] / 16)[:, None]
    mosaic = figures.tile(zeros, 5, gap=0)
    assert np.corrcoef(mosaic[:, :8].ravel(), mosaic[:, 8:16].ravel())[0, 1] > 0.7


def test_base64_is_the_png():
    data = base64.b64decode(figures.to_base64(figures.sample_grid(IMAGES)))
    assert data == figures.to_png(figures.sample_grid(IMAGES))
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == "PNG"


def test_a_failed_save_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "figure.png"
    path.write_bytes(b"old")

    def full(*_):
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="disk full"):
        figures.save(figures.sample_grid(IMAGES), path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("z", [np.zeros(3), np.zeros((0, 2)), np.full((3, 2), np.nan)])
def test_code_errors_say_what_is_wrong(z):
    for draw in (figures.latent_scatter, lambda z: figures.code_vs_prior(z, Z2)):
        with pytest.raises(ValueError, match="Expected (finite )?z"):
            draw(z)
