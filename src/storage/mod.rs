//! Files that are whole or absent: atomic writes, and tensors with a header as safetensors.

mod atomic;
mod lacking;
mod numbered;
mod packaged;
mod snapshot;
mod tensors;

pub use atomic::{remove_leftovers, write_atomically, write_unsynced};
pub use lacking::{Guarantee, lacking, note};
pub use numbered::{latest, numbered};
pub use packaged::{packaged, set_packaged};
pub use snapshot::{Snapshot, refuse_earlier};
pub use tensors::{CHECKSUM, Format, TensorFile, is_complete, parse_tensors, read_header, read_tensors, write_tensors};
