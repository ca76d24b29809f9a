//! The Conditional Analogy GAN (Jetchev & Bergmann, arXiv 1709.04695) on libtorch: it learns from pairs of a person and
//! the product picture of what that person wears to put any other article on that person.
//!
//! One step, in ten lines:
//!
//! ```text
//! swap      = G(human, worn, target)                  mask, paint, composite = mask * paint + (1 - mask) * human
//! logits    = D(matched | swapped | mismatched)       (human, worn) | (composite, target) | (human, target)
//! D learns    matched is real, swapped and mismatched are fake
//! restored  = G(composite, target, worn)              dressed back
//! G learns    D(swapped) is real                      adversarial
//!           + identity_weight * mean mask             identity: repaint little
//!           + cycle_weight * mean |human - restored|  cycle: lose nothing of the person
//! ```
//!
//! The floors, each of which sees only the ones below it:
//!
//! | floor | modules |
//! | --- | --- |
//! | 7 | `bindings` (Python, behind the feature `python`) |
//! | 6 | [`training`], [`inference`] |
//! | 5 | [`curation`], [`metrics`] |
//! | 4 | [`losses`] |
//! | 3 | [`data`], [`networks`], [`dolls`] |
//! | 2 | [`pixels`], [`random`], [`storage`] |
//! | 1 | [`config`], [`native`] |
//! | 0 | `error` |

pub mod config;
pub mod curation;
pub mod data;
pub mod dolls;
mod error;
pub mod inference;
pub mod losses;
pub mod metrics;
pub mod native;
pub mod networks;
pub mod pixels;
pub mod random;
pub mod storage;
pub mod training;

#[cfg(feature = "python")]
mod bindings;

pub use config::Config;
pub use error::{AtPath, Error, Named, Result};
