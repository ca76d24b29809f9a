//! The one error type: what was expected, what came, and where.

use std::path::{Path, PathBuf};

/// Everything that can go wrong on user input or on the machine.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
pub enum Error {
    /// A setting whose value breaks a rule.
    #[error("{field}: expected {expected}, got {got}")]
    Setting { field: String, expected: String, got: String },
    /// An unknown name, with the nearest known one.
    #[error("unknown {kind} `{name}`{}", .nearest.as_ref().map(|n| format!(", did you mean `{n}`?")).unwrap_or_default())]
    UnknownName { kind: Named, name: String, nearest: Option<String> },
    /// The name of a pair that the list leaves out.
    #[error("`{name}` is excluded: {reason}")]
    Excluded { name: String, reason: String },
    /// A missing file or folder.
    #[error("{}: no such {what}", .path.display())]
    NotFound { path: PathBuf, what: &'static str },
    /// A file with the wrong content.
    #[error("{}: {message}", .path.display())]
    Content { path: PathBuf, message: String },
    /// An input or output error of the operating system.
    #[error("{}: {source}", .path.display())]
    Io { path: PathBuf, source: std::io::Error },
    /// A checkpoint that went to another place.
    #[error("{source}; the state of step {step} is in {}, put it into the run's folder `checkpoints` to go on from it", .to.display())]
    Rescued { source: Box<Error>, step: u64, to: PathBuf },
    /// A device that this machine or this libtorch does not have.
    #[error("device: {0}")]
    Device(String),
    /// An array of the wrong shape or type.
    #[error("{name}: expected {expected}, got {got}")]
    Array { name: String, expected: String, got: String },
    /// A loss or weight that became non-finite.
    #[error("{term} is {value} at step {step}: training has diverged; its last good checkpoint is as it was")]
    NonFinite { term: String, value: f64, step: u64 },
    /// A run folder in which another process trains.
    #[error("{}: another process is training in this folder", .path.display())]
    Busy { path: PathBuf },
    /// An index past the end.
    #[error("index {index} is out of range for {len} pairs")]
    Index { index: i64, len: usize },
    /// A step that failed while it wrote the weights.
    #[error(
        "a step failed while it wrote the networks' weights: they belong to no step, go on from the last checkpoint"
    )]
    Torn,
    /// An object that another thread of the parent held at a `fork`.
    #[error(
        "this process was forked while another thread computed with the object, and its state is not known here: make \
         it anew in the child, or start workers by spawn"
    )]
    Forked,
    /// Memory of the machine or the device that ran out.
    #[error("out of memory: {0}; a smaller batch_size, image_size or width, or fewer pictures at once, needs less")]
    Memory(String),
    /// What another process of the run said before it ended.
    #[error("process {rank} of {world}: {message}")]
    Peer { rank: usize, world: usize, message: String },
    /// A process of the run that is gone or does not answer.
    #[error("a process of this run is gone or does not answer: {0}; start all of them again")]
    Lost(String),
    /// A fault of the core.
    #[error("internal error, please report it: {0}")]
    Panic(String),
    /// An error of libtorch.
    #[error("libtorch: {0}")]
    Torch(String),
}

impl From<tch::TchError> for Error {
    fn from(error: tch::TchError) -> Self {
        match error {
            tch::TchError::Torch(message) => Error::torch(&message),
            error => Error::Torch(error.to_string()),
        }
    }
}

/// The kinds of things that have names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// A setting.
    Setting,
    /// A preset.
    Preset,
    /// The id of a pair.
    Id,
    /// A split of the pairs.
    Split,
    /// A network of a trainer.
    Network,
    /// A tensor of a network.
    Parameter,
}

impl std::fmt::Display for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Named::Setting => "setting",
            Named::Preset => "preset",
            Named::Id => "id",
            Named::Split => "split",
            Named::Network => "network",
            Named::Parameter => "parameter",
        })
    }
}

/// A result whose error is an [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A setting whose value breaks a rule.
    ///
    /// ```
    /// let error = cagan::Error::setting("batch_size", "at least 1", 0);
    /// assert_eq!(error.to_string(), "batch_size: expected at least 1, got 0");
    /// ```
    pub fn setting(field: impl Into<String>, expected: impl Into<String>, got: impl ToString) -> Self {
        Error::Setting { field: field.into(), expected: expected.into(), got: got.to_string() }
    }

    /// A file with the wrong content. What the message quotes of the file stays in one line of a length that can be
    /// read.
    ///
    /// ```
    /// let error = cagan::Error::content("a.json", format!("expected a name, got {}", "x\n".repeat(10_000)));
    /// let text = error.to_string();
    /// assert!(text.starts_with("a.json: expected a name, got x\\nx") && text.len() < 2_000);
    /// ```
    pub fn content(path: impl AsRef<Path>, message: impl Into<String>) -> Self {
        /// Characters, enough for a list of settings that differ.
        const MOST: usize = 900;
        let message: String = message.into();
        let mut line = String::new();
        for character in message.chars().take(MOST) {
            match character.is_control() {
                true => line.extend(character.escape_default()),
                false => line.push(character),
            }
        }
        if message.chars().nth(MOST).is_some() {
            line.push_str(" ...");
        }
        Error::Content { path: path.as_ref().into(), message: line }
    }

    /// An error of libtorch by its message, of which the lines after the first are a stack trace.
    pub fn torch(message: &str) -> Self {
        /// How libtorch and C++ say that memory ran out.
        const MEMORY: [&str; 4] = ["can't allocate memory", "not enough memory", "out of memory", "bad_alloc"];
        // In the debug form of a text the lines end in two characters.
        let first = message.split("\\n").next().and_then(|text| text.lines().next()).unwrap_or_default().to_owned();
        match MEMORY.iter().any(|part| message.contains(part)) {
            true => Error::Memory(first),
            false => Error::Torch(first),
        }
    }

    /// Whether it is the trouble of another process, which all know.
    pub fn is_of_others(&self) -> bool {
        matches!(self, Error::Peer { .. } | Error::Lost(_))
    }

    /// An unknown name among the known ones.
    pub fn unknown<'a>(kind: Named, name: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        let nearest = known
            .into_iter()
            .map(|k| (strsim::jaro_winkler(k, &name.to_lowercase()), k))
            .filter(|(likeness, _)| *likeness > 0.7)
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .map(|(_, k)| k.to_owned());
        Error::UnknownName { kind, name: name.to_owned(), nearest }
    }
}

/// Names the path in an input/output error.
pub trait AtPath<T> {
    /// The same result with the path in its error.
    fn at(self, path: impl AsRef<Path>) -> Result<T>;
}

impl<T> AtPath<T> for std::io::Result<T> {
    fn at(self, path: impl AsRef<Path>) -> Result<T> {
        self.map_err(|source| {
            let path = path.as_ref().to_owned();
            match source.kind() {
                std::io::ErrorKind::NotFound => Error::NotFound { path, what: "file or folder" },
                _ => Error::Io { path, source },
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_brings_the_nearest_known_one() {
        let known = ["epochs", "batch_size", "learning_rate"];
        let text = |name| Error::unknown(Named::Setting, name, known).to_string();
        assert_eq!(text("epoch"), "unknown setting `epoch`, did you mean `epochs`?");
        assert_eq!(text("Batchsize"), "unknown setting `Batchsize`, did you mean `batch_size`?");
        assert_eq!(text("zzz"), "unknown setting `zzz`");
    }
}
