"""What one seed of an experiment finds, of any kind."""

from typing import Any


class TrialResults:
    """Base of the trials: `numbers` by name, and how they are kept."""

    numbers: dict[str, Any]

    def spent(self, seconds: float, n_steps: int | None = None) -> None:
        """Add to the time, and the steps where they are known, that training took."""
        self.numbers["seconds"] = round(self.numbers.get("seconds", 0.0) + seconds, 3)
        if n_steps is not None:
            self.numbers["n_steps"] = self.numbers.get("n_steps", 0) + n_steps

    def note(self, **numbers: float) -> None:
        """Keep numbers, to five digits."""
        self.numbers |= {k: float(f"{v:.5g}") for k, v in numbers.items()}
