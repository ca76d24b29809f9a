//! The thresholds of curation and their defaults.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// The thresholds. `benchmarks/README.md` reports the measurements behind the defaults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Options {
    /// Pixels along a picture's shorter side. A picture below is tiny.
    pub min_side: u32,
    /// Longer side over shorter side. An aspect above is extreme.
    pub max_aspect: f64,
    /// Standard deviation of the brightness in grey levels. A picture below is blank.
    pub min_spread: f64,
    /// Share of an article's border that has the background's colour. A picture below is no packshot.
    pub min_plain: f64,
    /// Share of an article's colours that its photo holds. A pair below is wrong.
    pub min_colours: f64,
    /// Bits of 64 that the perceptual hashes of two pictures may differ in for them to be compared.
    pub hash_distance: u32,
    /// Mean difference in grey levels up to which two photos, aligned and in equal light, are one.
    pub human_difference: f64,
    /// Mean difference in grey levels up to which two aligned articles are one.
    pub article_difference: f64,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            min_side: 64,
            max_aspect: 4.0,
            min_spread: 2.0,
            min_plain: 0.7,
            min_colours: 0.4,
            hash_distance: 16,
            human_difference: 10.0,
            article_difference: 6.0,
        }
    }
}

/// Name and help of every option, in the order of the struct.
#[rustfmt::skip]
pub const OPTIONS: &[(&str, &str)] = &[
    ("min_side", "pixels along a picture's shorter side; below, it is tiny"),
    ("max_aspect", "longer side over shorter side; above, it is extreme"),
    ("min_spread", "standard deviation of the brightness in grey levels; below, a picture is blank"),
    ("min_plain", "share of an article's border with the background's colour; below, it is no packshot"),
    ("min_colours", "share of an article's colours that its photo holds; below, the pair is wrong"),
    ("hash_distance", "bits of 64 that the hashes of two pictures may differ in for them to be compared"),
    ("human_difference", "mean difference in grey levels up to which two photos are one"),
    ("article_difference", "mean difference in grey levels up to which two articles are one"),
];

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
            let old = old.ok_or_else(|| Error::unknown("setting", name, names))?;
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

    fn check(&self) -> Result<()> {
        let within = |name: &str, value: f64, from: f64, to: f64| match (from..=to).contains(&value) {
            true => Ok(()),
            false => Err(Error::setting(name, format!("between {from} and {to}"), value)),
        };
        within("max_aspect", self.max_aspect, 1.0, 1e9)?;
        within("min_spread", self.min_spread, 0.0, 255.0)?;
        within("min_plain", self.min_plain, 0.0, 1.0)?;
        within("min_colours", self.min_colours, 0.0, 1.0)?;
        within("hash_distance", self.hash_distance.into(), 0.0, 64.0)?;
        within("human_difference", self.human_difference, 0.0, 255.0)?;
        within("article_difference", self.article_difference, 0.0, 255.0)
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
