//! Lets what cargo runs itself (tests, doc tests, benchmarks) find libtorch, in the Python that torch-sys asked.

use std::env;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // A wheel must not name this machine's folders: the package loads torch's libraries before the extension module.
    if env::var_os("CARGO_FEATURE_PYTHON").is_some() {
        return;
    }
    let lib = env::var("DEP_TCH_LIBTORCH_LIB").expect("torch-sys says where libtorch is");
    println!("cargo:rustc-link-arg=-Wl,-rpath,{lib}");
    // libtorch.so brings CUDA where torch has it. Nothing calls into it directly, so the linker would drop it.
    if env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux") {
        println!("cargo:rustc-link-arg=-Wl,--no-as-needed,-ltorch,--as-needed");
    }
}
