//! Converts pictures and numbers between Python and the core. No other file does.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Mutex;

use image::RgbImage;
use numpy::ndarray::ArrayViewD;
use numpy::{Element, PyArray1, PyArrayDyn, PyArrayMethods, PyReadonlyArrayDyn, PyUntypedArrayMethods};
use pyo3::exceptions::{PyKeyboardInterrupt, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyDict, PyMemoryView};
use serde_json::Value;
use tch::{Device, Kind, Tensor};

use super::compute::compute;
use crate::error::{Error, Result};
use crate::pixels::{
    BUDGET, Foreign, MAX_FILE_BYTES, MAX_PIXELS, decode_rgb, foreign_rgb, pixels_of_bytes, pixels_of_file, read_rgb,
};

/// Converts a value to a Python object through JSON.
pub fn to_python<'py>(py: Python<'py>, value: &impl serde::Serialize) -> PyResult<Bound<'py, PyAny>> {
    let text = serde_json::to_string(value).expect("plain values");
    py.import("json")?.call_method1("loads", (text,))
}

/// Converts a Python object to a JSON value. numpy's scalars are numbers, a `torch.device` and a path
/// are text.
pub fn from_python(name: &str, object: &Bound<'_, PyAny>) -> PyResult<Value> {
    if is_device(object)? {
        return Ok(Value::String(device_name(object)?));
    }
    let py = object.py();
    // A path, or what stands for one, as a run.
    if object.hasattr("__fspath__")? {
        return Ok(Value::String(object.call_method0("__fspath__")?.extract()?));
    }
    let options = PyDict::new(py);
    options.set_item("default", py.import("operator")?.call_method1("methodcaller", ("item",))?)?;
    let text =
        py.import("json")?.call_method("dumps", (object,), Some(&options)).and_then(|text| text.extract::<String>());
    let value = text.ok().and_then(|text| serde_json::from_str(&text).ok());
    let wrong = || Error::setting(name, "a finite number, text, flag or list", object.to_string());
    value.ok_or_else(|| wrong().into())
}

/// A picture from Python.
pub enum Picture {
    Path(PathBuf),
    /// A file's bytes.
    Encoded(Vec<u8>),
    Pixels(RgbImage),
}

/// A picture as Python gives it, looked at but not yet copied: its kind and type are right.
pub enum Given<'py> {
    Path(PathBuf),
    /// `bytes`, `bytearray`, or a flat buffer.
    Encoded(Bound<'py, PyAny>),
    /// An open binary file.
    File(Bound<'py, PyAny>),
    Pil(Bound<'py, PyAny>),
    Array(PyReadonlyArrayDyn<'py, u8>),
}

/// What a picture may be.
const PICTURE: &str =
    "a path, a file's bytes, a binary file, a PIL picture or a uint8 array or CPU tensor of shape [H, W, 3], or floats";

impl<'py> Given<'py> {
    /// Looks at an object.
    pub fn of(name: &str, object: &Bound<'py, PyAny>) -> PyResult<Given<'py>> {
        if object.is_instance_of::<PyBytes>() || object.is_instance_of::<PyByteArray>() {
            return Ok(Given::Encoded(object.clone()));
        }
        if object.is_instance_of::<PyMemoryView>() && object.getattr("ndim")?.extract::<usize>()? == 1 {
            return Ok(Given::Encoded(object.clone()));
        }
        if let Ok(path) = object.extract::<PathBuf>() {
            return Ok(Given::Path(path));
        }
        if object.hasattr("convert")? && object.hasattr("mode")? {
            return Ok(Given::Pil(object.clone()));
        }
        if object.hasattr("read")? {
            return Ok(Given::File(object.clone()));
        }
        let array = if is_floats(object)? {
            object.py().import("cagan._floats")?.call_method1("pixels", (name, object))?
        } else if object.hasattr("__dlpack__")? && !object.hasattr("__array_interface__")? {
            // Another library's tensor, without a copy. One that numpy cannot take fails below with its own dtype.
            let numpy = object.py().import("numpy")?;
            (numpy.call_method1("from_dlpack", (object,))).unwrap_or_else(|_| object.clone())
        } else {
            object.clone()
        };
        let wrong = |got: String| Error::Array { name: name.into(), expected: PICTURE.into(), got };
        let Ok(pixels) = array.extract::<PyReadonlyArrayDyn<u8>>() else {
            let kind = array.getattr("dtype").or_else(|_| array.get_type().getattr("__name__"))?;
            return Err(wrong(kind.to_string()).into());
        };
        match *pixels.shape() {
            [height, width, 3] if height > 0 && width > 0 => Ok(Given::Array(pixels)),
            // As numpy and OpenCV hold a file's bytes.
            [_] => Ok(Given::Encoded(array.call_method0("tobytes")?)),
            _ => Err(wrong(format!("shape {:?}", pixels.shape())).into()),
        }
    }

    /// Copies the pixels or the bytes. Files are decoded later, without the interpreter.
    pub fn load(self, name: &str) -> PyResult<Picture> {
        match self {
            Given::Path(path) => Ok(Picture::Path(path)),
            Given::Encoded(bytes) => {
                let bytes = bytes.py().get_type::<PyBytes>().call1((bytes,))?;
                Ok(Picture::Encoded(bytes.extract()?))
            }
            Given::File(file) => {
                let read = file.call_method0("read")?;
                let wrong = |got| Error::Array { name: name.into(), expected: "a file opened for bytes".into(), got };
                let bytes = (read.cast::<PyBytes>()).map_err(|_| wrong(format!("a file of {}", read.get_type())))?;
                Ok(Picture::Encoded(bytes.as_bytes().to_vec()))
            }
            Given::Pil(picture) => Ok(Picture::Pixels(from_pil(name, &picture)?)),
            Given::Array(pixels) => {
                let [height, width] = [0, 1].map(|side| pixels.shape()[side] as u32);
                // numpy's own `as_slice` takes columns in order for rows.
                let pixels = pixels.as_array();
                let bytes = match pixels.as_slice() {
                    Some(bytes) => bytes.to_vec(),
                    None => pixels.iter().copied().collect(),
                };
                Ok(Picture::Pixels(RgbImage::from_raw(width, height, bytes).expect("bytes fit the shape")))
            }
        }
    }
}

impl Picture {
    /// Decodes a file or its bytes. `name` names the argument in an error.
    pub fn decode(self, name: &str) -> Result<RgbImage> {
        match self {
            Picture::Path(path) => read_rgb(&path),
            Picture::Encoded(bytes) => {
                let failed = |reason| Error::content(name, format!("cannot be decoded: {reason}"));
                match bytes.len() as u64 {
                    0..=MAX_FILE_BYTES => decode_rgb(&bytes).map_err(failed),
                    length => Err(failed(format!("expected at most {MAX_FILE_BYTES} bytes, got {length}"))),
                }
            }
            Picture::Pixels(picture) => Ok(picture),
        }
    }

    /// The number of pixels. A file that does not tell counts as the whole budget.
    pub fn pixels(&self) -> u64 {
        let known = match self {
            Picture::Path(path) => pixels_of_file(path),
            Picture::Encoded(bytes) => pixels_of_bytes(bytes),
            Picture::Pixels(picture) => Some(u64::from(picture.width()) * u64::from(picture.height())),
        };
        known.unwrap_or(BUDGET / 3)
    }

    /// The bytes that it holds now.
    pub fn held(&self) -> u64 {
        match self {
            Picture::Path(_) => 0,
            Picture::Encoded(bytes) => bytes.len() as u64,
            Picture::Pixels(picture) => picture.as_raw().len() as u64,
        }
    }
}

/// Whether the object is an array or a tensor of floats.
fn is_floats(object: &Bound<'_, PyAny>) -> PyResult<bool> {
    let dtype = object.getattr_opt("dtype")?.map(|dtype| dtype.str()).transpose()?;
    Ok(object.hasattr("shape")? && dtype.is_some_and(|dtype| dtype.to_string_lossy().contains("float")))
}

/// Turns a batch of pictures of floats into their list; everything else stays.
pub fn unbatched<'py>(name: &str, object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    if is_floats(object)? && object.getattr("shape")?.len()? == 4 {
        return object.py().import("cagan._floats")?.call_method1("batch", (name, object));
    }
    Ok(object.clone())
}

/// A picture as `cagan._pillow` takes it apart: mode, width, height, bytes, orientation, profile.
type Parts<'py> = (String, u32, u32, Bound<'py, PyBytes>, u32, Option<Bound<'py, PyBytes>>);

fn foreign((mode, width, height, bytes, orientation, profile): Parts<'_>) -> Foreign {
    let bytes = bytes.as_bytes().to_vec();
    Foreign { mode, width, height, bytes, orientation, profile: profile.map(|profile| profile.as_bytes().to_vec()) }
}

/// Converts a PIL picture. It means what its file means: orientation, profile, transparency and 16 bits count.
fn from_pil(name: &str, picture: &Bound<'_, PyAny>) -> PyResult<RgbImage> {
    let py = picture.py();
    let wrong = |got| Error::Array { name: name.into(), expected: "a PIL picture that can be decoded".into(), got };
    let parts = py.import("cagan._pillow")?.call_method1("unpack", (picture,));
    let parts: Parts = match parts {
        Ok(parts) => parts.extract()?,
        Err(error) if error.is_instance_of::<PyKeyboardInterrupt>(py) => return Err(error),
        Err(error) => return Err(wrong(error.to_string()).into()),
    };
    let picture = foreign(parts);
    compute(py, || foreign_rgb(picture).map_err(wrong))
}

/// Decodes with Pillow what the core does not read; see [`crate::pixels::set_fallback`]. The thread may be any one, and
/// does not have the interpreter.
pub fn decode_with_pillow(bytes: &[u8]) -> std::result::Result<Option<Foreign>, String> {
    let decoded = Python::try_attach(|py| -> PyResult<Option<Foreign>> {
        let parts = py.import("cagan._pillow")?.call_method1("decode", (PyBytes::new(py, bytes), MAX_PIXELS));
        if parts.as_ref().is_err_and(|error| error.is_instance_of::<PyKeyboardInterrupt>(py)) {
            // The caller hears of it where it next looks for signals.
            py.import("_thread")?.call_method0("interrupt_main")?;
        }
        Ok(parts?.extract::<Option<Parts>>()?.map(foreign))
    });
    match decoded {
        Some(decoded) => decoded.map_err(|error| {
            let text = error.to_string();
            text.strip_prefix("ValueError: ").or(text.strip_prefix("OSError: ")).unwrap_or(&text).to_owned()
        }),
        None => Err("the interpreter is ending".into()),
    }
}

/// A device's name, given as text or as a `torch.device`.
pub struct DeviceName(pub String);

impl<'py> FromPyObject<'_, 'py> for DeviceName {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(text) = object.extract::<String>() {
            return Ok(DeviceName(text));
        }
        if is_device(&object)? {
            return Ok(DeviceName(device_name(&object)?));
        }
        let got = object.get_type().name()?.to_string();
        Err(PyTypeError::new_err(format!("device: expected a text or a torch.device, got {got}")))
    }
}

/// The name of a `torch.device`. Its CPU may have a number, which is always 0.
fn device_name(object: &Bound<'_, PyAny>) -> PyResult<String> {
    let name: String = object.str()?.extract()?;
    Ok(if name == "cpu:0" { "cpu".into() } else { name })
}

/// Whether the object is a `torch.device`.
fn is_device(object: &Bound<'_, PyAny>) -> PyResult<bool> {
    let kind = object.get_type();
    Ok(kind.name()? == "device" && kind.module()? == "torch")
}

/// Makes a numpy array of that shape from its elements.
pub fn elements_to_numpy<'py, T: Element>(
    py: Python<'py>,
    elements: Vec<T>,
    shape: &[usize],
) -> PyResult<Bound<'py, PyArrayDyn<T>>> {
    PyArray1::from_vec(py, elements).reshape(shape.to_vec())
}

/// Copies the elements and the shape of a uint8 or float32 array whose shape `fits`.
pub fn elements_from_numpy<T: Element + Copy>(
    name: &str,
    object: &Bound<'_, PyAny>,
    shape: &str,
    fits: impl Fn(&[usize]) -> bool,
) -> PyResult<(Vec<T>, Vec<usize>)> {
    let wrong = |got: String| {
        let kind = T::get_dtype(object.py());
        Error::Array { name: name.into(), expected: format!("a {kind} array of shape {shape}"), got }
    };
    let Ok(array) = object.extract::<PyReadonlyArrayDyn<T>>() else {
        let kind = object.getattr("dtype").or_else(|_| object.get_type().getattr("__name__"))?;
        return Err(wrong(kind.to_string()).into());
    };
    if !fits(array.shape()) {
        return Err(wrong(format!("shape {:?}", array.shape())).into());
    }
    Ok((array.as_array().iter().copied().collect(), array.shape().to_vec()))
}

/// Copies a tensor into a float32 array.
pub fn to_numpy<'py>(py: Python<'py>, tensor: &Tensor) -> PyResult<Bound<'py, PyArrayDyn<f32>>> {
    let tensor = tensor.shallow_clone();
    let values = compute(py, move || -> Result<_> {
        let tensor = on_the_host(&tensor);
        let mut values = vec![0f32; tensor.numel()];
        tensor.copy_data(&mut values, tensor.numel());
        Ok((values, shape_of(&tensor)))
    })?;
    PyArray1::from_vec(py, values.0).reshape(values.1)
}

/// Returns the tensor as contiguous float32 on the CPU.
fn on_the_host(tensor: &Tensor) -> Tensor {
    tensor.detach().to_device(Device::Cpu).to_kind(Kind::Float).contiguous()
}

fn shape_of(tensor: &Tensor) -> Vec<usize> {
    tensor.size().iter().map(|&n| n as usize).collect()
}

/// Keeps a tensor's memory alive for an array.
#[pyclass(frozen)]
struct Memory(#[allow(dead_code, reason = "it is held, not read")] Mutex<Tensor>);

/// Turns a tensor without other references into a float32 array. A contiguous float32 tensor on the CPU is not copied.
pub fn into_numpy(py: Python<'_>, tensor: Tensor) -> PyResult<Bound<'_, PyArrayDyn<f32>>> {
    let tensor = compute(py, move || -> Result<_> { Ok(on_the_host(&tensor)) })?;
    let shape = shape_of(&tensor);
    // SAFETY: contiguous float32 memory of that shape on the CPU. It lives as long as the tensor, which the array's
    // base object holds and never reallocates.
    unsafe {
        let view = ArrayViewD::from_shape_ptr(shape, tensor.data_ptr().cast::<f32>());
        let memory = Bound::new(py, Memory(Mutex::new(tensor)))?;
        Ok(PyArrayDyn::borrow_from_array(&view, memory.into_any()))
    }
}

/// Copies a float32 array into a tensor on the CPU.
pub fn from_numpy(name: &str, object: &Bound<'_, PyAny>) -> PyResult<Tensor> {
    let py = object.py();
    if object.extract::<PyReadonlyArrayDyn<f32>>().is_err() {
        let got = object.getattr("dtype").unwrap_or_else(|_| object.get_type().into_any()).to_string();
        return Err(Error::Array { name: name.into(), expected: "a float32 array".into(), got }.into());
    }
    // The field of a record may lie at any byte, and strides may be no multiple of four: numpy copies those.
    let plain = py.import("numpy")?.call_method1("require", (object, py.None(), ["C", "A"]))?;
    let array = plain.extract::<PyReadonlyArrayDyn<f32>>()?;
    let shape: Vec<i64> = array.shape().iter().map(|&n| n as i64).collect();
    let values = array.as_slice()?;
    compute(py, || -> Result<_> { Ok(Tensor::from_slice(values).reshape(shape)) })
}

/// Converts named tensors to a dictionary of arrays.
pub fn to_dict<'py>(py: Python<'py>, tensors: &[(String, Tensor)]) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (name, tensor) in tensors {
        dict.set_item(name, to_numpy(py, tensor)?)?;
    }
    Ok(dict)
}

/// Converts a dictionary of arrays to named tensors.
pub fn from_dict(dict: &Bound<'_, PyDict>) -> PyResult<HashMap<String, Tensor>> {
    dict.iter()
        .map(|(name, array)| {
            let name: String = name.extract()?;
            let tensor = from_numpy(&name, &array)?;
            Ok((name, tensor))
        })
        .collect()
}
