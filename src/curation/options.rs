//! The thresholds of curation and their defaults.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Error, Named, Result};

/// Each threshold once: its help, name, type, default and bounds.
macro_rules! options {
    ($(#[doc = $help:literal] $name:ident: $kind:ty = $default:literal in $bounds:expr,)*) => {
        /// The thresholds. `benchmarks/README.md` reports the measurements behind the defaults.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        pub struct Options {
            $(#[doc = $help] pub $name: $kind,)*
        }

        impl Default for Options {
            fn default() -> Self {
                Options { $($name: $default,)* }
            }
        }

        /// Name and help of every option, in the order of the struct.
        pub const OPTIONS: &[(&str, &str)] = &[$((stringify!($name), $help.trim_ascii()),)*];

        impl Options {
            fn check(&self) -> Result<()> {
                $(within(stringify!($name), self.$name.into(), $bounds)?;)*
                Ok(())
            }
        }
    };
}

options! {
    /// pixels along a picture's shorter side; below, it is tiny
    min_side: u32 = 64 in 0.0..=4e9,
    /// longer side over shorter side; above, it is extreme
    max_aspect: f64 = 4.0 in 1.0..=1e9,
    /// standard deviation of the brightness in grey levels; below, a picture is blank
    min_spread: f64 = 2.0 in 0.0..=255.0,
    /// share of an article's border with the background's colour; below, it is no packshot
    min_plain: f64 = 0.7 in 0.0..=1.0,
    /// share of an article's colours that its photo holds; below, the pair is wrong
    min_colours: f64 = 0.4 in 0.0..=1.0,
    /// bits of 64 that the hashes of two pictures may differ in for them to be compared
    hash_distance: u32 = 16 in 0.0..=64.0,
    /// mean difference in grey levels up to which two photos are one
    human_difference: f64 = 10.0 in 0.0..=255.0,
    /// mean difference in grey levels up to which two articles are one
    article_difference: f64 = 6.0 in 0.0..=255.0,
}

impl Options {
    /// Returns the defaults with the given values in their place.
    ///
    /// # Errors
    /// [`Error::UnknownName`] for a name that is no option, [`Error::Setting`] for a value of the wrong kind or outside
    /// its limits.
    ///
    /// ```
    /// use cagan::curation::Options;
    /// let given = serde_json::json!({"min_side": 100});
    /// let options = Options::with(given.as_object().unwrap()).unwrap();
    /// assert_eq!((options.min_side, options.max_aspect), (100, Options::default().max_aspect));
    /// ```
    pub fn with(given: &Map<String, Value>) -> Result<Options> {
        let Ok(Value::Object(mut map)) = serde_json::to_value(Options::default()) else {
            unreachable!("options are a map of numbers")
        };
        for (name, value) in given {
            let names = OPTIONS.iter().map(|option| option.0);
            let old = map.get_mut(name);
            let old = old.ok_or_else(|| Error::unknown(Named::Setting, name, names))?;
            let number = value.as_f64();
            *old = match (old.is_u64(), number) {
                (true, Some(n)) if n.fract() == 0.0 && (0.0..4e9).contains(&n) => (n as u32).into(),
                (true, _) => return Err(Error::setting(name, "a whole number", value)),
                (false, Some(n)) => n.into(),
                (false, None) => return Err(Error::setting(name, "a number", value)),
            };
        }
        let options: Options = serde_json::from_value(map.into()).expect("numbers of their kinds");
        options.check()?;
        Ok(options)
    }
}

fn within(name: &str, value: f64, bounds: RangeInclusive<f64>) -> Result<()> {
    match bounds.contains(&value) {
        true => Ok(()),
        false => Err(Error::setting(name, format!("between {} and {}", bounds.start(), bounds.end()), value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(given: Value) -> String {
        let map = given.as_object().unwrap();
        Options::with(map).unwrap_err().to_string()
    }

    #[test]
    fn errors_name_the_option_and_the_expected_value() {
        assert_eq!(
            refusal(serde_json::json!({"min_sides": 3})),
            "unknown setting `min_sides`, did you mean `min_side`?"
        );
        assert_eq!(refusal(serde_json::json!({"min_side": 3.5})), "min_side: expected a whole number, got 3.5");
        assert_eq!(refusal(serde_json::json!({"min_plain": 2})), "min_plain: expected between 0 and 1, got 2");
    }

    #[test]
    fn the_list_is_the_struct() {
        let map = serde_json::to_value(Options::default()).unwrap();
        let names: Vec<&str> = OPTIONS.iter().map(|option| option.0).collect();
        assert_eq!(map.as_object().unwrap().keys().collect::<Vec<_>>(), names);
        assert_eq!(Options::with(&Map::new()).unwrap(), Options::default());
    }
}
