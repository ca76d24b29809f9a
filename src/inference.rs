//! A trained generator in use: pictures of any size in, a swap of the photo's own size out.

use std::path::{Path, PathBuf};

use image::RgbImage;
use tch::{Device, Tensor};

use crate::config::{Config, torch_device};
use crate::error::{Error, Result};
use crate::networks::{Generator, Parameters, use_precision};
use crate::pixels::{Placement, ValueRange, paste, place, planes, resize_part, to_vec};
use crate::storage::{Snapshot, latest};

/// Triplets that go through the generator at once; more are cut, so that memory stays bounded.
const BATCH: usize = 16;

/// What goes into one swap.
#[derive(Clone, Debug)]
pub struct Request {
    pub human: RgbImage,
    pub worn: RgbImage,
    pub target: RgbImage,
}

/// One swapped photo.
///
/// # Shapes
/// With the photo's height and width: `image`, `paint`: `H * W * 3` bytes; `mask`: `H * W` bytes, 255 = repainted.
#[derive(Clone, Debug)]
pub struct Swapped {
    pub size: [usize; 2],
    pub image: Vec<u8>,
    pub mask: Vec<u8>,
    pub paint: Vec<u8>,
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
    /// [`Error::NotFound`] for a path that is not there; [`Error::Content`] for a folder without snapshots, a truncated snapshot
    /// or one of another version; a device that is not there.
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
        Ok(Swapper {
            config,
            path,
            step: snapshot.step,
            device,
            generator,
            _parameters: parameters,
        })
    }

    /// Swaps, in the requests' order.
    pub fn swap(&self, requests: &[Request]) -> Vec<Swapped> {
        requests
            .chunks(BATCH)
            .flat_map(|batch| self.swap_batch(batch))
            .collect()
    }

    fn swap_batch(&self, requests: &[Request]) -> Vec<Swapped> {
        let range = ValueRange::of(self.config.architecture);
        let [height, width] = self.config.image_size;
        let (human_fit, article_fit) = (self.config.human_fit, self.config.article_fit);
        let batch = |pick: fn(&Request) -> &RgbImage, fit| {
            let bytes: Vec<u8> = requests
                .iter()
                .flat_map(|request| planes(pick(request), self.config.image_size, fit))
                .collect();
            let shape = [requests.len() as i64, 3, height, width];
            range.from_bytes(
                &Tensor::from_slice(&bytes)
                    .reshape(shape)
                    .to_device(self.device),
            )
        };
        let (human, worn, target) = (
            batch(|r| &r.human, human_fit),
            batch(|r| &r.worn, article_fit),
            batch(|r| &r.target, article_fit),
        );
        use_precision(self.config.precision, self.device);
        let swap = tch::no_grad(|| self.generator.swap(&human, &worn, &target));
        let masks = ValueRange::Unit.to_bytes(&swap.mask);
        let paints = range.to_bytes(&swap.paint).permute([0, 2, 3, 1]); // [N, H, W, 3]
        let sides = [height as usize, width as usize];
        let finish = |(i, request): (usize, &Request)| {
            let photo = &request.human;
            let size = [photo.height() as usize, photo.width() as usize];
            let placement = place(human_fit, size, sides);
            // What a crop left outside stays as it is.
            let (mut mask, mut paint) = (vec![0; size[0] * size[1]], photo.as_raw().clone());
            for (small, whole, channels) in [
                (to_vec(&masks.get(i as i64)), &mut mask, 1),
                (to_vec(&paints.get(i as i64)), &mut paint, 3),
            ] {
                let Placement { source, target } = placement;
                let inner = resize_part(&small, sides, target, source.size(), channels);
                paste(&inner, whole, size[1], source, channels);
            }
            let image = composite(photo.as_raw(), &paint, &mask);
            Swapped {
                size,
                image,
                mask,
                paint,
            }
        };
        requests.iter().enumerate().map(finish).collect()
    }
}

/// mask * paint + (255 - mask) * photo over 255, rounded: where the mask is 0 the photo's bytes stay.
fn composite(photo: &[u8], paint: &[u8], mask: &[u8]) -> Vec<u8> {
    let blend = |photo: u8, paint: u8, mask: u8| {
        let mask = u32::from(mask);
        ((mask * u32::from(paint) + (255 - mask) * u32::from(photo) + 127) / 255) as u8
    };
    (photo.iter().zip(paint).enumerate())
        .map(|(i, (&photo, &paint))| blend(photo, paint, mask[i / 3]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mask_decides_between_photo_and_paint() {
        let (photo, paint) = (
            [10, 20, 31, 1, 2, 3, 9, 9, 9],
            [200, 100, 0, 250, 250, 250, 7, 7, 7],
        );
        let image = composite(&photo, &paint, &[128, 0, 255]);
        // (128 * 200 + 127 * 10 + 127) / 255 = 105; (128 * 100 + 127 * 20 + 127) / 255 = 60; (127 * 31 + 127) / 255 = 15
        assert_eq!(image, [105, 60, 15, 1, 2, 3, 7, 7, 7]);
    }
}
