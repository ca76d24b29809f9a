//! All pictures decoded once, in parallel, and kept as bytes on the training device; a batch is one gather there.

use rayon::prelude::*;
use tch::{Device, Kind, Tensor};

use super::draw::{Draw, PictureDraw};
use super::pairs::Pairs;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::pixels::{ValueRange, planes, read_rgb};

/// One batch in the networks' value range.
///
/// # Shapes
/// All three: `[N, 3, H, W]`, float32.
#[derive(Debug)]
pub struct Triplet {
    pub human: Tensor,
    pub worn: Tensor,
    pub target: Tensor,
}

/// Decoded pairs.
///
/// # Shapes
/// `humans`, `articles`: `[pairs, 3, H + margin, W + margin]`, uint8.
#[derive(Debug)]
pub struct Resident {
    humans: Tensor,
    articles: Tensor,
    image_size: [i64; 2],
    range: ValueRange,
}

impl Resident {
    /// Decodes all pictures at the config's size and its crop margin, on all cores.
    ///
    /// # Errors
    /// [`Error::Setting`] for fewer than two pairs (there is no target) or fewer than a batch; [`Error::Content`] with the path
    /// for the first picture, in the pairs' order, that cannot be decoded.
    pub fn load(pairs: &Pairs, config: &Config, device: Device) -> Result<Resident> {
        if pairs.len() < 2 {
            return Err(Error::setting(
                "pairs",
                "at least 2, since the target is another pair's article",
                pairs.len(),
            ));
        }
        if config.batch_size > pairs.len() {
            return Err(Error::setting(
                "batch_size",
                format!("at most the number of pairs ({})", pairs.len()),
                config.batch_size,
            ));
        }
        let size = config.image_size.map(|side| side + config.crop_margin);
        let decode = |path: &std::path::PathBuf| Ok(planes(&read_rgb(path)?, size));
        let stack = |pictures: Vec<Result<Vec<u8>>>| -> Result<Tensor> {
            let pictures = pictures.into_iter().collect::<Result<Vec<_>>>()?;
            let bytes = pictures.concat();
            Ok(Tensor::from_slice(&bytes)
                .reshape([pictures.len() as i64, 3, size[0], size[1]])
                .to_device(device))
        };
        let (humans, articles): (Vec<_>, Vec<_>) = (pairs.pairs.par_iter())
            .map(|pair| (decode(&pair.human), decode(&pair.article)))
            .unzip();
        Ok(Resident {
            humans: stack(humans)?,
            articles: stack(articles)?,
            image_size: config.image_size,
            range: ValueRange::of(config.architecture),
        })
    }

    pub fn len(&self) -> usize {
        self.humans.size()[0] as usize
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What the pictures take, in bytes.
    pub fn bytes(&self) -> usize {
        self.humans.numel() + self.articles.numel()
    }

    /// The pictures of a draw.
    pub fn triplet(&self, draw: &Draw) -> Triplet {
        Triplet {
            human: self.take(&self.humans, &draw.human),
            worn: self.take(&self.articles, &draw.worn),
            target: self.take(&self.articles, &draw.target),
        }
    }

    /// The middle of the pictures of these pairs, unmirrored, as in use.
    pub fn plain(&self, humans: &[i64], targets: &[i64]) -> Triplet {
        let size = self.humans.size();
        let corner = [
            (size[2] - self.image_size[0]) / 2,
            (size[3] - self.image_size[1]) / 2,
        ];
        let draw = |indices: &[i64]| -> Vec<PictureDraw> {
            let picture = |&index| PictureDraw {
                index,
                flip: false,
                corner,
            };
            indices.iter().map(picture).collect()
        };
        self.triplet(&Draw {
            human: draw(humans),
            worn: draw(humans),
            target: draw(targets),
        })
    }

    /// Gathers, crops, mirrors and scales: `[N, 3, H, W]`.
    fn take(&self, pictures: &Tensor, draws: &[PictureDraw]) -> Tensor {
        let n = draws.len() as i64;
        let [h, w] = self.image_size;
        let device = pictures.device();
        let to = |values: Vec<i64>, shape: [i64; 4]| {
            Some(Tensor::from_slice(&values).to_device(device).reshape(shape))
        };
        let rows = draws.iter().flat_map(|d| (0..h).map(|y| d.corner[0] + y));
        let columns = draws
            .iter()
            .flat_map(|d| (0..w).map(|x| d.corner[1] + if d.flip { w - 1 - x } else { x }));
        let gathered = pictures.index::<Tensor>(&[
            to(draws.iter().map(|d| d.index).collect(), [n, 1, 1, 1]),
            to(vec![0, 1, 2], [1, 3, 1, 1]),
            to(rows.collect(), [n, 1, h, 1]),
            to(columns.collect(), [n, 1, 1, w]),
        ]);
        debug_assert_eq!(gathered.kind(), Kind::Uint8);
        self.range.from_bytes(&gathered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_cropped_and_mirrored_where_the_draw_says() {
        // 1 picture of 3 x 4 whose value is 10 * row + column, in all channels.
        let values: Vec<u8> = (0..3)
            .flat_map(|y| (0..4).map(move |x| 10 * y + x))
            .collect();
        let picture = Tensor::from_slice(&values.repeat(3)).reshape([1, 3, 3, 4]);
        let resident = Resident {
            humans: picture.copy(),
            articles: picture.copy(),
            image_size: [2, 3],
            range: ValueRange::Unit,
        };
        let draw = |flip| PictureDraw {
            index: 0,
            flip,
            corner: [1, 1],
        };
        let taken = resident.take(&picture, &[draw(false), draw(true)]);
        let taken = ValueRange::Unit.to_bytes(&taken);
        let rows = |n: i64| crate::pixels::to_vec(&taken.get(n).get(2));
        assert_eq!(rows(0), [11, 12, 13, 21, 22, 23]);
        assert_eq!(rows(1), [13, 12, 11, 23, 22, 21]);
    }
}
