"""How long it takes to name the clusters of a labelled set in the studio, and how good the classifier then is.

    aae label ask SESSION --data mnist -n 20
    python -m benchmarks.naming SESSION

A browser does what a person does in the room for labels: looks at the sheet of each cluster for three seconds, clicks
the rows that do not belong, one second each, types the class of most rows and presses Enter. The true labels of the
rows take the place of the person's eyes. Then it presses *Train*. Prints a line of JSON: the seconds until the last
cluster has a name, of these those in which the page let the person wait, clicks, labels, the minutes of the training,
and the errors of the classifier on the test rows and on those rows of the session that nobody labelled, in percent.
"""

import argparse
import json
import time
from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aaekit import data
from aaekit.active import ActiveLearner
from aaekit.labelling import Answers, read_settings

LOOK, CLICK, TYPE = 3.0, 1.0, 0.4  # seconds for a sheet, a row that does not belong, and a name with Enter
TIMEOUT = 60_000  # milliseconds for the page


def main() -> None:
    """Name the clusters of a session, train, and score."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("session", type=Path)
    folder: Path = parser.parse_args().session
    settings = read_settings(folder)
    dataset = data.load(settings["data"], settings["data_dir"])
    assert dataset.y is not None and dataset.X_test is not None and dataset.y_test is not None
    names = np.array([str(name) for name in dataset.classes or np.unique(dataset.y)])
    measured = name_clusters(folder, names[dataset.y])
    learner = ActiveLearner.load(folder, dataset.X)
    others = np.setdiff1d(np.arange(len(dataset.X)), list(Answers(folder, len(dataset.X)).labels))
    for part, X, y in (("test", dataset.X_test, dataset.y_test), ("others", dataset.X[others], dataset.y[others])):
        wrong = learner.predict(X).astype(str) != names[y]
        measured[f"error_{part}"] = round(100 * float(wrong.mean()), 2)
    print(json.dumps({"session": folder.name, "data": settings["data"], **measured}))


def name_clusters(folder: Path, truth: NDArray[np.str_]) -> dict[str, float]:
    """Name each cluster in the browser by the true labels of its sheet, and train; what was measured."""
    from tests.studio import browser, studio

    with studio(folder) as client, browser() as window:
        page = window.new_page(viewport={"width": 1280, "height": 860})
        page.goto(client.link + "#label")
        page.wait_for_selector(".label-tiles .tile canvas", timeout=10 * TIMEOUT)
        began, person, n_clicks, named = time.perf_counter(), 0.0, 0, set[str]()
        n = client.json("/api/label/state")["clusters"]["n"]
        while len(named) < n:
            heading = page.locator(".label-naming h2").inner_text()
            if heading in named:  # the next sheet is not there yet
                page.wait_for_timeout(20)
                continue
            named.add(heading)
            person += wait(LOOK)
            tiles = page.locator(".label-tiles .tile canvas")
            rows = [int(tile.get_attribute("aria-label").split()[-1]) for tile in tiles.all()]
            name = Counter(truth[rows].tolist()).most_common(1)[0][0]
            for k in np.flatnonzero(truth[rows] != name):
                page.locator(".label-tiles .tile").nth(int(k)).click()
                person, n_clicks = person + wait(CLICK), n_clicks + 1
            person += wait(TYPE)
            page.locator(".label-naming input").fill(name)
            page.keyboard.press("Enter")
        page.get_by_text(f"{n} of {n} clusters have labels").wait_for(timeout=TIMEOUT)
        seconds = time.perf_counter() - began
        labels = client.json("/api/label/state")["n_labels"]
        began = time.perf_counter()
        page.get_by_role("button", name="Train a classifier").click()
        page.wait_for_selector(".label-spinner", timeout=TIMEOUT)
        page.close()  # drawing without a graphics card would slow the training down
        while not (state := client.json("/api/label/state"))["is_trained"]:
            if state["training"]["problem"]:
                raise SystemExit(state["training"]["problem"])
            time.sleep(5)
        minutes = (time.perf_counter() - began) / 60
    return {
        "clusters": n, "naming_s": round(seconds, 1), "waiting_s": round(seconds - person, 1),
        "clicks": n_clicks, "labels": labels, "training_min": round(minutes, 1),
    }  # fmt: skip


def wait(seconds: float) -> float:
    """Wait as long as a person would."""
    time.sleep(seconds)
    return seconds


if __name__ == "__main__":
    main()
