//! A trained generator in use: pictures of any size in, a swap of the photo's own size out.

use std::path::{Path, PathBuf};

use image::RgbImage;
use tch::{Device, Tensor};

use crate::config::{Architecture, Config, torch_device};
use crate::error::{Error, Result};
use crate::networks::kisekae::{along, warped};
use crate::networks::{Detail, Generator, Parameters, Swap, use_precision};
use crate::pixels::{Placement, Rect, ValueRange, paste, place, planes, resize, resize_part, to_vec};
use crate::storage::{Snapshot, latest};

/// Triplets that go through the generator at once; more are cut, so that memory stays bounded.
const BATCH: usize = 16;
/// Pixels of a photo that are painted one by one.
const PAINTED: f64 = 4e6;
/// Where the locator is this sure, at the photo's own edges, the worn article is covered; 0.5 is its mask.
const COVERED: f64 = 0.35;

/// What goes into one swap.
#[derive(Clone, Debug)]
pub struct Request {
    pub human: RgbImage,
    /// Not known, perhaps: see [`Swapper::needs_worn`].
    pub worn: Option<RgbImage>,
    pub target: RgbImage,
}

/// One swapped photo.
///
/// # Shapes
/// With the photo's height and width: `image`, `paint`: `H * W * 3` bytes; `mask`, `located`: `H * W` bytes, 255 =
/// repainted, or where the worn article is, of networks that look for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Swapped {
    pub size: [usize; 2],
    pub image: Vec<u8>,
    pub mask: Vec<u8>,
    pub paint: Vec<u8>,
    pub located: Option<Vec<u8>>,
}

/// A generator and the config that it was trained under.
#[derive(Debug)]
pub struct Swapper {
    pub config: Config,
    pub path: PathBuf,
    pub step: u64,
    pub device: Device,
    generator: Generator,
    // The generator's layers are views into these.
    _parameters: Parameters,
}

impl Swapper {
    /// Loads the newest snapshot of a run folder, or one snapshot file.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a path that is not there; [`Error::Content`] for a folder without snapshots, a truncated
    /// snapshot or one of another version; a device that is not there.
    pub fn open(path: &Path, device: &str) -> Result<Swapper> {
        let device = torch_device(device)?;
        let file = if path.is_dir() {
            let folder = path.join("snapshots");
            let missing = || Error::content(path, "expected a run folder with snapshots, got none");
            latest(&folder)?.ok_or_else(missing)?.0
        } else {
            path.to_owned()
        };
        Self::of_snapshot(Snapshot::read(&file)?, file, device)
    }

    /// The generator of a snapshot that was read from the file at `path`.
    ///
    /// # Errors
    /// [`Error::Content`] for tensors that are not those of the config's generator.
    pub fn of_snapshot(snapshot: Snapshot, path: PathBuf, device: Device) -> Result<Swapper> {
        let config = snapshot.config;
        // The config may speak of networks far larger than the file is.
        Parameters::check(|path| Generator::new(path, &config), &snapshot.generator)
            .map_err(|e| Error::content(&path, e.to_string()))?;
        let (generator, mut parameters) = Parameters::build(
            |path| Generator::new(path, &config),
            device,
            config.precision,
            config.seed,
            "init/generator",
        );
        (parameters.load(&snapshot.generator)).map_err(|e| Error::content(&path, e.to_string()))?;
        Ok(Swapper { config, path, step: snapshot.step, device, generator, _parameters: parameters })
    }

    /// Whether the networks cannot do without the picture of the worn article.
    pub fn needs_worn(&self) -> bool {
        match self.config.architecture {
            Architecture::Vasily | Architecture::Paper => true,
            Architecture::Kisekae => false,
        }
    }

    /// Swaps, in the requests' order.
    ///
    /// # Errors
    /// [`Error::Setting`] for a request without `worn` where [`Swapper::needs_worn`].
    pub fn swap(&self, requests: &[Request]) -> Result<Vec<Swapped>> {
        if self.needs_worn() && requests.iter().any(|request| request.worn.is_none()) {
            let rule = "a picture: these networks locate the worn article by it";
            return Err(Error::setting("worn", rule, "none"));
        }
        let alike = |a: &Request, b: &Request| a.worn.is_some() == b.worn.is_some();
        let parts = requests.chunk_by(alike).flat_map(|part| part.chunks(BATCH));
        Ok(parts.flat_map(|batch| self.swap_batch(batch)).collect())
    }

    /// As many requests as the memory holds, all of them with `worn` or all without.
    fn swap_batch(&self, requests: &[Request]) -> Vec<Swapped> {
        let sides = self.config.image_size;
        let (human_fit, article_fit) = (self.config.human_fit, self.config.article_fit);
        let batch = |pictures: Vec<&RgbImage>, fit| {
            let bytes: Vec<u8> = (pictures.iter()).flat_map(|picture| planes(picture, sides, fit)).collect();
            self.values(&bytes, pictures.len(), sides)
        };
        let all = |pick: fn(&Request) -> &RgbImage| requests.iter().map(pick).collect();
        let (human, target) = (batch(all(|r| &r.human), human_fit), batch(all(|r| &r.target), article_fit));
        let worn: Vec<&RgbImage> = requests.iter().filter_map(|r| r.worn.as_ref()).collect();
        use_precision(self.config.precision, self.device);
        tch::no_grad(|| {
            let swap = if worn.is_empty() {
                (self.generator.swap_without_worn(&human, &target)).expect("they can do without")
            } else {
                (self.generator).swap(&human, &batch(worn, article_fit), &target)
            };
            (0i64..).zip(requests).map(|(i, request)| self.finish(&swap, i, request)).collect()
        })
    }

    /// Brings one swap of a batch to its photo's size.
    fn finish(&self, swap: &Swap, i: i64, request: &Request) -> Swapped {
        let photo = &request.human;
        let size = [photo.height() as usize, photo.width() as usize];
        let sides = self.config.image_size.map(|side| side as usize);
        let placement = place(self.config.human_fit, size, sides);
        let Placement { source, target } = placement;
        // What a crop left outside stays as it is.
        let whole = |small: &Tensor| {
            let small = to_vec(&ValueRange::Unit.to_bytes(&small.get(i)));
            let inner = resize_part(&small, sides, target, source.size(), 1);
            let mut whole = vec![0; size[0] * size[1]];
            paste(&inner, &mut whole, size[1], source, 1);
            whole
        };
        let mut mask = whole(&swap.mask);
        let inner = match &swap.detail {
            Some(detail) => {
                let zoom = Zoom::of(placement, i);
                let inner = self.mask_in_detail(&swap.mask, detail, &zoom, photo);
                paste(&inner, &mut mask, size[1], source, 1);
                self.paint_in_detail(detail, &zoom, &request.target)
            }
            None => {
                let range = ValueRange::of(self.config.architecture);
                let small = to_vec(&range.to_bytes(&swap.paint.get(i)).permute([1, 2, 0]));
                resize_part(&small, sides, target, source.size(), 3)
            }
        };
        let mut paint = photo.as_raw().clone();
        paste(&inner, &mut paint, size[1], source, 3);
        Swapped {
            size,
            image: composite(photo.as_raw(), &paint, &mask),
            mask,
            paint,
            located: swap.located.as_ref().map(whole),
        }
    }

    /// The mask of one swap at the photo's size. Returns bytes.
    fn mask_in_detail(&self, mask: &Tensor, detail: &Detail, zoom: &Zoom, photo: &RgbImage) -> Vec<u8> {
        let sides = [photo.height() as usize, photo.width() as usize];
        let [height, width] = zoom.size;
        let size = zoom.size.map(|side| side as usize);
        let bytes = resize_part(photo.as_raw(), sides, zoom.source, size, 3);
        let bytes = Tensor::from_slice(&bytes).reshape([1, height, width, 3]);
        let photo =
            ValueRange::of(self.config.architecture).from_bytes(&bytes.permute([0, 3, 1, 2]).to_device(self.device));
        let [slope, offset] = detail.edges.each_ref().map(|xs| zoom.larger(xs));
        let worn = along(&slope, &offset, &photo);
        let mask = covering(&zoom.larger(mask), &worn, &zoom.larger(&detail.placement));
        zoom.bytes(&ValueRange::Unit.to_bytes(&mask.get(0)), 1)
    }

    /// The paint of one swap at the photo's size, with the article's own pixels warped at that size: patterns stay as
    /// sharp as the article's picture, whatever size the networks work at. Returns interleaved bytes.
    fn paint_in_detail(&self, detail: &Detail, zoom: &Zoom, article: &RgbImage) -> Vec<u8> {
        // As many times the networks' size as the photo is.
        let times = (zoom.size[0] as f64 / zoom.target.height as f64).round().max(1.0) as i64;
        let sides = self.config.image_size.map(|side| side * times);
        let bytes = planes(article, sides, self.config.article_fit);
        let article = self.values(&bytes, 1, sides);
        // The rendering is of the networks' size, the article of the photo's: where both are mixed it counts more here.
        let mix = zoom.larger(&detail.mix).sqrt();
        let warped = warped(&article, &zoom.larger(&detail.flow));
        let paint = zoom.larger(&detail.rendered).lerp_tensor(&warped, &mix.expand_as(&warped));
        let range = ValueRange::of(self.config.architecture);
        zoom.bytes(&range.to_bytes(&paint.get(0)).permute([1, 2, 0]), 3)
    }

    /// Planes as a batch of values on the device.
    fn values(&self, planes: &[u8], count: usize, [height, width]: [i64; 2]) -> Tensor {
        let bytes = Tensor::from_slice(planes).reshape([count as i64, 3, height, width]);
        ValueRange::of(self.config.architecture).from_bytes(&bytes.to_device(self.device))
    }
}

/// How one picture of a batch comes to its photo's size.
struct Zoom {
    i: i64,
    source: Rect,
    target: Rect,
    /// Height and width of what is painted pixel by pixel: the source, or less where that is very large.
    size: [i64; 2],
}

impl Zoom {
    fn of(Placement { source, target }: Placement, i: i64) -> Self {
        let [height, width] = source.size().map(|side| side as f64);
        // Beyond that many pixels paint is stretched, so that memory stays bounded.
        let scale = (PAINTED / (height * width)).sqrt().min(1.0);
        let size = [height, width].map(|side| ((side * scale).round() as i64).max(1));
        Zoom { i, source, target, size }
    }

    /// The picture's values.
    fn larger(&self, values: &Tensor) -> Tensor {
        let part = self.target;
        values
            .narrow(0, self.i, 1)
            .narrow(2, part.top as i64, part.height as i64)
            .narrow(3, part.left as i64, part.width as i64)
            .upsample_bilinear2d(self.size, false, None, None)
    }

    /// Bytes of `size`, interleaved, brought to the source's size.
    fn bytes(&self, bytes: &Tensor, channels: usize) -> Vec<u8> {
        let from = self.size.map(|side| side as usize);
        resize(&to_vec(bytes), from, self.source.size(), channels)
    }
}

/// Of what was erased, what covers the worn article and what the target needs. The rest was erased for safety, and need
/// not be invented.
///
/// # Shapes
/// `[N, 1, H, W]` in [0, 1], all of them and what is returned.
fn covering(mask: &Tensor, worn: &Tensor, placement: &Tensor) -> Tensor {
    let steep = |xs: &Tensor, cut: f64| ((xs - cut) * 4.0 + 0.5).clamp(0.0, 1.0);
    mask * steep(worn, COVERED).maximum(&steep(placement, 0.5))
}

/// mask * paint + (255 - mask) * photo over 255, rounded: where the mask is 0 the photo's bytes stay.
fn composite(photo: &[u8], paint: &[u8], mask: &[u8]) -> Vec<u8> {
    let blend = |photo: u8, paint: u8, mask: u8| {
        let mask = u32::from(mask);
        ((mask * u32::from(paint) + (255 - mask) * u32::from(photo) + 127) / 255) as u8
    };
    (photo.iter().zip(paint).enumerate()).map(|(i, (&photo, &paint))| blend(photo, paint, mask[i / 3])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_erased_for_safety_alone_stays_the_photo() {
        let [mask, worn, placement] =
            [[1.0f32, 1.0, 1.0, 1.0, 0.5, 0.0], [1.0, 0.0, 0.0, 0.35, 1.0, 1.0], [0.0, 1.0, 0.0, 0.0, 0.0, 1.0]]
                .map(|row| Tensor::from_slice(&row).reshape([1, 1, 1, 6]));
        let got = covering(&mask, &worn, &placement).reshape([-1]);
        // Worn; placed; neither; worn perhaps; the erasure's soft edge; outside.
        assert_eq!(Vec::<f32>::try_from(got).unwrap(), [1.0, 1.0, 0.0, 0.5, 0.5, 0.0]);
    }

    #[test]
    fn the_mask_decides_between_photo_and_paint() {
        let (photo, paint) = ([10, 20, 31, 1, 2, 3, 9, 9, 9], [200, 100, 0, 250, 250, 250, 7, 7, 7]);
        let image = composite(&photo, &paint, &[128, 0, 255]);
        // (128 * 200 + 127 * 10 + 127) / 255 = 105; (128 * 100 + 127 * 20 + 127) / 255 = 60; (127 * 31 + 127) / 255 =
        // 15
        assert_eq!(image, [105, 60, 15, 1, 2, 3, 7, 7, 7]);
    }
}
