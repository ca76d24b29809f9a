//! The columns of the table of settings, and the check of a single value.

use serde_json::{Value, json};

use super::choices::Architecture;
use super::moment::Moment;
use crate::error::{Error, Result};

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// The name in JSON, in Python and, with hyphens, on the command line.
    pub name: &'static str,
    /// One sentence of help.
    pub help: &'static str,
    /// The kind of value.
    pub kind: Kind,
    /// The range of a number.
    pub bounds: Bounds,
    /// The heading under which help and docs list it.
    pub group: &'static str,
    /// The architectures that use it. The others hold it at `unused`.
    pub used_by: &'static [Architecture],
    /// Whether a resumed run may change it.
    pub resumable: bool,
    /// Where the default comes from: `[A] ...` the article, `[P] ...` the paper, `[we] ...` our choice.
    pub source: &'static str,
    pub(super) default: fn() -> Value,
    pub(super) unused: fn() -> Value,
}

/// The kinds of value that a setting takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A whole number, zero or more.
    Count,
    /// A whole number or null.
    OptionalCount,
    /// A finite number.
    Number,
    /// A number or null.
    OptionalNumber,
    /// True or false.
    Flag,
    /// A text.
    Text,
    /// One of these names.
    Choice(&'static [&'static str]),
    /// [height, width], or one number for a square.
    Size,
    /// A number of images, or a share of the run's length as a text: "50%".
    Moment,
}

/// The range of a number. Its ends are inclusive unless they are open.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
    /// Whether the lower end is outside.
    pub low_open: bool,
    /// Whether the upper end is outside.
    pub high_open: bool,
}

pub(super) const ANY: Bounds =
    Bounds { low: f64::NEG_INFINITY, high: f64::INFINITY, low_open: false, high_open: false };

/// `low` to `high`, both included.
pub(super) const fn within(low: f64, high: f64) -> Bounds {
    Bounds { low, high, ..ANY }
}

/// `low` and more.
pub(super) const fn least(low: f64) -> Bounds {
    Bounds { low, ..ANY }
}

/// More than `low`, at most `high`.
pub(super) const fn above(low: f64, high: f64) -> Bounds {
    Bounds { low, high, low_open: true, high_open: false }
}

/// At least `low`, less than `high`.
pub(super) const fn below(low: f64, high: f64) -> Bounds {
    Bounds { low, high, low_open: false, high_open: true }
}

impl Bounds {
    /// Whether any number lies outside.
    pub fn is_bounded(&self) -> bool {
        *self != ANY
    }

    fn contain(&self, value: f64) -> bool {
        let low = if self.low_open { value > self.low } else { value >= self.low };
        let high = if self.high_open { value < self.high } else { value <= self.high };
        low && high
    }
}

impl std::fmt::Display for Bounds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Bounds { low, high, .. } = self;
        match (self.low_open, self.high_open) {
            (true, _) => write!(f, "above {low} and at most {high}"),
            (_, true) => write!(f, "at least {low} and below {high}"),
            _ if *high == f64::INFINITY => write!(f, "at least {low}"),
            _ => write!(f, "{low} to {high}"),
        }
    }
}

impl Field {
    /// The values that the kind takes, in words.
    pub fn expected(&self) -> String {
        match self.kind {
            Kind::Count => "a whole number, zero or more".into(),
            Kind::OptionalCount => "a whole number or null".into(),
            Kind::Number => "a finite number".into(),
            Kind::OptionalNumber => "a finite number or null".into(),
            Kind::Flag => "true or false".into(),
            Kind::Text => "a text".into(),
            Kind::Choice(names) => format!("one of {}", names.join(", ")),
            Kind::Size => "one number or [height, width]".into(),
            Kind::Moment => "a whole number of images, or a share of the length such as \"50%\"".into(),
        }
    }

    /// Whether null is a value.
    pub fn is_optional(&self) -> bool {
        matches!(self.kind, Kind::OptionalCount | Kind::OptionalNumber)
    }

    /// The default of the table, before any preset.
    pub fn default(&self) -> Value {
        (self.default)()
    }

    /// Returns the value in its usual form.
    ///
    /// # Errors
    /// A value of another kind or outside the bounds.
    pub(super) fn checked(&self, value: Value) -> Result<Value> {
        match self.of_kind(&value) {
            None => Err(Error::setting(self.name, self.expected(), value)),
            Some(usual) if usual.as_f64().is_some_and(|number| !self.bounds.contain(number)) => {
                let or_null = if self.is_optional() { ", or null" } else { "" };
                Err(Error::setting(self.name, format!("{}{or_null}", self.bounds), value))
            }
            Some(usual) => Ok(usual),
        }
    }

    /// The value in its usual form, or `None` for one of another kind.
    fn of_kind(&self, value: &Value) -> Option<Value> {
        // numpy and spreadsheets write 16 as 16.0.
        let whole = |v: &Value| {
            v.as_u64()
                .filter(|n| *n <= i64::MAX as u64)
                .or_else(|| v.as_f64().filter(|f| f.fract() == 0.0 && (0.0..9e15).contains(f)).map(|f| f as u64))
        };
        match (self.kind, value) {
            (Kind::OptionalCount | Kind::OptionalNumber, Value::Null) => Some(Value::Null),
            (Kind::Moment, Value::String(text)) => Moment::of_text(text).map(|share| json!(share)),
            (Kind::Count | Kind::OptionalCount | Kind::Moment, v) => whole(v).map(Value::from),
            (Kind::Number | Kind::OptionalNumber, Value::Number(n)) => n.as_f64().map(Value::from),
            (Kind::Flag, Value::Bool(_)) | (Kind::Text, Value::String(_)) => Some(value.clone()),
            (Kind::Choice(names), Value::String(name)) if names.contains(&name.as_str()) => Some(value.clone()),
            (Kind::Size, Value::Array(sides)) if sides.len() == 2 => {
                sides.iter().map(|side| whole(side).map(Value::from)).collect::<Option<Vec<_>>>().map(Value::from)
            }
            (Kind::Size, v) => whole(v).map(|n| Value::from(vec![n, n])),
            _ => None,
        }
    }
}

/// A type of a setting, with its kind.
pub(super) trait Typed {
    const KIND: Kind;
}

macro_rules! typed {
    ($($type:ty: $kind:expr),+ $(,)?) => { $(impl Typed for $type { const KIND: Kind = $kind; })+ };
}
macro_rules! typed_choices {
    ($($choice:ident),+ $(,)?) => { typed!($(super::choices::$choice: Kind::Choice(super::choices::$choice::NAMES)),+); };
}
typed!(
    i64: Kind::Count,
    u32: Kind::Count,
    u64: Kind::Count,
    usize: Kind::Count,
    Option<u64>: Kind::OptionalCount,
    f64: Kind::Number,
    Option<f64>: Kind::OptionalNumber,
    bool: Kind::Flag,
    String: Kind::Text,
    [i64; 2]: Kind::Size,
    Moment: Kind::Moment,
);
typed_choices!(
    AdversarialLoss,
    Architecture,
    Copies,
    DiscriminatorNorm,
    Fit,
    LoaderMode,
    NormGradient,
    OnNonFinite,
    Precision,
    Reverse,
    Schedule,
);
