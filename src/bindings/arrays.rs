//! Converts pictures and numbers between Python and the core. No other file does.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Mutex;

use image::RgbImage;
use numpy::ndarray::ArrayViewD;
use numpy::{Element, PyArray1, PyArrayDyn, PyArrayMethods, PyReadonlyArrayDyn, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use serde_json::Value;
use tch::{Device, Kind, Tensor};

use crate::error::{Error, Result};
use crate::pixels::{decode_rgb, read_rgb};

/// Converts a value to a Python object through JSON.
pub fn to_python<'py>(py: Python<'py>, value: &impl serde::Serialize) -> PyResult<Bound<'py, PyAny>> {
    let text = serde_json::to_string(value).expect("plain values");
    py.import("json")?.call_method1("loads", (text,))
}

/// Converts a Python object to a JSON value. numpy's scalars are numbers.
pub fn from_python(name: &str, object: &Bound<'_, PyAny>) -> PyResult<Value> {
    let py = object.py();
    let options = PyDict::new(py);
    options.set_item("default", py.import("operator")?.call_method1("methodcaller", ("item",))?)?;
    let text =
        py.import("json")?.call_method("dumps", (object,), Some(&options)).and_then(|text| text.extract::<String>());
    let value = text.ok().and_then(|text| serde_json::from_str(&text).ok());
    let wrong = || Error::setting(name, "a finite number, text, flag or list", object.to_string());
    value.ok_or_else(|| wrong().into())
}

/// A picture from Python: a path, a PIL picture, or an `[H, W, 3]` uint8 array or CPU tensor (through DLPack).
pub enum Picture {
    Path(PathBuf),
    Pixels(RgbImage),
}

impl Picture {
    /// Converts an object. Files are decoded later, without the interpreter.
    pub fn from_python(name: &str, object: &Bound<'_, PyAny>) -> PyResult<Picture> {
        if let Ok(path) = object.extract::<PathBuf>() {
            return Ok(Picture::Path(path));
        }
        let array = if object.hasattr("convert")? {
            let mode: String = object.getattr("mode")?.extract()?;
            if ["1", "L", "LA", "P", "RGBA", "I;16"].contains(&mode.as_str()) {
                return Ok(Picture::Pixels(from_pil(name, object)?));
            }
            let rgb = object.call_method1("convert", ("RGB",))?;
            object.py().import("numpy")?.call_method1("asarray", (rgb,))?
        } else if object.hasattr("__dlpack__")? && !object.hasattr("__array_interface__")? {
            // Another library's tensor, without a copy. One that numpy cannot take fails below with its own dtype.
            let numpy = object.py().import("numpy")?;
            (numpy.call_method1("from_dlpack", (object,))).unwrap_or_else(|_| object.clone())
        } else {
            object.clone()
        };
        let wrong = |got: String| Error::Array {
            name: name.into(),
            expected: "a path, a PIL picture or a uint8 array or CPU tensor of shape [H, W, 3]".into(),
            got,
        };
        let Ok(pixels) = array.extract::<PyReadonlyArrayDyn<u8>>() else {
            let kind = array.getattr("dtype").or_else(|_| array.get_type().getattr("__name__"))?;
            return Err(wrong(kind.to_string()).into());
        };
        match *pixels.shape() {
            [height, width, 3] if height > 0 && width > 0 => {
                let bytes = pixels.as_array().iter().copied().collect();
                let picture = RgbImage::from_raw(width as u32, height as u32, bytes);
                Ok(Picture::Pixels(picture.expect("bytes fit the shape")))
            }
            _ => Err(wrong(format!("shape {:?}", pixels.shape())).into()),
        }
    }

    /// Decodes a file; copies pixels.
    pub fn decode(&self) -> Result<RgbImage> {
        match self {
            Picture::Path(path) => read_rgb(path),
            Picture::Pixels(picture) => Ok(picture.clone()),
        }
    }
}

/// Converts a PIL picture through PNG: transparency and 16 bits then mean the same as in a file.
fn from_pil(name: &str, picture: &Bound<'_, PyAny>) -> PyResult<RgbImage> {
    let py = picture.py();
    let file = py.import("io")?.call_method0("BytesIO")?;
    let options = PyDict::new(py);
    options.set_item("compress_level", 1)?;
    picture.call_method("save", (&file, "PNG"), Some(&options))?;
    let bytes: Vec<u8> = file.call_method0("getvalue")?.extract()?;
    let wrong = |got| Error::Array { name: name.into(), expected: "a PIL picture that PNG can hold".into(), got };
    Ok(decode_rgb(&bytes).map_err(wrong)?)
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
    let tensor = tensor.detach().to_device(Device::Cpu).to_kind(Kind::Float).contiguous();
    let mut values = vec![0f32; tensor.numel()];
    tensor.copy_data(&mut values, tensor.numel());
    let shape: Vec<usize> = tensor.size().iter().map(|&n| n as usize).collect();
    PyArray1::from_vec(py, values).reshape(shape)
}

/// Keeps a tensor's memory alive for an array.
#[pyclass(frozen)]
struct Memory(#[allow(dead_code, reason = "it is held, not read")] Mutex<Tensor>);

/// Turns a tensor without other references into a float32 array. A contiguous float32 tensor on the CPU is not copied.
pub fn into_numpy(py: Python<'_>, tensor: Tensor) -> PyResult<Bound<'_, PyArrayDyn<f32>>> {
    let tensor = (tensor.detach().to_device(Device::Cpu)).to_kind(Kind::Float).contiguous();
    let shape: Vec<usize> = tensor.size().iter().map(|&n| n as usize).collect();
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
    let array = object.extract::<PyReadonlyArrayDyn<f32>>().map_err(|_| Error::Array {
        name: name.into(),
        expected: "a float32 array".into(),
        got: object.get_type().to_string(),
    })?;
    let shape: Vec<i64> = array.shape().iter().map(|&n| n as i64).collect();
    let values: Vec<f32> = array.as_array().iter().copied().collect();
    Ok(Tensor::from_slice(&values).reshape(shape))
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
