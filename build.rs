//! Compiles what tch does not reach in libtorch, and lets what cargo runs itself (tests, doc tests, benchmarks) find
//! libtorch, in the Python that torch-sys asked.

use std::env;
use std::path::Path;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let lib = env::var("DEP_TCH_LIBTORCH_LIB").expect("torch-sys says where libtorch is");
    let linux = env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux");
    compile_shim(&lib, linux);
    // A wheel must not name this machine's folders: the package loads torch's libraries before the extension module.
    if env::var_os("CARGO_FEATURE_PYTHON").is_some() {
        return;
    }
    println!("cargo:rustc-link-arg=-Wl,-rpath,{lib}");
    // libtorch.so brings CUDA where torch has it. Nothing calls into it directly, so the linker would drop it.
    if linux {
        println!("cargo:rustc-link-arg=-Wl,--no-as-needed,-ltorch,--as-needed");
    }
}

fn compile_shim(lib: &str, linux: bool) {
    // bands/ builds the same sources.
    let here = env::current_dir().expect("cargo starts this in the manifest's folder");
    let shims = here.ancestors().map(|folder| folder.join("src/native/shim.cpp"));
    let shim = { shims }.find(|path| path.is_file()).expect("src/native/shim.cpp is above the manifest");
    println!("cargo:rerun-if-changed={}", shim.display());
    let include = Path::new(lib).with_file_name("include");
    let mut build = cc::Build::new();
    build
        .cpp(true)
        .std("c++17")
        .file(shim)
        .warnings(false)
        .include(include.join("torch/csrc/api/include"))
        .include(include);
    // libtorch's threads are OpenMP's there, and the same library: it is in the process before this one is loaded.
    if linux {
        build.flag("-fopenmp");
        println!("cargo:rustc-link-lib=gomp");
    }
    build.compile("cagan_shim");
}
