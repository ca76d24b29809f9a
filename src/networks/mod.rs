//! The networks of both methods: a generator of swaps, and a discriminator. `published/` has those of the paper and of
//! the article, `kisekae/` ours. [`Generator`] and [`Discriminator`] choose between them.

mod activation;
mod batch;
mod conv;
mod discriminator;
mod fused;
mod generator;
mod judgement;
pub mod kisekae;
mod norm;
mod parameters;
mod plain;
mod precision;
mod products;
mod published;
mod pyramid;
mod swap;
mod weight;

pub use batch::batch_within;
pub use discriminator::Discriminator;
pub use generator::Generator;
pub use judgement::Judgement;
pub use parameters::{Parameters, Path};
pub use precision::{computes_channels_last, use_precision, use_precision_in_steps};
pub use published::{PairDiscriminator, noise_shapes};
pub use pyramid::Pyramid;
pub use swap::{Detail, Swap, composite};
