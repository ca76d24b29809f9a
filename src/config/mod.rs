//! Every setting of a run: the table (`settings`), the choices among named values, the rules between settings, the
//! presets as rows of differences. A [`Config`] holds settings that passed every check, and nothing outside this folder
//! makes one without them.

mod checked;
mod choices;
mod device;
mod field;
mod moment;
mod presets;
mod rules;
mod settings;

pub use checked::Config;
pub use choices::{
    AdversarialLoss, Architecture, Copies, DiscriminatorNorm, Fit, LoaderMode, NormGradient, OnNonFinite, Precision,
    Preset, Reverse, Schedule,
};
pub use device::torch_device;
pub use field::{Bounds, Field, Kind};
pub use moment::Moment;
pub use settings::{FIELDS, Settings};
