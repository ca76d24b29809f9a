"""The plain PyTorch twin: both published networks and one training step, written from the sources, not from our core.

Parity tests compare the Rust core with it, and the benchmarks race the core against its fastest form.
"""

from .networks import PaperDiscriminator, PaperGenerator, VasilyDiscriminator, VasilyGenerator
from .step import Twin, build

__all__ = ["PaperDiscriminator", "PaperGenerator", "Twin", "VasilyDiscriminator", "VasilyGenerator", "build"]
