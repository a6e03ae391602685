"""Good files of each category, changed at random: each is read, or refused by one line, in little time and memory.

`make test-hostile` changes 10,000 of each category.
"""

import pytest

from tests.hostile.inputs import CATEGORIES
from tests.hostile.mutate import N_INPUTS, mutated


@pytest.mark.timeout(300 + N_INPUTS)
@pytest.mark.parametrize("category", CATEGORIES)
def test_changed_files_are_read_or_refused_by_one_line(category, tmp_path):
    failures, n_refused, kinds = [], 0, CATEGORIES[category]()
    for name, kind in kinds.items():
        root = tmp_path / name
        kind.place(root)
        assert kind.is_read(root, kind.content), name
        for seed in range(N_INPUTS // len(kinds)):
            content = mutated(kind.content, seed)
            try:
                is_read = kind.is_read(root, content)
            except Exception as error:
                failures.append(f"{name}, seed {seed}: {type(error).__name__}: {error}"[:300])
                continue
            n_refused += not is_read
            if is_read and kind.is_sealed and content != kind.content:
                failures.append(f"{name}, seed {seed}: read in spite of a change")
    assert not failures, "\n".join([f"{len(failures)} failures", *failures[:30]])
    assert n_refused > 0
