//! Tests of the core from outside, without Python.

mod golden;
mod networks;
mod runs;
