//! The choices among named values, each an enum.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Named};

/// Declares an enum whose values have names: in JSON, in Python and on the command line.
macro_rules! choices {
    ($( $(#[$meta:meta])* $choice:ident { $( $(#[$note:meta])* $value:ident = $name:literal, )+ } )+) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $choice {
            $( $(#[$note])* #[serde(rename = $name)] $value, )+
        }

        impl $choice {
            /// All values.
            pub const ALL: &[$choice] = &[$($choice::$value),+];
            /// Their names, in the same order.
            pub const NAMES: &[&str] = &[$($name),+];

            /// The name of the value.
            pub fn name(self) -> &'static str {
                match self { $($choice::$value => $name),+ }
            }
        }
    )+};
}

choices! {
    /// A named row of differences from the defaults.
    #[derive(Default)]
    Preset {
        /// Ours: erases the garment and repaints it, knowing the article.
        #[default]
        Kisekae = "kisekae",
        /// The 2017 article on swimwear.
        Vasily = "vasily",
        /// Jetchev & Bergmann, arXiv 1709.04695.
        Paper = "paper",
        /// The article's networks, tiny: seconds on a CPU, for tests.
        Smoke = "smoke",
    }

    /// The networks.
    Architecture {
        /// The article's: added skips, sigmoid paint, a linear head on the discriminator.
        Vasily = "vasily",
        /// The paper's: concatenated skips, copies of the inputs, tanh paint, a patch discriminator.
        Paper = "paper",
        /// Ours: a painter, a locator, a placer, and a discriminator of painted regions.
        Kisekae = "kisekae",
    }

    /// The two pictures that the paper's generator sees again at every intermediate layer.
    Copies {
        /// No pair.
        None = "none",
        /// (human, worn), as the paper has it.
        Worn = "worn",
        /// (human, target).
        Target = "target",
    }

    /// How a picture of another aspect is brought to the networks' size.
    Fit {
        /// Cuts out the middle, as large as the aspect allows.
        Crop = "crop",
        /// Keeps the whole picture and adds bars in the colour of its border.
        Pad = "pad",
        /// Keeps the whole picture and changes its aspect.
        Stretch = "stretch",
    }

    /// Where the pictures of the pairs are kept.
    LoaderMode {
        /// Resident if they fit into memory, else streaming.
        Auto = "auto",
        /// Decoded once and kept on the training device.
        Resident = "resident",
        /// Decoded anew for each batch by worker threads, ahead of the training.
        Streaming = "streaming",
    }

    /// How the learning rates fall.
    Schedule {
        /// The rates stay.
        Constant = "constant",
        /// The rates fall along a line.
        Linear = "linear",
        /// The rates fall along half a cosine wave.
        Cosine = "cosine",
    }

    /// The reaction to a loss or a weight that became non-finite.
    OnNonFinite {
        /// Ends with an error.
        Stop = "stop",
        /// Returns to the last checkpoint and goes on at half the rate.
        Rollback = "rollback",
    }

    /// Number format of the convolutions. Parameters, norm statistics and losses are float32 in all of them.
    Precision {
        /// float32.
        Fp32 = "fp32",
        /// float32 whose products CUDA rounds to ten bits of mantissa; equals `Fp32` on a CPU.
        Tf32 = "tf32",
        /// bfloat16 working copies of the weights, bfloat16 activations.
        Bf16 = "bf16",
    }

    /// The form of L_cGAN.
    AdversarialLoss {
        /// Cross-entropy with the non-saturating generator loss, as in both sources.
        Logistic = "logistic",
        /// Lim & Ye 2017, arXiv 1705.02894.
        Hinge = "hinge",
        /// Mao et al. 2017, arXiv 1611.04076.
        LeastSquares = "least_squares",
    }

    /// The input of the second swap, which dresses the person back.
    Reverse {
        /// The composite with its gradient: the cycle loss trains both swaps (A, P).
        Through = "through",
        /// The composite without its gradient: the cycle loss trains the second swap alone.
        Detached = "detached",
    }

    /// The norm of the discriminator's layers but the first.
    DiscriminatorNorm {
        /// Each picture's and channel's own mean and variance, as the article's.
        Instance = "instance",
        /// No norm.
        None = "none",
    }

    /// The means that the instance norms' backward pass takes.
    NormGradient {
        /// Each picture's own, which is the true derivative.
        Picture = "picture",
        /// The batch's: the fault of a dependency of the article's code, kept to study its effect.
        Batch = "batch",
    }
}

impl std::str::FromStr for Preset {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let found = Preset::ALL.iter().copied().find(|preset| preset.name() == name);
        found.ok_or_else(|| Error::unknown(Named::Preset, name, Preset::NAMES.to_vec()))
    }
}

impl Precision {
    /// The number format of the activations.
    pub fn kind(self) -> tch::Kind {
        match self {
            Precision::Fp32 | Precision::Tf32 => tch::Kind::Float,
            Precision::Bf16 => tch::Kind::BFloat16,
        }
    }
}

impl Architecture {
    /// How many times the networks halve pictures of a size.
    ///
    /// ```
    /// use cagan::config::Architecture::{Kisekae, Vasily};
    /// assert_eq!(Vasily.halvings([64, 64]), 5);
    /// // Down to 4 x 3.
    /// assert_eq!(Kisekae.halvings([64, 48]), 4);
    /// assert_eq!(Kisekae.halvings([512, 384]), 7);
    /// ```
    pub fn halvings(self, image_size: [i64; 2]) -> u32 {
        match self {
            Architecture::Vasily => 5,
            Architecture::Paper => 4,
            Architecture::Kisekae => {
                let shorter = image_size[0].min(image_size[1]);
                let halvings = (1..).take_while(|k| shorter >> k >= 3).count() as u32;
                halvings.max(3)
            }
        }
    }

    /// How many times pictures of a size are halved to the size at which training begins: about 64 x 48 (kisekae), or
    /// that size itself.
    ///
    /// ```
    /// use cagan::config::Architecture::{Kisekae, Paper};
    /// assert_eq!([[64, 48], [128, 96], [512, 384]].map(|size| Kisekae.enlargements(size)), [0, 1, 3]);
    /// assert_eq!(Paper.enlargements([512, 384]), 0);
    /// ```
    pub fn enlargements(self, image_size: [i64; 2]) -> u32 {
        /// The halvings of pictures of 64 x 48.
        const COARSEST: u32 = 4;
        match self {
            Architecture::Vasily | Architecture::Paper => 0,
            Architecture::Kisekae => self.halvings(image_size).saturating_sub(COARSEST),
        }
    }
}
