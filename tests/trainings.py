"""Small trainings, for the tests of the loop, of its schedules and of its state."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from aaekit.core.batches import Minibatches
from aaekit.core.callbacks import Callback
from aaekit.core.loop import Training
from aaekit.core.phase import Phase, Step, match
from aaekit.core.settings import Settings
from aaekit.divergences import GAN
from aaekit.losses import classification_loss, reconstruction_loss
from aaekit.nn.encoder import Decoder, Encoder
from aaekit.nn.step import EncoderStep

N, D, BATCH, LATENT_DIM = 20, 4, 5, 2
STEPS_PER_EPOCH = N // BATCH
DEFAULTS = Settings(n_steps=12, precision="float32")


class Networks(nn.Module):
    """Any modules, by attribute."""

    def __init__(self, **modules: nn.Module) -> None:
        super().__init__()
        for name, module in modules.items():
            setattr(self, name, module)


def aae(settings=DEFAULTS, evaluate=None, seed=0, critic_steps=1) -> Training:
    """An adversarial autoencoder with dropout, batch norm and noise."""
    torch.manual_seed(seed)
    backbone = nn.Sequential(nn.Linear(D, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3))
    encoder = Encoder(backbone, 8, LATENT_DIM, n_classes=3, posterior="gaussian")
    decoder = Decoder(nn.Linear(3 + LATENT_DIM, D), unit_range=True)
    critic = nn.Sequential(nn.Linear(LATENT_DIM, 8), nn.ReLU(), nn.Linear(8, 1))
    nets = Networks(encoder=encoder, decoder=decoder, critic=critic)
    gan = GAN()
    gan.critic_steps = critic_steps
    phases = [
        Phase("reconstruction", lambda step: reconstruction_loss(step, "bernoulli"), (encoder, decoder),
              learning_rate=0.01),
        *match("z", lambda step: step.code().z, lambda step: torch.randn_like(step.rows["unlabelled"][:, :LATENT_DIM]),
               gan, critic, [encoder], critic_rate=0.02, generator_rate=0.005),
        Phase("classification", classification_loss, (encoder,), learning_rate=0.01),
    ]  # fmt: skip
    data = torch.Generator().manual_seed(9)
    X, y = torch.rand(N, D, generator=data), torch.randint(3, (N,), generator=data)
    minibatches = {"unlabelled": Minibatches([X], BATCH, 1), "labelled": Minibatches([X[:7], y[:7]], 3, 2)}

    def make_step(batch):
        return EncoderStep(
            {view: arrays[0] for view, arrays in batch.items()},
            encoder,
            decoder,
            labels={"labelled": batch["labelled"][1]},
            corrupt=lambda x: x + 0.1 * torch.randn_like(x),
            together=settings.schedule == "joint",
        )

    return Training(nets, phases, minibatches, make_step, settings, evaluate)


def trained(*args, **options) -> Training:
    training = aae(*args, **options)
    training.run()
    return training


def toy(phases, settings=DEFAULTS, evaluate=None, rows=None, batch_size=2, **modules) -> Training:
    """Phases over any modules; minibatches are in `step.batch["x"][0]`."""
    rows = torch.arange(4.0)[:, None] if rows is None else rows
    return Training(Networks(**modules), phases, {"x": Minibatches([rows], batch_size, 0)}, Step, settings, evaluate)


def line(settings=DEFAULTS, evaluate=None, rate=0.1, momentum=0.0) -> Training:
    """One weight on its way to the mean of the rows."""
    net = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(net.weight)

    def squared(step):
        x = step.batch["x"][0]
        return 0.5 * (net(torch.ones_like(x)) - x).square().mean()

    phase = Phase("distance", squared, (net,), learning_rate=rate)
    return toy([phase], replace(settings, momentum=momentum), evaluate, net=net)


def weights(training, which="networks") -> list[Tensor]:
    return [v.cpu().clone() for v in getattr(training, which).state_dict().values()]


def all_equal(a, b) -> bool:
    return len(a) == len(b) and all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def without_times(history):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in history]


def scored(scores, seen=None):
    """An evaluation that gives these scores, one after the other, and records the networks in `seen`."""
    scores = iter(scores)

    def evaluate(nets):
        if seen is not None:
            seen.append((nets.training, [v.cpu().clone() for v in nets.state_dict().values()]))
        return {"validation/score": next(scores), "validation/error": 1.0}

    return evaluate


class Recorder(Callback):
    """The calls in their order; interrupts the training after a step if asked to."""

    def __init__(self, stop_at=None):
        self.calls, self.stop_at = [], stop_at

    def start(self, training):
        self.calls.append(("start", training.n_done))

    def step(self, training):
        self.calls.append(("step", training.n_done))
        if training.n_done == self.stop_at:
            raise KeyboardInterrupt

    def epoch(self, training, row):
        self.calls.append(("epoch", row["epoch"]))
        self.row = dict(row)

    def stop(self, training, complete):
        self.calls.append(("stop", complete))
