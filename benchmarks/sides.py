"""The implementations that are compared. Each trains for some steps and returns the seconds per step after warm-up.

All of them have the same networks (encoder 784-1000-1000-10, its mirror image, discriminators of 10-1000-1000-1), the
same batch size, Adam, and the same losses; only the way in which they take a step differs.
"""

import itertools
import logging
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from aaekit import AdversarialAutoencoder, SemiSupervisedAAE
from aaekit.core.callbacks import Callback
from aaekit.core.loop import Training
from aaekit.nn.backbones import dense

WIDTHS, N_CODE, N_CLASSES, WARMUP = (1000, 1000), 10, 10, 3
N_PIXELS = 784


class Stopwatch(Callback):
    """Records when each step ended."""

    def __init__(self) -> None:
        self.ended: list[float] = []

    def step(self, training: Training) -> None:
        self.ended.append(time.perf_counter())

    def seconds(self) -> float:
        """Mean seconds per step after warm-up."""
        return (self.ended[-1] - self.ended[WARMUP - 1]) / (len(self.ended) - WARMUP)


# --- aaekit ----------------------------------------------------------------------------------------------------------
COMMON = {
    "hidden": WIDTHS,
    "discriminator_hidden": WIDTHS,
    "latent_dim": N_CODE,
    "backbone": "mlp",
    "dropout": 0.0,
    "batch_norm": False,
    "input_noise": 0.0,
    "ema_decay": 0.0,
    "optimizer": ("adam", 0.5),
    "random_state": 0,
}
GENERATOR = {"reconstruction": "bernoulli", "discriminator_dropout": 0.0}  # besides those, for the plain model


def adversarial_autoencoder(
    schedule: str, precision: str, stopwatch: type[Stopwatch] = Stopwatch
) -> Callable[..., float]:
    """A plain adversarial autoencoder, trained by `AdversarialAutoencoder.fit`."""

    def run(X: np.ndarray, batch: int, steps: int) -> float:
        watch = stopwatch()
        how = {"schedule": schedule, "precision": precision, "batch_size": batch, "max_steps": steps}
        AdversarialAutoencoder(**COMMON, **GENERATOR, **how).fit(X, callbacks=[watch])
        return watch.seconds()

    return run


def semi_supervised_aae(schedule: str, precision: str) -> Callable[..., float]:
    """A semi-supervised model, trained by `SemiSupervisedAAE.fit`, with the losses of the textbook loop only."""

    def run(X: np.ndarray, y: np.ndarray, batch: int, steps: int) -> float:
        watch = Stopwatch()
        how = {"schedule": schedule, "precision": precision, "batch_size": (batch, batch), "max_steps": steps}
        off = {"augmentation": "none", "consistency": "none", "loss_weights": {"marginal_kl": 0, "soft_label": 0}}
        SemiSupervisedAAE(**COMMON, **how, **off).fit(X, y, callbacks=[watch])
        return watch.seconds()

    return run


def default_classifier(precision: str) -> Callable[..., float]:
    """`SemiSupervisedAAE.fit` as it is by default."""

    def run(X: np.ndarray, y: np.ndarray, steps: int) -> float:
        watch = Stopwatch()
        SemiSupervisedAAE(precision=precision, max_steps=steps, n_init=1, random_state=0).fit(X, y, callbacks=[watch])
        return watch.seconds()

    return run


# --- matrix products alone -------------------------------------------------------------------------------------------
class _Products(TorchDispatchMode):
    """Records the matrix products: the operator, and sizes and strides of its operands."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[tuple[Callable[..., Tensor], list[tuple[torch.Size, tuple[int, ...]]]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.ops.aten.mm.default, torch.ops.aten.addmm.default):
            self.made.append((func, [(a.size(), a.stride()) for a in args]))
        return func(*args, **(kwargs or {}))


def products_of(side: Callable[..., float]) -> Callable[..., float]:
    """The matrix products of one step of a side and nothing else: a lower bound for the time of a step."""

    def run(*arguments: Any) -> float:
        *rows, steps = arguments
        with _Products() as products:
            side(*rows, WARMUP + 1)
        of_a_step = products.made[-(len(products.made) // (WARMUP + 1)) :]
        operands = [(f, [torch.empty_strided(*shape).normal_() for shape in shapes]) for f, shapes in of_a_step]
        watch = Stopwatch()
        for _ in range(steps):
            for multiply, factors in operands:
                multiply(*factors)
            watch.ended.append(time.perf_counter())
        return watch.seconds()

    return run


# --- networks of the others ------------------------------------------------------------------------------------------
def encoder(n_out: int = N_CODE) -> nn.Sequential:
    """784-1000-1000-10."""
    return nn.Sequential(*dense([N_PIXELS, *WIDTHS]), nn.Linear(WIDTHS[-1], n_out))


def decoder(n_in: int = N_CODE) -> nn.Sequential:
    """The mirror image, before the sigmoid."""
    return nn.Sequential(*dense([n_in, *reversed(WIDTHS)]), nn.Linear(WIDTHS[0], N_PIXELS))


def discriminator(n_in: int = N_CODE) -> nn.Sequential:
    """10-1000-1000-1, before the sigmoid."""
    return nn.Sequential(*dense([n_in, *WIDTHS]), nn.Linear(WIDTHS[-1], 1))


# --- pythae ----------------------------------------------------------------------------------------------------------
def pythae(X: np.ndarray, batch: int, steps: int, no_cuda: bool = True) -> float:
    """`AdversarialTrainer` of pythae, with its defaults except networks, batch size and learning rates."""
    from pythae.data.datasets import BaseDataset
    from pythae.models import Adversarial_AE, Adversarial_AE_Config
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseDiscriminator, BaseEncoder
    from pythae.trainers import AdversarialTrainer, AdversarialTrainerConfig

    logging.getLogger("pythae.trainers.base_trainer.base_trainer").setLevel(logging.ERROR)

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.net = encoder()

        def forward(self, x: Tensor) -> ModelOutput:
            z = self.net(x.flatten(1))
            return ModelOutput(embedding=z, log_covariance=torch.zeros_like(z))

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            self.net = decoder()

        def forward(self, z: Tensor) -> ModelOutput:
            return ModelOutput(reconstruction=self.net(z).sigmoid())

    class Discriminator(BaseDiscriminator):
        def __init__(self) -> None:
            super().__init__()
            self.net = discriminator()

        def forward(self, z: Tensor) -> ModelOutput:
            return ModelOutput(embedding=self.net(z).sigmoid())

    class Timed(AdversarialTrainer):
        def _optimizers_step(self, model_output: ModelOutput) -> None:
            super()._optimizers_step(model_output)
            watch.ended.append(time.perf_counter())

    watch = Stopwatch()
    config = Adversarial_AE_Config(
        input_dim=(N_PIXELS,), latent_dim=N_CODE, deterministic_posterior=True, reconstruction_loss="bce"
    )
    model = Adversarial_AE(config, encoder=Encoder(), decoder=Decoder(), discriminator=Discriminator())
    rows = torch.from_numpy(X[: batch * steps]).flatten(1).float() / 255
    with tempfile.TemporaryDirectory() as folder:
        settings = AdversarialTrainerConfig(
            output_dir=folder, num_epochs=1, per_device_train_batch_size=batch, no_cuda=no_cuda,
            autoencoder_learning_rate=1e-3, discriminator_learning_rate=1e-3,
        )  # fmt: skip
        trainer = Timed(model, train_dataset=BaseDataset(rows, torch.zeros(len(rows))), training_config=settings)
        trainer.callback_handler = _Silent()
        trainer.set_autoencoder_optimizer()
        trainer.set_discriminator_optimizer()
        trainer.train_step(1)  # it reads each loss, which waits for a graphics card
    return watch.seconds()


class _Silent:
    """Replaces pythae's progress bar."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_, **__: None


# --- the textbook loop of lecture 54: one phase after another, each with its own optimiser ----------------------------
class Pictures(torch.utils.data.Dataset):
    """Converts each image from bytes to a PIL image to a tensor, as torchvision's data sets do."""

    def __init__(self, X: np.ndarray, y: np.ndarray) -> None:
        self.X, self.y = X, y

    def __len__(self) -> int:
        return len(self.X)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        from PIL import Image

        image = Image.fromarray(self.X[i].reshape(28, 28))
        x = torch.from_numpy(np.array(image, copy=True)).view(28, 28, 1).permute(2, 0, 1).contiguous()
        return x.float().div(255), int(self.y[i])


def by_picture(X: np.ndarray, y: np.ndarray, batch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Minibatches from a DataLoader that converts images one by one."""
    loader = torch.utils.data.DataLoader(Pictures(X, y), batch_size=batch, shuffle=True, drop_last=True)
    return itertools.chain.from_iterable(itertools.repeat(loader))


def by_index(X: np.ndarray, y: np.ndarray, batch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Minibatches of a float tensor in memory."""
    rows, labels = torch.from_numpy(X).float() / 255, torch.from_numpy(y)
    while True:
        for chosen in torch.randperm(len(rows)).split(batch):
            if len(chosen) == batch:
                yield rows[chosen], labels[chosen]


def textbook(minibatches: Callable[..., Iterator]) -> Callable[[np.ndarray, int, int], float]:
    """Reconstruction, discriminator and generator, each with a forward pass, a backward pass and Adam."""

    def run(X: np.ndarray, batch: int, steps: int) -> float:
        torch.manual_seed(0)
        q, p, d = encoder(), decoder(), discriminator()
        q_rec, q_gen = (torch.optim.Adam(q.parameters(), r) for r in (1e-3, 1e-3))
        p_rec, d_opt = torch.optim.Adam(p.parameters(), 1e-3), torch.optim.Adam(d.parameters(), 1e-3)
        watch, eps = Stopwatch(), 1e-15
        for x, _ in itertools.islice(minibatches(X, np.zeros(len(X), int), batch), steps):
            for net in (q, p, d):
                net.zero_grad()
            x = x.flatten(1)
            F.binary_cross_entropy(p(q(x)).sigmoid() + eps, x + eps).backward()
            q_rec.step()
            p_rec.step()
            q.eval()
            fake, real = d(q(x)).sigmoid(), d(torch.randn(batch, N_CODE)).sigmoid()
            (-((real + eps).log().mean() + (1 - fake + eps).log().mean())).backward()
            d_opt.step()
            q.train()
            for net in (q, p, d):
                net.zero_grad()
            (-(d(q(x)).sigmoid() + eps).log().mean()).backward()
            q_gen.step()
            watch.ended.append(time.perf_counter())
        return watch.seconds()

    return run


def textbook_with_labels(minibatches: Callable[..., Iterator]) -> Callable[..., float]:
    """The same with a categorical code, its discriminator, and classification of labelled rows."""

    def run(X: np.ndarray, y: np.ndarray, batch: int, steps: int) -> float:
        torch.manual_seed(0)
        labelled = np.flatnonzero(y >= 0)
        q, p = encoder(N_CODE + N_CLASSES), decoder(N_CODE + N_CLASSES)
        d_z, d_y = discriminator(), discriminator(N_CLASSES)
        nets = (q, p, d_z, d_y)
        q_rec, q_gen, q_cls = (torch.optim.Adam(q.parameters(), 1e-3) for _ in range(3))
        p_rec, d_opts = (
            torch.optim.Adam(p.parameters(), 1e-3),
            [torch.optim.Adam(d.parameters(), 1e-3) for d in (d_z, d_y)],
        )
        watch, eps = Stopwatch(), 1e-15

        def code(x: Tensor) -> tuple[Tensor, Tensor]:
            z, logits = q(x).split([N_CODE, N_CLASSES], 1)
            return z, logits.softmax(1)

        both = zip(minibatches(X, y, batch), minibatches(X[labelled], y[labelled], batch), strict=False)
        for (x, _), (x_labelled, labels) in itertools.islice(both, steps):
            for net in nets:
                net.zero_grad()
            x, x_labelled = x.flatten(1), x_labelled.flatten(1)
            z, c = code(x)
            F.binary_cross_entropy(p(torch.cat([c, z], 1)).sigmoid() + eps, x + eps).backward()
            q_rec.step()
            p_rec.step()
            z, c = code(x)
            prior = torch.randn(batch, N_CODE), F.one_hot(torch.randint(N_CLASSES, (batch,)), N_CLASSES).float()
            for d, fake, real, optimizer in zip((d_z, d_y), (z, c), prior, d_opts, strict=True):
                d.zero_grad()
                loss = (d(real).sigmoid() + eps).log().mean() + (1 - d(fake.detach()).sigmoid() + eps).log().mean()
                (-loss).backward()
                optimizer.step()
            for net in nets:
                net.zero_grad()
            z, c = code(x)
            (-((d_z(z).sigmoid() + eps).log().mean() + (d_y(c).sigmoid() + eps).log().mean())).backward()
            q_gen.step()
            q.zero_grad()
            F.cross_entropy(q(x_labelled)[:, N_CODE:], labels).backward()
            q_cls.step()
            watch.ended.append(time.perf_counter())
        return watch.seconds()

    return run
