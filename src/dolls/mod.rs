//! Paper dolls: synthetic people in synthetic garments, for demos, tests and evaluation, with the true picture of every
//! swap.
//!
//! Every picture is a pure function of the seed and of numbers: the same bytes on any number of threads. Shapes take
//! sums, products, quotients and square roots only, whose results IEEE 754 fixes, and colours are mixed in whole
//! numbers: other machines should agree too. Recorded hashes check it wherever the tests run.

mod canvas;
mod cut;
mod doll;
mod flow;
mod frame;
mod garment;
mod head;
mod outlines;
mod pattern;
mod person;
mod scene;
mod shape;
mod write;

pub use doll::{flow, pair, swap, worn};
pub use flow::Grey16;
pub use write::{SEED, SIZE, SWAPS, write, write_observed};
