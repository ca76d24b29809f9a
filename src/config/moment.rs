//! A moment of a run: a number of images seen, or a share of the run's length.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// The largest share in per cent.
const LARGEST: f64 = 1000.0;

/// A moment of a run. In JSON it is a number of images, or a share such as `"48.08%"`.
///
/// ```
/// use cagan::config::Moment;
/// let half: Moment = serde_json::from_str("\"50%\"")?;
/// assert_eq!(half, Moment::Share(50.0));
/// // Whole steps of a run of 5 steps with 8 images each.
/// assert_eq!(half.resolved(5, 8), Moment::Images(24));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Moment {
    /// Images seen.
    Images(u64),
    /// A share of the run's length, in per cent.
    Share(f64),
}

impl Moment {
    /// The images of a moment; `u64::MAX` for a share, which a trainer resolves before it begins.
    pub fn images(self) -> u64 {
        match self {
            Moment::Images(images) => images,
            Moment::Share(_) => u64::MAX,
        }
    }

    /// The moment as images: a share of that many steps, rounded to whole steps.
    pub fn resolved(self, steps: u64, batch: u64) -> Moment {
        match self {
            Moment::Images(_) => self,
            Moment::Share(share) => {
                Moment::Images(((share / 100.0 * steps as f64).round() as u64).saturating_mul(batch))
            }
        }
    }

    /// The share of a text such as `48.08%`.
    pub(super) fn of_text(text: &str) -> Option<Moment> {
        let share: f64 = text.strip_suffix('%')?.trim_end().parse().ok()?;
        (0.0..=LARGEST).contains(&share).then_some(Moment::Share(share))
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Moment::Images(images) => serializer.serialize_u64(*images),
            Moment::Share(share) => serializer.serialize_str(&format!("{share}%")),
        }
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let moment = match &value {
            Value::String(text) => Moment::of_text(text),
            other => other.as_u64().map(Moment::Images),
        };
        moment.ok_or_else(|| D::Error::custom(format!("expected images or a share as \"50%\", got {value}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_round_to_whole_steps_and_write_themselves() {
        // kisekae's own: 5,200 steps of 8 images.
        let at = |share| Moment::Share(share).resolved(5200, 8);
        assert_eq!([13.46, 48.08, 158.65].map(at), [5600, 20_000, 66_000].map(Moment::Images));
        let text = serde_json::to_string(&Moment::Share(13.46)).unwrap();
        assert_eq!((text.as_str(), Moment::of_text("13.46 %")), ("\"13.46%\"", Some(Moment::Share(13.46))));
        for wrong in ["50", "%", "-1%", "1001%", "NaN%", "half%"] {
            assert_eq!(Moment::of_text(wrong), None, "{wrong}");
        }
    }
}
