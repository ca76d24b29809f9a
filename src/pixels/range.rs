//! Value ranges: bytes to the networks' values and back.

use tch::{Kind, Tensor};

use crate::config::{Architecture, Config};

/// The values that stand for black and white in a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueRange {
    /// [0, 1].
    Unit,
    /// [-1, 1].
    Symmetric,
}

/// One grey level in each range.
const UNIT: f64 = 1.0 / 255.0;
const SYMMETRIC: f64 = 1.0 / 127.5;

impl Config {
    /// The value range of the config's networks: the article's is [0, 1], the paper's and ours [-1, 1].
    pub fn range(&self) -> ValueRange {
        match self.architecture {
            Architecture::Vasily => ValueRange::Unit,
            Architecture::Paper | Architecture::Kisekae => ValueRange::Symmetric,
        }
    }
}

impl ValueRange {
    /// White less black.
    pub fn span(self) -> f64 {
        match self {
            ValueRange::Unit => 1.0,
            ValueRange::Symmetric => 2.0,
        }
    }

    /// Mid-grey.
    pub fn middle(self) -> f64 {
        match self {
            ValueRange::Unit => 0.5,
            ValueRange::Symmetric => 0.0,
        }
    }

    /// Turns bytes into values.
    ///
    /// # Shapes
    /// `bytes`: any shape, uint8 or float32 levels of 0 to 255. Returns the same shape, float32, in the range.
    pub fn from_bytes(self, bytes: &Tensor) -> Tensor {
        let floats = bytes.to_kind(Kind::Float);
        match self {
            ValueRange::Unit => floats * UNIT,
            ValueRange::Symmetric => (floats * SYMMETRIC).g_sub_scalar_(1.0),
        }
    }

    /// Turns one byte into exactly the value of [`ValueRange::from_bytes`].
    pub fn from_byte(self, byte: u8) -> f32 {
        match self {
            ValueRange::Unit => f32::from(byte) * UNIT as f32,
            ValueRange::Symmetric => f32::from(byte) * SYMMETRIC as f32 - 1.0,
        }
    }

    /// Turns values into bytes: rounds to the nearest, clips to the range.
    ///
    /// # Shapes
    /// `values`: any shape, float. Returns the same shape, uint8.
    ///
    /// ```
    /// use cagan::pixels::ValueRange;
    /// let values = tch::Tensor::from_slice(&[-1.0f32, 0.0, 1.0]);
    /// let bytes = Vec::<u8>::try_from(ValueRange::Symmetric.to_bytes(&values)).unwrap();
    /// assert_eq!(bytes, [0, 128, 255]);
    /// ```
    pub fn to_bytes(self, values: &Tensor) -> Tensor {
        // In place: of a photo of 4 megapixels each copy takes 48 MB.
        let mut levels = match self {
            ValueRange::Unit => values * 255.0,
            ValueRange::Symmetric => (values + 1.0).g_mul_scalar_(127.5),
        };
        levels.g_add_scalar_(0.5).floor_().clamp_(0.0, 255.0).to_kind(Kind::Uint8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_survive_both_ranges() {
        let bytes = Tensor::arange(256, (Kind::Uint8, tch::Device::Cpu));
        for range in [ValueRange::Unit, ValueRange::Symmetric] {
            let values = range.from_bytes(&bytes);
            assert_eq!(range.to_bytes(&values), bytes);
            let singly: Vec<f32> = (0..=255).map(|byte| range.from_byte(byte)).collect();
            assert_eq!(Vec::<f32>::try_from(values).unwrap(), singly);
        }
        let ends = ValueRange::Symmetric.from_bytes(&Tensor::from_slice(&[0u8, 255]));
        assert_eq!(Vec::<f32>::try_from(ends).unwrap(), [-1.0, 1.0]);
    }
}
