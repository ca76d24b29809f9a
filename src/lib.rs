//! Swaps fashion articles on photos of people. The crate learns from pairs of a person and the product picture of the
//! article that the person wears, and then puts any other article on that person.
//!
//! ```
//! use cagan::config::{Config, Preset};
//! use cagan::data::{Options, Pairs};
//! use cagan::inference::{Request, Swapper, Which};
//! use cagan::training::{Resume, train};
//!
//! let folder = tempfile::tempdir()?;
//! let (dolls, run) = (folder.path().join("dolls"), folder.path().join("run"));
//! cagan::dolls::write(&dolls, 8, 0, [64, 64], 0)?; // 8 pairs of seed 0, 64 x 64, without true swaps
//! let pairs = Pairs::open(&dolls, &Options::default())?;
//! let config = Config::with(Preset::Smoke, serde_json::json!({"steps": 2}))?;
//! train(&pairs, &run, config, Resume::Auto, &mut |_| true)?;
//!
//! let swapper = Swapper::open(&run, "cpu", Which::Best)?;
//! let read = |picture: &cagan::data::Source| picture.decode().map(std::sync::Arc::unwrap_or_clone);
//! let [first, second] = [pairs.pair(0), pairs.pair(1)];
//! let (human, worn, target) = (read(&first.human)?, read(&first.article)?, read(&second.article)?);
//! let swaps = swapper.swap(&[Request { human, worn: Some(worn), target }])?;
//! assert_eq!(swaps[0].size, [64, 64]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Methods
//!
//! The default preset, `kisekae`, is ours. It erases the garment and repaints it:
//!
//! ```text
//! erased    = human with a region removed
//! restored  = painter(erased, worn)                   learns to equal human inside the region
//! gain      = error with target - error with worn     large where the worn article is
//! located   = locator(human, worn)                    learns where the gain is
//! placed    = placer(erased, article)                 learns located from the erased person
//! warped    = article moved to its place              learns to equal human where located
//! swapped   = painter(human without located and placed, target)
//! D learns    restored and swapped are fake, human is real
//! G learns    restore + warp + place + locate + D(restored, swapped) is real
//! ```
//!
//! `paper` (Jetchev & Bergmann, arXiv 1709.04695) and `vasily` (a 2017 article on swimwear) are the published method,
//! the Conditional Analogy GAN:
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
//! # Floors
//!
//! Each sees only the floors below it:
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
