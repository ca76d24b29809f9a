"""The types of presets and settings, for type checkers and editors; written by tools/settings_stub.py."""

from os import PathLike
from typing import TYPE_CHECKING, Literal, TypeAlias, TypedDict

if TYPE_CHECKING:
    import torch

__all__ = ["Preset", "Settings", "Which"]

Preset: TypeAlias = Literal["kisekae", "vasily", "paper", "smoke"]
# The snapshot of a run: the best, the newest, or that of a step.
Which: TypeAlias = Literal["best", "newest"] | int


class Settings(TypedDict, total=False):
    """Every setting of `cagan.Config` as a keyword."""

    architecture: Literal["vasily", "paper", "kisekae"]
    image_size: int | tuple[int, int]
    width: int
    generator_copies: Literal["none", "worn", "target"]
    discriminator_copies: bool
    discriminator_noise: float
    human_fit: Literal["crop", "pad", "stretch"]
    article_fit: Literal["crop", "pad", "stretch"]
    crop_margin: int
    flip: bool
    colour_jitter: float
    identity_weight: float
    cycle_weight: float
    adversarial_weight: float
    warp_weight: float
    bending_weight: float
    adversarial_loss: Literal["logistic", "hinge", "least_squares"]
    reverse: Literal["through", "detached"]
    reverse_noise: float
    self_swap_weight: float
    mask_tv_weight: float
    mask_binary_weight: float
    feature_weight: float
    perceptual_weight: float
    r1_weight: float
    r1_every: int
    augment_colour: bool
    augment_translation: bool
    augment_cutout: bool
    norm_gradient: Literal["picture", "batch"]
    discriminator_norm: Literal["instance", "none"]
    discriminator_spectral_norm: bool
    discriminator_scales: int
    place_after: int | str
    judge_after: int | str
    full_size_after: int | str
    withhold_worn: float
    mask_cut: float
    learning_rate: float
    discriminator_learning_rate: float | None
    schedule: Literal["constant", "linear", "cosine"]
    schedule_start: int | str
    schedule_end: int | str
    gradient_clip: float
    adam_beta1: float
    adam_beta2: float
    adam_epsilon: float
    ema_images: int
    ema_rampup: float
    batch_size: int
    epochs: int
    steps: int | None
    images: int | None
    time_limit_s: float | None
    seed: int
    init_from: str | PathLike[str]
    freeze_discriminator: int
    log_every: int
    sample_every: int
    snapshot_every: int
    checkpoint_every: int
    keep_checkpoints: int
    on_non_finite: Literal["stop", "rollback"]
    monitor_every: int
    early_stop: int
    sample_humans: int
    sample_articles: int
    device: "str | torch.device"
    threads: int
    loader: Literal["auto", "resident", "streaming"]
    loader_workers: int
    loader_prefetch: int
    precision: Literal["fp32", "tf32", "bf16"]
    cuda_graph: bool
